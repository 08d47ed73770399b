"""The identity and the pinned hub: made once, read back, refused when damaged, and gone after a reset."""

from host_crypto import crypto
from pair import HUB_SEED, SHARED_TOKEN, TOKEN
from pair import identity as made_by_hand
from refusal import refused
from world import CutError, CutKeystore, caught

import handfast.identity as identity
from handfast.core import cbor
from handfast.core.codes import decode_hub_code, encode_hub_code, encode_token
from handfast.core.errors import DecodeError, EntropyError, KeystoreError, LocalError
from handfast.core.suites import ML_DSA_65
from handfast.testing import FakeClock, MemoryHost, MemoryKeystore

HUB = made_by_hand(crypto, ML_DSA_65, HUB_SEED, "hub.example")
CODE = encode_hub_code(crypto, HUB.credential.thumbprint)


async def test_what_was_made_is_read_back() -> None:
    for token in (None, TOKEN, SHARED_TOKEN):
        host = _host()
        made = await _create(host, None if token is None else encode_token(crypto, token))
        assert identity.load(crypto, host.keystore) == made
        pin = identity.load_pin(crypto, host.keystore)
        assert pin == identity.Pin(HUB.credential.thumbprint, token, None)
        assert decode_hub_code(crypto, CODE) == pin.hub_id
        # The hub's credential, once it is known.
        identity.save_pin(host.keystore, identity.Pin(pin.hub_id, None, HUB.credential))
        assert identity.load_pin(crypto, host.keystore) == identity.Pin(pin.hub_id, None, HUB.credential)


async def test_there_is_one_identity_in_a_keystore() -> None:
    host = _host()
    made = await _create(host)
    assert isinstance(await caught(_create(host)), LocalError)
    assert identity.load(crypto, host.keystore) == made


async def test_a_mistyped_code_makes_nothing() -> None:
    host = _host()
    for code, token in ((CODE[:-1] + "A", None), ("", None), (CODE, "x"), (CODE, CODE)):
        assert isinstance(await caught(_create(host, token, code)), DecodeError)
    assert host.keystore.values == {}


async def test_a_source_in_alarm_makes_nothing() -> None:
    host = _host()

    async def alarm(draws: int) -> None:
        raise EntropyError("the source is stuck")

    host.entropy.prepare = alarm
    assert isinstance(await caught(_create(host)), EntropyError)
    assert host.keystore.values == {}


async def test_without_an_identity_or_a_hub_there_is_no_device() -> None:
    host = _host()
    refused(LocalError, identity.load, crypto, host.keystore)
    refused(LocalError, identity.load_pin, crypto, host.keystore)


async def test_a_damaged_value_is_told_apart_from_a_missing_one() -> None:
    host = _host()
    made = await _create(host, encode_token(crypto, TOKEN))
    good = dict(host.keystore.values)
    seed, encoded = made.seed, made.credential.encoded
    hub_id = HUB.credential.thumbprint
    for damaged in (
        b"",
        b"\x00",
        good["identity"][:-1],
        cbor.encode([2, seed, encoded]),
        cbor.encode([1, seed]),
        cbor.encode([1, "seed", encoded]),
        cbor.encode([1, seed, 7]),
        cbor.encode([1, seed, encoded[:-1]]),
        cbor.encode({1: seed}),
    ):
        host.keystore.values["identity"] = damaged
        refused(KeystoreError, identity.load, crypto, host.keystore)
    for damaged in (
        b"",
        good["hub"][:-1],
        cbor.encode([2, hub_id, None, None]),
        cbor.encode([1, hub_id, None]),
        cbor.encode([1, hub_id[1:], None, None]),
        cbor.encode([1, "hub", None, None]),
        cbor.encode([1, hub_id, 7, None]),
        cbor.encode([1, hub_id, [TOKEN.token_id, TOKEN.k_tok], None]),
        cbor.encode([1, hub_id, [TOKEN.token_id, TOKEN.k_tok, 0], None]),
        cbor.encode([1, hub_id, None, 7]),
        cbor.encode([1, hub_id, None, b"\xa0"]),
    ):
        host.keystore.values["hub"] = damaged
        refused(KeystoreError, identity.load_pin, crypto, host.keystore)


async def test_a_power_cut_while_it_is_made_leaves_no_half_device() -> None:
    for cut in (1, 2):
        for after in (False, True):
            store = CutKeystore({}, cut, after, CutError("the power goes"))
            host = MemoryHost(crypto, FakeClock(), b"one", store)
            assert isinstance(await caught(_create(host)), CutError)
            host = MemoryHost(crypto, FakeClock(), b"one", MemoryKeystore(store.values))
            if (cut, after) == (2, True):
                assert identity.load_pin(crypto, host.keystore).hub_id == HUB.credential.thumbprint
            else:
                refused(LocalError, identity.load, crypto, host.keystore)
                await _create(host)
            assert identity.load(crypto, host.keystore).seed


async def test_a_reset_forgets_the_device_and_keeps_the_state_of_the_pool() -> None:
    host = _host()
    await _create(host)
    for name in ("session", "refused", "entropy"):
        host.keystore.save(name, b"x")
    identity.reset(host.keystore)
    assert host.keystore.values == {"entropy": b"x"}
    await _create(host)


async def test_a_reset_that_the_power_interrupts_leaves_no_device() -> None:
    for cut in range(1, 5):
        host = _host()
        await _create(host)
        store = CutKeystore(host.keystore.values, cut, True, CutError("the power goes"))
        try:
            identity.reset(store)
        except CutError:
            pass
        refused(LocalError, identity.load, crypto, store)
        identity.reset(store)
        assert store.values == {}


async def test_what_such_a_reset_left_is_not_the_next_identitys() -> None:
    host = _host()
    await _create(host)
    for name in ("session", "refused"):
        host.keystore.save(name, b"of the old identity")
    host.keystore.erase("identity")
    await _create(host)
    assert sorted(host.keystore.values) == ["hub", "identity"]


def _host() -> MemoryHost:
    return MemoryHost(crypto, FakeClock(), b"one")


async def _create(host: MemoryHost, token: "str | None" = None, code: str = CODE) -> "identity.Identity":
    return await identity.create(host, ML_DSA_65, "device one", code, token)
