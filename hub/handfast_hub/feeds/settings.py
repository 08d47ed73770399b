"""The sections of hub.toml that are about key feeds: `[feed.NAME]`, one model for each kind."""

import base64
import binascii
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class _Feed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    trunk: str
    """The trunk whose keys are fed: NAME of a `[trunk.NAME]` with a KME."""

    without_qkd: Literal["keep", "close"] = "keep"
    """When there is no sound QKD key (an alarm, an epoch of ML-KEM alone, nothing new for three rekey
    intervals): `keep` leaves the last key in use, `close` lets nothing through until the next one. Neither
    ever goes back to a weaker key."""


class WireguardFeed(_Feed):
    """A feed to a peer of a WireGuard interface: `[feed.NAME]` with kind = "wireguard"."""

    kind: Literal["wireguard"]
    """`wireguard`."""

    interface: str = Field(pattern=r"^[A-Za-z0-9_=+.-]{1,15}$")
    """The interface, as `wg show` names it; it exists and has the peer already."""

    peer: str
    """The public key of the peer."""

    @field_validator("peer")
    @classmethod
    def _public_key(cls, value: str) -> str:
        try:
            right = len(base64.b64decode(value, validate=True)) == 32
        except (binascii.Error, ValueError):
            right = False
        if not right:
            raise ValueError("expected a WireGuard public key, 44 characters, as 'wg pubkey' prints it")
        return value


class StrongswanFeed(_Feed):
    """A feed to strongSwan: `[feed.NAME]` with kind = "strongswan"."""

    kind: Literal["strongswan"]
    """`strongswan`."""

    role: Literal["initiator", "responder"]
    """Which end opens the IKE_SA; the other hub's feed has the other role."""

    connection: dict[str, Any]
    """The connection, as swanctl.conf has it below `connections.NAME`: addresses, `local`, `remote`,
    `children` with `local_ts` and `remote_ts`. The feed itself sets `ppk_id`, `ppk_required`, `unique` and
    `start_action`, and drops what has no IKE_SA: the selectors must not cover the way of the trunk."""

    socket: Path = Path("/var/run/charon.vici")
    """The vici socket of charon."""

    @field_validator("connection")
    @classmethod
    def _children(cls, value: dict[str, Any]) -> dict[str, Any]:
        children = value.get("children")
        tables = isinstance(children, dict) and all(isinstance(child, dict) for child in children.values())
        if not children or not tables:
            raise ValueError("expected at least one table in 'children'")
        for name, child in children.items():
            if not child.get("local_ts") or not child.get("remote_ts"):
                raise ValueError(f"expected local_ts and remote_ts in the child '{name}'")
        return value


class Pkcs11Feed(_Feed):
    """A feed into a PKCS#11 token: `[feed.NAME]` with kind = "pkcs11"."""

    kind: Literal["pkcs11"]
    """`pkcs11`."""

    module: Path
    """The token's PKCS#11 module, a shared library."""

    token: str = Field(min_length=1, max_length=32)
    """The label of the token."""

    pin_file: Path
    """A file whose first line is the user PIN; nobody but the user of the hub may read it (mode 0600)."""

    key_type: Literal["aes", "generic"] = "aes"
    """`aes` makes keys for AES, `generic` makes generic secrets for HMAC."""

    keep: int = Field(default=3, ge=1, le=1000)
    """How many keys stay in the token; the oldest go first."""


Feed = Annotated[WireguardFeed | StrongswanFeed | Pkcs11Feed, Field(discriminator="kind")]
KINDS: tuple[type[_Feed], ...] = (WireguardFeed, StrongswanFeed, Pkcs11Feed)
