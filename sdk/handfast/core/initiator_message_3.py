"""EAD_3 of the device: the proof of its token, what it is, its half of the root key (docs/protocol.md)."""

from handfast.core import ead, messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.token import Token
    from handfast.ports import Crypto

    Item = tuple[int, bytes | None]


def encoded_ead(
    crypto: "Crypto",
    token: "Token | None",
    th_3: bytes,
    devinfo: "Item | None",
    attempt: bytes,
    held: "bytes | None",
    r_d: bytes,
) -> bytes:
    """EAD_3: TOKEN, DEVINFO, ROOTC. `attempt` and `held` 16 bytes, `r_d` 32."""
    items: "list[Item]" = []
    if token is not None:
        items.append(ead.encode_token(ead.TokenProof(token.token_id, ead.token_pop(crypto, token, th_3))))
    if devinfo is not None:
        items.append(devinfo)
    items.append(ead.encode_rootc(ead.RootC(attempt, held, r_d)))
    return messages.encode_ead(items)
