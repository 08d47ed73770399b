"""Attacks and faults of a running link: one small file a link, read between two blocks."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from handfast.core.errors import LocalError
from handfast_kme.attacks import ATTACKS
from handfast_kme.certificates import write_atomically
from handfast_kme.faults import FAULTS

EVERYWHERE = "*"


@dataclass(frozen=True)
class Dials:
    """What is turned up. `faults` maps a name to (dial, node), the node "*" for both ends."""

    attack: str = "none"
    dial: float = 0.0
    faults: dict[str, tuple[float, str]] = field(default_factory=dict)

    def at(self, node: str) -> dict[str, float]:
        """The faults of one end."""
        return {name: dial for name, (dial, where) in self.faults.items() if where in (node, EVERYWHERE)}

    @property
    def of_the_line(self) -> dict[str, float]:
        """The faults, wherever they are: the light passes both ends."""
        return {name: dial for name, (dial, _) in self.faults.items()}


def read_dials(path: Path) -> Dials:
    """The dials of a link; all at 0 without a file. LocalError for a file that nobody here wrote."""
    try:
        content = json.loads(path.read_text())
        faults = {name: (float(dial), str(node)) for name, (dial, node) in content["faults"].items()}
        return Dials(str(content["attack"]), float(content["dial"]), faults)
    except FileNotFoundError:
        return Dials()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LocalError(
            f"{path} should be a file of dials; delete it to turn all of them down: {error}"
        ) from None


def turn_attack(path: Path, attack: str, dial: float) -> Dials:
    """Turn one attack up and the others down; LocalError."""
    if attack != "none" and attack not in ATTACKS:
        raise LocalError(f"expected one of none, {', '.join(ATTACKS)}, got {attack!r}")
    before = read_dials(path)
    return _write(path, Dials(attack, _checked(dial) if attack != "none" else 0.0, before.faults))


def turn_fault(path: Path, name: str, dial: float, node: str) -> Dials:
    """Turn one fault; 0 ends it. LocalError."""
    if name not in FAULTS:
        known = ", ".join(f"{name} ({number})" for name, number in FAULTS.items())
        raise LocalError(f"expected one of {known}, got {name!r}")
    before = read_dials(path)
    faults = {**before.faults, name: (_checked(dial), node)}
    return _write(path, Dials(before.attack, before.dial, {n: f for n, f in faults.items() if f[0] > 0}))


def _checked(dial: float) -> float:
    if not 0.0 <= dial <= 1.0:
        raise LocalError(f"expected a dial from 0 to 1, got {dial}")
    return dial


def _write(path: Path, dials: Dials) -> Dials:
    content = {"attack": dials.attack, "dial": dials.dial, "faults": dials.faults}
    write_atomically(path, json.dumps(content).encode())
    return dials
