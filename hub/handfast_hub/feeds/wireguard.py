"""The preshared key of a peer of a WireGuard interface, by the program `wg` (wireguard-tools).

A preshared key acts at the next handshake, which is due every 120 seconds, and sessions end 180
seconds after theirs (the WireGuard paper, section 6.1); so both hubs may set it at different times,
and traffic never waits. A peer without a preshared key is secret by X25519 alone: a peer named in a
feed gets a random one at once, and never goes back to none.
"""

import asyncio
import base64
import hmac
from collections.abc import Callable

from handfast_hub.feeds.feeder import FeedError
from handfast_hub.feeds.keys import KEY_LENGTH, FeedKey
from handfast_hub.feeds.settings import WireguardFeed

_SECONDS = 10.0

# What `wg` says, and what to do about it.
_ADVICE = {
    "No such device": "there is no such WireGuard interface here; bring it up first",
    # A kernel without WireGuard, and no wireguard-go with an interface of that name.
    "Protocol not supported": "there is no such WireGuard interface here; bring it up first",
    "Operation not permitted": "the hub may not change network interfaces; give it CAP_NET_ADMIN",
    "Permission denied": "the hub may not change network interfaces; give it CAP_NET_ADMIN",
}


class Wireguard:
    """A `feeder.Consumer`: one peer of one interface."""

    def __init__(self, settings: WireguardFeed, random: Callable[[int], bytes]) -> None:
        """`random(n)` gives n bytes."""
        self._interface = settings.interface
        self._peer = settings.peer
        self._random = random

    async def look(self) -> None:
        """Look whether the interface has the peer."""
        await self._about_peer("preshared-keys")

    async def prepare(self) -> None:
        """Give the peer a random preshared key when it has none."""
        if await self._about_peer("preshared-keys") == "(none)":
            await self._set(self._random(KEY_LENGTH))

    async def put(self, key: FeedKey) -> None:
        """Set it, and look whether it is set."""
        await self.look()
        await self._set(key.key)

    async def shut(self) -> None:
        """End the session at once, and give the peer a random preshared key, so that there is no other.

        A preshared key alone would act at the next handshake. The peer is made anew with what it had.
        """
        endpoint = await self._about_peer("endpoints")
        allowed = await self._about_peer("allowed-ips")
        keepalive = await self._about_peer("persistent-keepalive")
        anew = ["persistent-keepalive", keepalive]
        anew += ["allowed-ips", "" if allowed == "(none)" else allowed.replace(" ", ",")]
        anew += [] if endpoint == "(none)" else ["endpoint", endpoint]
        await self._set(self._random(KEY_LENGTH), anew)

    async def _set(self, key: bytes, anew: list[str] | None = None) -> None:
        # The key goes through a pipe: a command line stands in the table of processes.
        text = base64.b64encode(key)
        peer = ["peer", self._peer]
        forget = [] if anew is None else [*peer, "remove"]
        await self._wg(
            "set", self._interface, *forget, *peer, "preshared-key", "/dev/stdin", *(anew or ()), said=text
        )
        found = await self._about_peer("preshared-keys")
        if not hmac.compare_digest(found.encode(), text):
            raise FeedError(f"something else sets the preshared key of the peer on {self._interface} too")

    async def _about_peer(self, what: str) -> str:
        """What `wg show INTERFACE what` says of the peer; FeedError when the interface has no such peer."""
        for line in (await self._wg("show", self._interface, what)).splitlines():
            peer, _, value = line.partition("\t")
            if peer == self._peer:
                return value
        raise FeedError(
            f"the interface {self._interface} has no peer {self._peer}; configure the tunnel first"
        )

    async def _wg(self, *arguments: str, said: bytes = b"") -> str:
        """Run `wg`; its standard output. It may hold keys."""
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                "wg", *arguments, stdin=pipe, stdout=pipe, stderr=pipe
            )
        except FileNotFoundError:
            raise FeedError("there is no program 'wg' here; install wireguard-tools") from None
        except OSError as error:
            raise FeedError(f"the program 'wg' cannot be started: {error.strerror}") from None
        try:
            async with asyncio.timeout(_SECONDS):
                output, complaint = await process.communicate(said)
        except TimeoutError:
            raise FeedError(f"'wg' did not end within {_SECONDS:g} seconds") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            text = complaint.decode(errors="replace").strip()
            advice = next((advice for part, advice in _ADVICE.items() if part in text), "")
            raise FeedError(f"{self._interface}: {advice or text.splitlines()[-1] if text else 'wg failed'}")
        return output.decode(errors="replace")
