"""Whole onboardings of every suite, frozen: each value by the functions, each frame by the machines.

The files were computed by an implementation that shares nothing with the product
(tests/interop/straight_line.py).
"""

from host_crypto import crypto
from vector_file import Vector, load

from handfast.core import constants, ead, events, messages, root_key
from handfast.core.cbor import encode_sequence
from handfast.core.cose import enc_structure
from handfast.core.credentials import Identity, id_cred_by_kid, id_cred_by_value, make_ccs
from handfast.core.initiator import Initiator
from handfast.core.key_schedule import KeySchedule, context_2, context_3
from handfast.core.methods import Signatures
from handfast.core.responder import Responder
from handfast.core.suites import suite
from handfast.core.token import Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NOW = 0.0
_DEVICE_DRAWS = ("kem_seed", "c_i", "attempt", "r_d", "sign_randomness_3")
_HUB_DRAWS = ("kem_randomness", "c_r", "sign_randomness_2", "r_h")
_CHOSEN = (
    "suites_i",
    "hub_by",
    "device_by",
    "hub_subject",
    "device_subject",
    "hub_seed",
    "device_seed",
    "token_id",
    "k_tok",
    "devinfo",
    "have",
    "status",
    "retry_after",
    "device_id",
    "epoch",
)


def test_every_value_of_an_onboarding_is_the_frozen_one() -> None:
    for vector in _vectors():
        values = _values(vector)
        for name in values:
            assert values[name] == vector.fields[name], vector.name + ": " + name
        for name in vector.fields:
            assert name in values or name in _CHOSEN + _DEVICE_DRAWS + _HUB_DRAWS, name


def test_two_machines_exchange_the_frozen_frames() -> None:
    for vector in _vectors():
        fields = vector.fields
        hub, device = _identity(vector, "hub"), _identity(vector, "device")
        suites, token = _suites(vector), _token(vector)
        hub_by_kid = fields["hub_by"] == b"kid"
        initiator = Initiator(
            crypto,
            _draws(vector, _DEVICE_DRAWS),
            device,
            hub.credential.thumbprint,
            hub.credential if hub_by_kid else None,
            suites,
            suites[-1],
            token,
            fields.get("devinfo"),
            fields.get("have"),
            fields["device_by"] == b"kid",
        )
        responder = Responder(crypto, _draws(vector, _HUB_DRAWS), hub, suites[-1:])
        initiator.start(_NOW)
        assert initiator.frames_to_send(_NOW) == [fields["frame_1"]], vector.name

        responder.receive(fields["frame_1"], _NOW)
        gate = responder.next_event()
        assert isinstance(gate, events.GatePresented)
        assert gate.token_id == fields.get("token_id")
        responder.pass_gate(ead.gate_key(crypto, hub.credential.thumbprint, token))
        responder.answer(_NOW)
        assert responder.frames_to_send(_NOW) == [fields["frame_2"]], vector.name

        initiator.receive(fields["frame_2"], _NOW)
        presented = initiator.next_event()
        assert presented.credential == (None if hub_by_kid else hub.credential)
        initiator.accept(hub.credential, _NOW)
        assert initiator.frames_to_send(_NOW) == [fields["frame_3"]], vector.name

        responder.receive(fields["frame_3"], _NOW)
        presented = responder.next_event()
        assert presented.credential == (None if fields["device_by"] == b"kid" else device.credential)
        responder.accept(device.credential, token)
        authenticated = responder.next_event()
        assert authenticated.attempt == fields["attempt"]
        assert authenticated.have == fields.get("have")
        assert authenticated.token_valid == (token is not None)
        assert authenticated.devinfo == fields.get("devinfo")
        if "status" in fields:
            responder.deny(_number(vector, "status"), _number(vector, "retry_after"))
        else:
            responder.grant(fields["device_id"], _number(vector, "epoch"))
        assert responder.frames_to_send(_NOW) == [fields["frame_4"]], vector.name

        initiator.receive(fields["frame_4"], _NOW)
        for machine in (initiator, responder):
            result = machine.next_event()
            if "status" in fields:
                assert result == events.Refused(_number(vector, "status"), _number(vector, "retry_after"))
                continue
            assert isinstance(result, events.Established)
            assert result.keys == root_key.RootKeys(fields["k_root"], fields["traffic_secret"])
            assert (result.device_id, result.epoch) == (fields["device_id"], _number(vector, "epoch"))
            assert result.mixed == (token is not None)


def _values(vector: Vector) -> "dict[str, bytes]":
    """What follows from the inputs, by the functions that the machines are made of."""
    fields, token = vector.fields, _token(vector)
    suites_i = _suites(vector)
    row = suite(suites_i[-1])
    schedule, method = KeySchedule(crypto, row), Signatures()
    hub, device = _identity(vector, "hub"), _identity(vector, "device")
    values = {"hub_id": hub.credential.thumbprint, "dev_tp": device.credential.thumbprint}

    g_x = crypto.kem_public_key(row.kem, fields["kem_seed"])
    bare = messages.Message1(0, suites_i, g_x, fields["c_i"], [])
    key = ead.gate_key(crypto, hub.credential.thumbprint, token)
    mac = ead.gate_mac(crypto, key, messages.encode_message_1(bare))
    want = 0 if fields["hub_by"] == b"kid" else 1
    gate = ead.Gate(0 if token is None else 1, want, mac, fields.get("token_id"))
    message_1 = messages.encode_message_1(
        messages.Message1(0, suites_i, g_x, fields["c_i"], [ead.encode_gate(gate)])
    )
    values["frame_1"] = messages.encode_frame(messages.Frame(None, message_1, None))

    g_y, g_xy = crypto.encapsulate(row.kem, g_x, fields["kem_randomness"])
    assert crypto.decapsulate(row.kem, fields["kem_seed"], g_y) == g_xy
    values["g_xy"] = g_xy
    th_2 = values["th_2"] = schedule.th_2(g_y, message_1)
    prk = values["prk_2e"] = schedule.prk_2e(th_2, g_xy)
    id_cred_r, cred_r = _id_cred(fields["hub_by"], hub), hub.credential.encoded
    values["mac_2"] = schedule.mac_2(
        prk, context_2(fields["c_r"], id_cred_r, th_2, cred_r, b""), schedule.hash_length
    )
    proof = method.authenticate_2(
        schedule, prk, th_2, fields["c_r"], id_cred_r, hub, b"", fields["sign_randomness_2"]
    )
    method.verify_2(schedule, prk, th_2, fields["c_r"], id_cred_r, hub.credential, b"", proof)
    plaintext_2 = messages.encode_plaintext_2(messages.Plaintext2(fields["c_r"], id_cred_r, proof, []))
    values["plaintext_2"] = plaintext_2
    message_2 = messages.encode_message_2(g_y, schedule.cipher_2(prk, th_2, plaintext_2))
    values["frame_2"] = messages.encode_frame(messages.Frame(fields["c_i"], message_2, None))

    th_3 = values["th_3"] = schedule.th_3(th_2, plaintext_2, cred_r)
    items = []
    if token is not None:
        values["pop"] = ead.token_pop(crypto, token, th_3)
        items.append(ead.encode_token(ead.TokenProof(token.token_id, values["pop"])))
    if "devinfo" in fields:
        items.append(ead.encode_devinfo(fields["devinfo"]))
    items.append(ead.encode_rootc(ead.RootC(fields["attempt"], fields.get("have"), fields["r_d"])))
    ead_3 = messages.encode_ead(items)
    id_cred_i, cred_i = _id_cred(fields["device_by"], device), device.credential.encoded
    values["mac_3"] = schedule.mac_3(prk, context_3(id_cred_i, th_3, cred_i, ead_3), schedule.hash_length)
    proof = method.authenticate_3(schedule, prk, th_3, id_cred_i, device, ead_3, fields["sign_randomness_3"])
    method.verify_3(schedule, prk, th_3, id_cred_i, device.credential, ead_3, proof)
    plaintext_3 = messages.encode_plaintext_3(messages.Plaintext3(id_cred_i, proof, items))
    values["plaintext_3"] = plaintext_3
    k_3, iv_3 = schedule.k_3(prk, th_3), schedule.iv_3(prk, th_3)
    values["k_3"], values["iv_3"] = k_3, iv_3
    ciphertext_3 = crypto.seal(row.aead, k_3, iv_3, enc_structure(b"", th_3), plaintext_3)
    message_3 = messages.encode_message_3(ciphertext_3)
    values["frame_3"] = messages.encode_frame(messages.Frame(fields["c_r"], message_3, None))

    th_4 = values["th_4"] = schedule.th_4(th_3, plaintext_3, cred_i)
    k_4, iv_4 = schedule.k_4(prk, th_4), schedule.iv_4(prk, th_4)
    values["k_4"], values["iv_4"] = k_4, iv_4
    if "status" in fields:
        status = ead.Status(_number(vector, "status"), _number(vector, "retry_after"))
        answer = ead.encode_status(status)
    else:
        epoch = _number(vector, "epoch")
        answer = ead.encode_rootr(ead.RootR(fields["attempt"], fields["r_h"], fields["device_id"], epoch))
        values["prk_out"] = schedule.prk_out(prk, th_4)
        exporter = values["prk_exporter"] = schedule.prk_exporter(values["prk_out"])
        bound = hub.credential.thumbprint, fields["attempt"]
        context = encode_sequence(device.credential.thumbprint, *bound)
        values["x_root"] = schedule.exporter(
            exporter, constants.EXPORTER_X_ROOT, context, schedule.hash_length
        )
        keys = root_key.derive(
            schedule,
            exporter,
            device.credential.thumbprint,
            *bound,
            fields["r_d"],
            fields["r_h"],
            root_key.mix(crypto, token),
            epoch,
        )
        values["k_root"], values["traffic_secret"] = keys
    plaintext_4 = values["plaintext_4"] = messages.encode_plaintext_4([answer])
    ciphertext_4 = crypto.seal(row.aead, k_4, iv_4, enc_structure(b"", th_4), plaintext_4)
    message_4 = messages.encode_message_4(ciphertext_4)
    values["frame_4"] = messages.encode_frame(messages.Frame(fields["c_i"], message_4, None))
    return values


def _vectors() -> "list[Vector]":
    vectors = [vector for vector in load("handshake") if vector.name.startswith("onboarding_")]
    assert len(vectors) == 6
    return vectors


def _suites(vector: Vector) -> "tuple[int, ...]":
    return tuple([int(number) for number in vector.fields["suites_i"].decode().split()])


def _number(vector: Vector, name: str) -> int:
    return int(vector.fields[name].decode())


def _token(vector: Vector) -> "Token | None":
    if "token_id" not in vector.fields:
        return None
    return Token(vector.fields["token_id"], vector.fields["k_tok"], False)


def _identity(vector: Vector, who: str) -> Identity:
    algorithm = suite(_suites(vector)[-1]).signature
    seed = vector.fields[who + "_seed"]
    public_key = crypto.signature_public_key(algorithm, seed)
    return Identity(seed, make_ccs(crypto, vector.fields[who + "_subject"].decode(), algorithm, public_key))


def _id_cred(by: bytes, identity: Identity) -> bytes:
    return id_cred_by_kid(identity.credential) if by == b"kid" else id_cred_by_value(identity.credential)


def _draws(vector: Vector, names: "tuple[str, ...]") -> "Callable[[int], bytes]":
    """Randomness that gives the values of the file, each when it is due."""
    values = [vector.fields[name] for name in names if name in vector.fields]

    def random(length: int) -> bytes:
        value = values.pop(0)
        assert len(value) == length
        return value

    return random
