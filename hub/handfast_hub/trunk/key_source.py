"""The QKD keys of one trunk, out of the KME of this end: new ones, and those that the other end named."""

from pathlib import Path
from uuid import UUID

from handfast.core.errors import LocalError
from handfast_hub.trunk.epochs import KEY_LENGTH
from handfast_hub.trunk.kme import KmeClient
from handfast_hub.trunk.settings import Trunk
from handfast_hub.trunk.used_keys import UsedKeys

_BITS = 8 * KEY_LENGTH


class KmeSource:
    """A `link.KeySource` over ETSI GS QKD 014."""

    def __init__(self, client: KmeClient, peer_sae: str) -> None:
        self._client = client
        self._peer = peer_sae

    async def enc_key(self) -> tuple[bytes, bytes]:
        """A new key: its key_ID, 16 bytes, and 32 bytes. Errors: `kme_answers`."""
        [key] = await self._client.enc_keys(self._peer, 1, _BITS)
        return UUID(key.key_id).bytes, key.value

    async def dec_key(self, key_id: bytes) -> bytes:
        """The key that the other end was given under `key_id`, 32 bytes. Errors: `kme_answers`."""
        [key] = await self._client.dec_keys(self._peer, [str(UUID(bytes=key_id))], _BITS)
        return key.value

    async def close(self) -> None:
        """Let the connection go."""
        await self._client.close()


def open_source(settings: Trunk, used: Path) -> KmeSource | None:
    """The source of a trunk, None when it has no KME; `used` is where this hub remembers used keys."""
    if not settings.kme:
        return None
    ca, certificate, key = settings.kme_ca, settings.kme_certificate, settings.kme_key
    if ca is None or certificate is None or key is None:
        raise LocalError("a trunk with kme needs kme_ca, kme_certificate and kme_key too")
    client = KmeClient(
        settings.kme,
        kme_id=settings.kme_id,
        ca=ca,
        certificate=certificate,
        key=key,
        used=UsedKeys(used),
    )
    return KmeSource(client, settings.peer_sae)
