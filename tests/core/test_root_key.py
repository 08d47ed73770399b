"""The root key and what follows from it: the vectors of tests/vectors/root_key, and refusals."""

from host_crypto import crypto
from refusal import refused
from vector_file import Vector, load

from handfast.core import root_key
from handfast.core.cbor import encode_sequence
from handfast.core.errors import LocalError
from handfast.core.key_schedule import KeySchedule
from handfast.core.suites import suite
from handfast.core.token import Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.root_key import RootKeys

ARGUMENTS = ("prk_exporter", "dev_tp", "hub_id", "attempt", "r_d", "r_h", "k_mix")


def number(vector: Vector, name: str) -> int:
    return int(vector.fields[name].decode())


def schedule_of(vector: Vector) -> KeySchedule:
    return KeySchedule(crypto, suite(number(vector, "suite")))


def derived(vector: Vector, changed: str = "") -> "RootKeys":
    """The keys of a vector, of which one bit of the argument `changed` may differ."""
    values = []
    for name in ARGUMENTS:
        value = vector.fields[name]
        values.append(bytes([value[0] ^ 1]) + value[1:] if name == changed else value)
    epoch = number(vector, "epoch") ^ (changed == "epoch")
    return root_key.derive(
        schedule_of(vector),
        values[0],
        values[1],
        values[2],
        values[3],
        values[4],
        values[5],
        values[6],
        epoch,
    )


def test_every_value_of_the_vectors_is_derived() -> None:
    for vector in load("root_key"):
        fields, schedule = vector.fields, schedule_of(vector)
        length = schedule.hash_length
        context = encode_sequence(fields["dev_tp"], fields["hub_id"], fields["attempt"])
        assert schedule.exporter(fields["prk_exporter"], 32768, context, length) == fields["x_root"], (
            vector.name
        )
        assert derived(vector) == (fields["k_root"], fields["traffic_secret"]), vector.name
        algorithm = schedule.suite.hash
        assert root_key.device_key(crypto, algorithm, fields["k_root"]) == fields["k_dev"], vector.name
        after = root_key.next_secret(crypto, algorithm, fields["traffic_secret"], number(vector, "epoch") + 1)
        assert after == fields["next_traffic_secret"], vector.name
        for sender, key in ((b"\x00", "key_device"), (b"\x01", "key_hub")):
            pair = root_key.record_keys(crypto, number(vector, "suite"), fields["traffic_secret"], sender)
            assert pair == (fields[key], fields["civ"]), vector.name


def test_a_token_that_one_device_has_is_mixed_in() -> None:
    for vector in load("root_key"):
        fields = vector.fields
        if "k_tok" in fields:
            token = Token(fields["token_id"], fields["k_tok"], False)
            assert root_key.mix(crypto, token) == fields["k_mix"], vector.name
        else:
            assert root_key.mix(crypto, None) == fields["k_mix"] == bytes(32), vector.name


def test_a_shared_token_never_goes_into_a_key() -> None:
    assert root_key.mix(crypto, Token(b"token-id", b"k" * 32, True)) == bytes(32)


def test_every_input_changes_the_keys() -> None:
    vector = load("root_key")[0]
    seen = [derived(vector)]
    for name in ARGUMENTS:
        keys = derived(vector, name)
        assert all(keys.root_key != other.root_key for other in seen), name
        assert all(keys.traffic_secret != other.traffic_secret for other in seen), name
        seen.append(keys)


def test_the_epoch_changes_the_traffic_secret_alone() -> None:
    vector = load("root_key")[0]
    keys, other = derived(vector), derived(vector, "epoch")
    assert keys.root_key == other.root_key
    assert keys.traffic_secret != other.traffic_secret


def test_an_argument_of_another_length_is_refused() -> None:
    fields = load("root_key")[0].fields
    for index, name in enumerate(ARGUMENTS[1:]):
        for wrong in (fields[name][:-1], fields[name] + b"\x00", b""):
            values = [fields[other] for other in ARGUMENTS[1:]]
            values[index] = wrong
            refused(
                LocalError,
                lambda v: root_key.derive(
                    KeySchedule(crypto, suite(-21)),
                    fields["prk_exporter"],
                    v[0],
                    v[1],
                    v[2],
                    v[3],
                    v[4],
                    v[5],
                    1,
                ),
                values,
            )


def test_an_epoch_is_a_uint16() -> None:
    secret = bytes(64)
    for epoch in (-1, 65536):
        refused(LocalError, root_key.next_secret, crypto, -45, secret, epoch)
    assert len(root_key.next_secret(crypto, -45, secret, 65535)) == 64
