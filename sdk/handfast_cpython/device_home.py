"""A device of the command line: a folder with a keystore, and what `init` was told about the world."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

from handfast import entries, identity
from handfast.core import codes
from handfast.core.constants import MAX_PLAINTEXT
from handfast.core.errors import DecodeError, KeystoreError, LinkTimeout, LocalError
from handfast.core.plaintexts import STATUS_DONE, encode_response
from handfast.core.records import MAX_PIV
from handfast.core.root_key import MAX_EPOCH
from handfast.core.stored_session import decode_stored
from handfast.device import Device
from handfast.settings import Settings
from handfast_cpython.crypto import Crypto
from handfast_cpython.host import Host
from handfast_cpython.keystore import Keystore
from handfast_cpython.keystore_view import KeystoreView
from handfast_cpython.mqtt import MqttLink

SETTINGS = "settings"


class Wishes(NamedTuple):
    """What `init` was told: the broker, the quantum source, and suites other than the default."""

    broker: str
    ca: Path | None
    qrng: str
    suites: tuple[int, ...] | None

    def __repr__(self) -> str:
        # The URL of a broker may carry a password.
        return "<Wishes, secret>"

    def link(self) -> MqttLink:
        """A link to that broker; LocalError for a URL that is none."""
        return MqttLink.from_url(self.broker, ca=self.ca)

    def settings(self) -> Settings:
        """The settings of the device; LocalError for suites that do not go together."""
        if self.suites is None:
            return Settings(firmware="handfast cli")
        return Settings(suites=self.suites, firmware="handfast cli")


class Made(NamedTuple):
    """A new device: thumbprint and hub_id of 32 bytes, and the code for the operator."""

    thumbprint: bytes
    claim_code: str
    hub_id: bytes


class Enrol(NamedTuple):
    """What `onboard` was told: ask a hub again that refused, another token, seconds until it gives up."""

    retry: bool
    token: str | None
    seconds: float | None


class DeviceHome:
    """The device in the folder `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def create(self, wishes: Wishes, name: str, hub_code: str, token: str | None) -> Made:
        """Make the identity. LocalError when there is one, DecodeError for a mistyped code."""
        settings = wishes.settings()
        wishes.link()
        host = Host(self._path, qrng=wishes.qrng)
        try:
            if host.keystore.load(entries.IDENTITY) is None:
                # Before the identity: with that alone this would be a device that knows no broker.
                host.keystore.save(SETTINGS, _encode(wishes))
            made = await identity.create(host, settings.signature, name, hub_code, token)
            code = codes.encode_claim_code(host.crypto, made.credential.thumbprint)
            return Made(made.credential.thumbprint, code, codes.decode_hub_code(host.crypto, hub_code))
        except DecodeError as error:
            # The operator's own typing, not a peer's bytes.
            raise LocalError(error.detail) from None
        finally:
            await host.close()

    async def onboard(self, wish: Enrol, trouble: Callable[[str], None]) -> dict[str, object]:
        """Onboard, and give the status. LinkTimeout after `wish.seconds`."""
        host, wishes = self._open()
        try:
            if wish.token is not None:
                _take_token(host, wish.token)
            async with Device(host, wishes.link(), wishes.settings()) as device:
                said = asyncio.create_task(_say(device, trouble))
                try:
                    await _within(wish.seconds, _onboard_and_be_heard(device, wish.retry), device)
                finally:
                    said.cancel()
            return _status(host.keystore)
        finally:
            await host.close()

    async def status(self) -> dict[str, object]:
        """What is stored, read without the network and beside a device that runs; and whether one runs."""
        if not self._exists():
            raise LocalError(f"there is no device in {self._path}; make one with 'handfast init --hub CODE'")
        with KeystoreView(self._path) as keystore:
            holder = keystore.holder()
            if keystore.load(SETTINGS) is None:
                raise LocalError(
                    f"there is no device in {self._path}; make one with 'handfast init --hub CODE'"
                )
            running = {"running": holder is not None, "pid": None if holder is None else holder.pid}
            return {**_status(keystore), **running}

    async def send(self, data: bytes, channel: str, seconds: float) -> None:
        """Send one message to a hub that answers, and wait until the broker has it."""
        host, wishes = self._open()
        try:
            async with Device(host, wishes.link(), wishes.settings()) as device:
                _need_onboarded(host.keystore)
                await _within(seconds, _onboard_and_be_heard(device, False), device)
                await device.send(data, channel)
                await _within(seconds, device.drain(), device)
        finally:
            await host.close()

    async def listen(self, show: Callable[[str, bytes], None], reply: bytes, count: int | None) -> None:
        """Show messages and answer commands with `reply`, until `count` of them came."""
        # Here, as a command that nobody can answer is lost for its sender.
        size = len(encode_response(MAX_EPOCH, MAX_PIV, STATUS_DONE, reply))
        if size > MAX_PLAINTEXT:
            room = MAX_PLAINTEXT - size + len(reply)
            raise LocalError(f"a reply has at most {room} bytes, this has {len(reply)}; make it shorter")
        host, wishes = self._open()
        try:
            async with Device(host, wishes.link(), wishes.settings()) as device:
                _need_onboarded(host.keystore)
                await device.onboard()
                seen = 0
                async for message in device.messages():
                    show(message.channel, message.data)
                    if message.channel == "command":
                        await message.reply(reply)
                    seen += 1
                    if seen == count:
                        break
                await device.drain()
        finally:
            await host.close()

    async def reset(self) -> None:
        """Erase everything but the state of the generator. LocalError when there is no device."""
        if not self._exists():
            raise LocalError(f"there is no device in {self._path}; name its folder with --home")
        keystore = Keystore(self._path)
        try:
            identity.reset(keystore)
            keystore.erase(SETTINGS)
        finally:
            keystore.close()

    def _open(self) -> tuple[Host, Wishes]:
        if not self._exists():
            raise LocalError(f"there is no device in {self._path}; make one with 'handfast init --hub CODE'")
        keystore = Keystore(self._path)
        try:
            stored = keystore.load(SETTINGS)
        finally:
            keystore.close()
        if stored is None:
            raise LocalError(f"there is no device in {self._path}; make one with 'handfast init --hub CODE'")
        wishes = _decode(stored)
        return Host(self._path, qrng=wishes.qrng), wishes

    def _exists(self) -> bool:
        """Whether there is a folder; only `create` makes one."""
        try:
            return self._path.is_dir()
        except OSError as error:
            raise KeystoreError(
                f"{self._path} cannot be looked at: {error.strerror}; see its folder"
            ) from None


def _encode(wishes: Wishes) -> bytes:
    ca = None if wishes.ca is None else str(wishes.ca.resolve())
    return json.dumps([wishes.broker, ca, wishes.qrng, wishes.suites]).encode()


def _decode(stored: bytes) -> Wishes:
    broker, ca, qrng, suites = json.loads(stored)
    return Wishes(broker, None if ca is None else Path(ca), qrng, None if suites is None else tuple(suites))


def _status(keystore: Keystore) -> dict[str, object]:
    crypto = Crypto()
    thumbprint = identity.load(crypto, keystore).credential.thumbprint
    stored = keystore.load(entries.SESSION)
    session = None if stored is None else decode_stored(stored)
    state = "factory"
    if session is not None:
        state = "active" if session.active else "enrolled"
    if keystore.load(entries.REFUSED) is not None or (session is not None and session.reason is not None):
        state = "refused"
    return {
        "state": state,
        "thumbprint": thumbprint.hex(),
        "claim_code": codes.encode_claim_code(crypto, thumbprint),
        "device_id": None if session is None else session.device_id.hex(),
        "suite": None if session is None else session.suite,
        "epoch": None if session is None else session.epoch,
    }


def _take_token(host: Host, text: str) -> None:
    """Put another token in the place of the one that the hub would not have."""
    stored = host.keystore.load(entries.SESSION)
    if stored is not None and decode_stored(stored).reason is None:
        raise LocalError("this device is onboard already and needs no token; leave out --token")
    try:
        token = codes.decode_token(host.crypto, text)
    except DecodeError as error:
        raise LocalError(error.detail) from None
    identity.save_pin(host.keystore, identity.load_pin(host.crypto, host.keystore)._replace(token=token))


def _need_onboarded(keystore: Keystore) -> None:
    if keystore.load(entries.SESSION) is None:
        raise LocalError("this device is not onboard yet; run 'handfast onboard' first")


async def _onboard_and_be_heard(device: Device, retry: bool) -> None:
    """A command ends before the hub could say that it has revoked the device; so let it answer first."""
    await device.onboard(retry)
    await device.heard()


async def _within(seconds: float | None, work: Coroutine[Any, Any, None], device: Device) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        last = f": {device.trouble}" if device.trouble else ""
        raise LinkTimeout(f"the hub did not answer within {seconds:g} s{last}") from None


async def _say(device: Device, trouble: Callable[[str], None]) -> None:
    """Tell the person what keeps the device from onboarding, each thing once."""
    said = ""
    while True:
        await asyncio.sleep(0.2)
        if device.trouble and device.trouble != said:
            said = device.trouble
            trouble(f"{device.state}: {said}")
