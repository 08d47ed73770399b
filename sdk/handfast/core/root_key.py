"""From one handshake to every key that outlives it (docs/protocol.md, section 2.6).

    K_mix   = KMAC256(K_tok, token_id, 256, "handfast/1 mix")           or 32 zero bytes
    X_root  = EDHOC_Exporter(32768, << dev_tp, hub_id, attempt >>, hash_length)
    K_root  = EDHOC_Extract(X_root, r_D || r_H || K_mix)
    K_dev   = EDHOC_Expand(K_root, (3, h'', 32), 32)
    T_e     = EDHOC_Extract(EDHOC_Exporter(32769, << e >>, hash_length), K_root)    first epoch
    T_{e+1} = EDHOC_Expand(T_e, (18, << e+1 >>, hash_length), hash_length)

`<< a, b >>` is the context of EDHOC_KDF: the CBOR sequence a, b as the content of one bstr. Extract
and Expand are those of the suite's EDHOC hash. Traffic secrets step one way: nobody who learns
T_{e+1} learns T_e. These secrets are as good as G_XY or as K_tok, whichever is better; r_D and r_H
remove bias and never repair a known value.
"""

from collections import namedtuple

from handfast.core.cbor import encode
from handfast.core.constants import (
    ATTEMPT_LENGTH,
    CUSTOM_APPLICATION,
    CUSTOM_MIX,
    DEVICE_KEY_LENGTH,
    EXPAND_COMMON_IV,
    EXPAND_DEVICE_KEY,
    EXPAND_NEXT_SECRET,
    EXPAND_RECORD_KEY,
    EXPORTER_TRAFFIC,
    EXPORTER_X_ROOT,
    ROOT_SECRET_LENGTH,
    THUMBPRINT_LENGTH,
)
from handfast.core.errors import LocalError
from handfast.core.hidden import Hidden
from handfast.core.kdf import expand
from handfast.core.suites import AEADS, HASHES, suite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.key_schedule import KeySchedule
    from handfast.core.token import Token
    from handfast.ports import Crypto


class RootKeys(Hidden, namedtuple("RootKeys", ("root_key", "traffic_secret"))):
    """root_key: K_root; traffic_secret: T_e of the first epoch. Both hash_length bytes of the suite."""

    __slots__ = ()


MAX_EPOCH = 0xFFFF

# Of dev_tp, hub_id, attempt, r_D, r_H and K_mix.
_LENGTHS = (
    THUMBPRINT_LENGTH,
    THUMBPRINT_LENGTH,
    ATTEMPT_LENGTH,
    ROOT_SECRET_LENGTH,
    ROOT_SECRET_LENGTH,
    ROOT_SECRET_LENGTH,
)


def mix(crypto: "Crypto", token: "Token | None") -> bytes:
    """K_mix, 32 bytes: of a token that one device alone has; zeros for None or a shared token."""
    if token is None or token.shared:
        return bytes(ROOT_SECRET_LENGTH)
    return crypto.kmac256(token.k_tok, token.token_id, ROOT_SECRET_LENGTH, CUSTOM_MIX)


def derive(
    schedule: "KeySchedule",
    prk_exporter: bytes,
    dev_tp: bytes,
    hub_id: bytes,
    attempt: bytes,
    r_d: bytes,
    r_h: bytes,
    k_mix: bytes,
    epoch: int,
) -> RootKeys:
    """K_root and the traffic secret of `epoch`, out of a finished handshake's PRK_exporter.

    `dev_tp` and `hub_id` are whole thumbprints of 32 bytes, `attempt` has 16 bytes, `r_d`, `r_h` and
    `k_mix` have 32 each. LocalError for any other length: bytes that move from one secret to its
    neighbour would give the same key.
    """
    lengths = len(dev_tp), len(hub_id), len(attempt), len(r_d), len(r_h), len(k_mix)
    if lengths != _LENGTHS:
        raise LocalError(
            "dev_tp, hub_id, attempt, r_D, r_H and K_mix have %s bytes, %s were given" % (_LENGTHS, lengths)
        )
    check_epoch(epoch)
    length = schedule.hash_length
    context = encode(dev_tp) + encode(hub_id) + encode(attempt)
    x_root = schedule.exporter(prk_exporter, EXPORTER_X_ROOT, context, length)
    root_key = schedule.extract(x_root, r_d + r_h + k_mix)
    salt = schedule.exporter(prk_exporter, EXPORTER_TRAFFIC, encode(epoch), length)
    return RootKeys(root_key, schedule.extract(salt, root_key))


def device_key(crypto: "Crypto", hash_algorithm: int, root_key: bytes) -> bytes:
    """K_dev, 32 bytes: the application's own key of this device."""
    length = DEVICE_KEY_LENGTH
    return expand(crypto, hash_algorithm, root_key, EXPAND_DEVICE_KEY, b"", length)


def application_key(crypto: "Crypto", device_key: bytes, purpose: str) -> bytes:
    """KMAC256(K_dev, purpose, 256, "handfast/1 app"), 32 bytes: one key for one purpose."""
    length = DEVICE_KEY_LENGTH
    return crypto.kmac256(device_key, purpose.encode("utf-8"), length, CUSTOM_APPLICATION)


def next_secret(crypto: "Crypto", hash_algorithm: int, secret: bytes, epoch: int) -> bytes:
    """T_epoch out of T_{epoch-1}; the caller erases the latter. LocalError above 65535."""
    check_epoch(epoch)
    length = HASHES[hash_algorithm].length
    context = encode(epoch)
    return expand(crypto, hash_algorithm, secret, EXPAND_NEXT_SECRET, context, length)


def record_keys(crypto: "Crypto", number: int, secret: bytes, sender: bytes) -> "tuple[bytes, bytes]":
    """(key_s, civ) of the traffic secret `secret` of suite `number`; `sender` h'00' device, h'01' hub.

    Both senders share civ; the nonce holds the sender (RFC 8613 section 5.2).
    """
    row = suite(number)
    aead = AEADS[row.record_aead]
    context = encode(row.record_aead) + encode(sender)
    key = expand(crypto, row.hash, secret, EXPAND_RECORD_KEY, context, aead.key_length)
    context = encode(row.record_aead)
    civ = expand(crypto, row.hash, secret, EXPAND_COMMON_IV, context, aead.nonce_length)
    return key, civ


def check_epoch(epoch: int) -> None:
    """LocalError unless `epoch` is a uint16."""
    if not 0 <= epoch <= MAX_EPOCH:
        raise LocalError("an epoch is 0 to 65535, not %d" % epoch)
