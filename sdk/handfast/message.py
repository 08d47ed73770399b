"""What the hub sent to this device, and how a command among it is answered."""

from handfast.core.errors import LocalError
from handfast.core.plaintexts import STATUS_DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.device import Device


class Message:
    """What the hub sent: `data` on `channel`. A command can be answered once, with `reply`."""

    def __init__(self, device: "Device", channel: str, data: bytes, epoch: int, piv: int) -> None:
        self.channel = channel
        self.data = data
        self._device = device
        self._request = (epoch, piv)
        self._answered = False

    async def reply(self, data: bytes = b"", status: int = STATUS_DONE) -> None:
        """Answer a command; LocalError for anything else, and when it was answered before.

        `status` 0 says that it was done. `data` has a few bytes less room than a message of its own.
        """
        if self.channel != "command":
            raise LocalError("only a command can be answered, not a message on %s" % self.channel)
        if self._answered:
            raise LocalError("this command was answered already")
        self._device.respond(self._request, status, data)
        self._answered = True


class Messages:
    """The messages of the hub, one after the other; ends when the device is closed."""

    def __init__(self, device: "Device") -> None:
        self._device = device

    def __aiter__(self) -> "Messages":
        return self

    async def __anext__(self) -> Message:
        message = await self._device.next_message()
        if message is None:
            raise StopAsyncIteration
        return message
