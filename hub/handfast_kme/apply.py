"""From network.toml to an installation on disk: what is missing is made, what no longer fits is made anew.

`plan` looks and changes nothing; `carry_out` does what the plan says. A second run finds nothing to do.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from handfast.core.errors import KeystoreError
from handfast_kme.certificates import Authority, write_atomically
from handfast_kme.channel import ONE_TIME_KEY
from handfast_kme.installed import ONE_TIME_KEYS, PSK, Folder
from handfast_kme.kme import kme_subject, line_subject
from handfast_kme.network import Network

APPLIED = "applied"


class Step(NamedTuple):
    """One thing to do. `verb` is create, renew or remove."""

    verb: str
    noun: str
    name: str
    work: Callable[[], None]


def plan(network: Network) -> list[Step]:
    """Everything that must be done so that the folder is what the file says; KeystoreError."""
    folder = Folder(network.group.folder)
    authority = Authority.load(folder.authority) if (folder.authority / "ca.pem").exists() else None
    steps: list[Step] = []
    if authority is None:
        if folder.authority.exists() and any(folder.authority.iterdir()):
            raise KeystoreError(f"{folder.authority} holds half a CA: move it away, or put ca.pem back")
        name, days = network.group.name, network.certificates.days
        steps.append(
            Step(
                "create",
                "ca",
                network.group.name,
                lambda: _discard(Authority.create(folder.authority, name, days)),
            )
        )
    steps += _certificates(network, folder, authority)
    steps += _pre_shared(network, folder)
    steps += _leftovers(network, folder)
    return steps


def carry_out(steps: list[Step], done: Callable[[Step], None]) -> None:
    """Do it, one after another; `done` is told of each."""
    for step in steps:
        step.work()
        done(step)


def _certificates(network: Network, folder: Folder, authority: Authority | None) -> Iterator[Step]:
    days = network.certificates.days
    for noun, name, place, file, subject, address in _identities(network, folder):
        path = place / f"{file}.pem"
        if authority is not None and authority.vouches_for(path, subject, days, address):
            continue

        def issue(
            place: Path = place, file: str = file, subject: str = subject, address: str | None = address
        ) -> None:
            Authority.load(folder.authority).issue(place, file, subject, days, address)

        yield Step("renew" if path.exists() else "create", f"{noun} certificate", name, issue)


def _identities(network: Network, folder: Folder) -> Iterator[tuple[str, str, Path, str, str, str | None]]:
    for node in network.node:
        yield "node", node.name, folder.node(node.name), "kme", kme_subject(network, node), node.address
    for link in network.provider_link:
        yield (
            "provider link",
            link.name,
            folder.line(link.name),
            "line",
            line_subject(network, link),
            link.line_address,
        )
    for consumer in network.consumer:
        yield (
            "consumer",
            consumer.name,
            folder.consumer(consumer.name),
            "sae",
            network.subject(consumer),
            None,
        )


def _pre_shared(network: Network, folder: Folder) -> Iterator[Step]:
    """Two copies of each key; when one is missing both are new, for one alone opens nothing."""
    for link in network.provider_link:
        alice, bob = network.ends(link)
        rows = [
            (
                "provider link keys",
                PSK + ONE_TIME_KEYS * ONE_TIME_KEY,
                [folder.psk_at_node(end.name, link.name) for end in (alice, bob)],
            )
        ]
        for role, end in (("alice", alice), ("bob", bob)):
            at_line = folder.psk_at_line(link.name, role)
            rows.append(
                (f"line key of {role}", PSK, [folder.psk_at_node(end.name, f"{link.name}-line"), at_line])
            )
        for noun, length, copies in rows:
            contents = {path.read_bytes() if path.exists() else b"" for path in copies}
            if len(contents) == 1 and len(contents.pop()) == length:
                continue

            def share(length: int = length, copies: list[Path] = copies) -> None:
                secret = os.urandom(length)
                for path in copies:
                    write_atomically(path, secret)

            yield Step("renew" if any(path.exists() for path in copies) else "create", noun, link.name, share)


def _leftovers(network: Network, folder: Folder) -> Iterator[Step]:
    """Folders of what the file no longer names. A node's store holds keys: it goes with them."""
    rows = (
        ("node", folder.node("x").parent, {node.name for node in network.node}),
        ("provider link", folder.line("x").parent, {link.name for link in network.provider_link}),
        ("consumer", folder.consumer("x").parent, {consumer.name for consumer in network.consumer}),
    )
    for noun, place, names in rows:
        for path in sorted(place.iterdir()) if place.exists() else ():
            if path.name not in names:
                yield Step("remove", noun, path.name, lambda path=path: shutil.rmtree(path))  # type: ignore[misc]


def _discard(_: object) -> None:
    return None
