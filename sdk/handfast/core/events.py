"""What a handshake machine tells its shell: the values that `next_event()` returns.

Plain namedtuples, so that both interpreters have them. A machine stops at the events marked
(stop) and goes on only when the shell has answered.
"""

from collections import namedtuple

# Responder (stop): message_1 is well formed. Answer with pass_gate(key): `kind` 0 asks for the
# key made from our own hub_id, `kind` 1 for that of the token `token_id` (8 bytes). `kind` is
# None only in suites without mandatory items, which live in tests. `digest` is SHA-256(message_1).
GatePresented = namedtuple("GatePresented", ("kind", "token_id", "digest"))

# Both (stop): the peer names itself. Answer with accept(...) or refuse(reason). `id_cred` is the
# encoded ID_CRED_x map, `credential` what came by value, or None when it came by reference.
# `token_id` is that of the TOKEN item, or None; only a Responder sees one.
CredentialPresented = namedtuple("CredentialPresented", ("id_cred", "credential", "token_id"))

# Responder (stop): the peer's signature is good. Answer with grant(...) or deny(...).
# `attempt` 16 bytes; `have` the attempt of the key that the device holds, or None; `token_id` 8
# bytes or None; `token_valid` whether the proof of possession of that token was right; `devinfo`
# the encoded DEVINFO map or None; `c_r` our connection identifier; `digest` SHA-256(message_3).
Authenticated = namedtuple(
    "Authenticated",
    ("credential", "attempt", "have", "token_id", "token_valid", "devinfo", "c_r", "digest"),
)

# Both: the handshake is complete. `keys` is a root_key.RootKeys; `device_id` 8 bytes; `epoch` the
# first epoch, 0..65535; `attempt` 16 bytes; `suite` the suite's number; `credential` the peer's;
# `mixed` whether the single-device token went into the keys. In suites without mandatory items
# `keys`, `device_id`, `epoch` and `attempt` are None and only `exporter` can be asked.
Established = namedtuple(
    "Established",
    ("keys", "device_id", "epoch", "attempt", "suite", "credential", "mixed"),
)

# Initiator: the hub is genuine and said no. `code` 1 waiting for approval, 2 refused;
# `retry_after` in seconds.
Refused = namedtuple("Refused", ("code", "retry_after"))

# Both: the handshake is over without a result; `error` is one of ours.
Failed = namedtuple("Failed", ("error",))
