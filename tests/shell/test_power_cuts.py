"""The power goes, or a write fails, at each write of a device's whole life; the next boot goes on.

The life: made, onboard by a token, heard, one message; a restart and a second message; revoked; asked
again by a person and taken back; a third message. Whatever is cut, it ends as if nothing had been: the
same key on both sides, every message with the hub, nothing refused, no number of a record used twice.
"""

from host_crypto import crypto
from pair import TOKEN
from world import CutError, CutKeystore, World

import handfast.identity as identity
from handfast.core.codes import encode_token
from handfast.core.errors import KeystoreError, LocalError, RefusedError
from handfast.core.root_key import application_key
from handfast.core.suites import ML_DSA_65
from handfast.device import Device
from handfast.testing import MemoryHost, MemoryKeystore, MemoryLink

STAGES = ("one", "two", "revoke", "retry", "three")


class Watching:
    """The machine's crypto; remembers what each key and nonce has sealed, over all boots."""

    def __init__(self) -> None:
        self.reused: "list[bytes]" = []
        self._sealed: "dict[bytes, bytes]" = {}

    def __getattr__(self, name: str) -> object:
        return getattr(crypto, name)

    def seal(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        ciphertext = crypto.seal(algorithm, key, nonce, aad, plaintext)
        if self._sealed.setdefault(key + nonce, ciphertext) != ciphertext:
            self.reused.append(nonce)
        return ciphertext


class Life:
    """One device over as many boots as it takes. `cut` is the number of the write that goes wrong, or 0."""

    def __init__(self, cut: int, after: bool, error: Exception) -> None:
        self.world = World(tokens=(TOKEN,))
        self.keystore: MemoryKeystore = CutKeystore({}, cut, after, error)
        self.crypto = Watching()
        self.boots = 0
        self.broken = 0
        self.device: "Device | None" = None
        self._error = error

    async def run(self) -> None:
        await self.world.start()
        for stage in STAGES:
            while not await self._boot(stage):
                self.broken += 1
                assert self.broken == 1, "one cut breaks one boot"
            assert self.boots < 12
        assert self.device is not None

    async def _boot(self, stage: str) -> bool:
        """Start, do the work of `stage`, stop; False when the cut came in between."""
        self.boots += 1
        host = MemoryHost(self.crypto, self.world.clock, b"boot %d" % self.boots, self.keystore)
        device = None
        try:
            if self.keystore.load(identity.IDENTITY) is None:
                text = encode_token(crypto, TOKEN)
                await identity.create(host, ML_DSA_65, "device", self.world.hub.code, text)
            device = self.device = Device(host, MemoryLink(self.world.broker))
            await self._work(device, stage)
        except (CutError, KeystoreError) as error:
            assert error is self._error
            return False
        finally:
            if device is not None:
                await device.close()
                await self.world.clock.settle()
                assert self.world.at_rest()
        return True

    async def _work(self, device: Device, stage: str) -> None:
        world = self.world
        if stage == "retry":
            world.known(device).state = "admitted"
            await world.onboard(device, retry=True)
            return
        if stage == "revoke":
            if world.known(device).state != "revoked":
                world.hub.revoke(world.known(device), "lost")
            error = await self._refusal(device)
            assert isinstance(error, RefusedError)
            return
        await world.onboard(device)
        await device.send(stage.encode())
        await world.clock.advance(2.0)
        await device.drain()
        await device.heard()

    async def _refusal(self, device: Device) -> "Exception":
        """What a device hears whose hub has revoked it: at once, or when it has spoken."""
        try:
            await self.world.onboard(device)
            await self.world.clock.advance(2.0)
            await device.heard()
        except (CutError, KeystoreError):
            raise
        except Exception as error:
            return error
        raise AssertionError("a revoked device believes that it is welcome")

    def check(self) -> None:
        """What holds at the end of every life."""
        world, device = self.world, self.device
        known = world.known(device)
        assert device.state == "active"
        hub_key = world.hub.device_key(known)
        assert device.key("logs") == application_key(crypto, hub_key, "logs")
        # Told again after a cut, perhaps; lost or mixed up, never.
        data = world.data()
        assert [each for number, each in enumerate(data) if each not in data[:number]] == [
            b"one",
            b"two",
            b"three",
        ]
        assert len(data) <= 3 + self.broken
        assert self.keystore.load(identity.REFUSED) is None
        for value in self.keystore.values.values():
            assert TOKEN.k_tok not in value
        # Two enrolments, and one more when the cut came before the key was down.
        assert 2 <= len(world.hub.granted) <= 2 + self.broken
        assert len({given.attempt for given in world.hub.granted}) == len(world.hub.granted)
        assert self.crypto.reused == []


async def test_an_undisturbed_life_ends_well() -> None:
    life = Life(0, False, CutError("never"))
    await life.run()
    life.check()
    assert (life.boots, life.broken) == (5, 0)
    assert life.keystore.writes > 10


async def test_a_power_cut_before_any_write_of_a_life_does_no_harm() -> None:
    await _at_each_write(after=False, make=lambda: CutError("the power went before the bytes were down"))


async def test_a_power_cut_after_any_write_of_a_life_does_no_harm() -> None:
    await _at_each_write(after=True, make=lambda: CutError("the power went when the bytes were down"))


async def test_a_write_that_fails_is_heard_and_does_no_harm() -> None:
    await _at_each_write(after=False, make=lambda: KeystoreError("the flash is worn out"))


async def test_a_write_that_succeeds_and_is_reported_as_failed_does_no_harm() -> None:
    await _at_each_write(after=True, make=lambda: KeystoreError("the flash says no"))


async def test_a_failed_write_can_be_followed_by_another_try_of_the_same_device() -> None:
    """Without a restart: the application calls onboard again when there is room in the flash."""
    for cut in range(1, 6):
        world = World()
        await world.start()
        device = await world.device(keystore=CutKeystore({}, 0, False, KeystoreError("full")))
        store = device._host.keystore
        store.arm(cut)
        error = await world.outcome(device, 20.0, False)
        if error is not None:
            assert isinstance(error, KeystoreError)
            await world.onboard(device)
        assert device.state == "active"
        assert application_key(crypto, world.hub.device_key(world.known(device)), "x") == device.key("x")
        assert isinstance(await world.failure(device), LocalError)
        await device.close()


async def _at_each_write(after: bool, make: object) -> None:
    life = Life(0, False, CutError("never"))
    await life.run()
    for cut in range(1, life.keystore.writes + 1):
        life = Life(cut, after, make())
        await life.run()
        assert life.broken == 1, cut
        life.check()
