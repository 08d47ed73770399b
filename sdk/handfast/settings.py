"""What an application may choose about its device, checked when it is made.

Few fields, safe defaults, and nothing that could weaken the protocol: a suite that is not in the
table does not exist, and there is no switch that turns a check off.
"""

from handfast.core.constants import MIN_PACKET_LIMIT
from handfast.core.errors import LocalError
from handfast.core.suites import DEFAULT_SUITES, suite

MAX_LABEL = 64


class Settings:
    """`suites`: numbers this device would ever use, best first, all with one signature algorithm.

    `firmware` and `hardware`: at most 64 bytes of UTF-8 each, shown to the operator. `queue`: how many
    messages wait in each direction while the link is away or the application is busy; a command beyond
    it is answered "busy" and not carried out. `retry`:
    the first and the longest delay in seconds between attempts to reach the broker or the hub.
    `packet_limit`: the largest payload in bytes that the way to the hub carries, at least 1024;
    onboarding messages beyond it travel in fragments, 0 sends them whole.
    """

    def __init__(
        self,
        *,
        suites: "tuple[int, ...]" = DEFAULT_SUITES,
        firmware: str = "",
        hardware: str = "",
        queue: int = 64,
        retry: "tuple[float, float]" = (1.0, 60.0),
        packet_limit: int = 0,
    ) -> None:
        if not suites:
            raise LocalError("a device needs at least one suite; leave `suites` out for the default")
        signature = suite(suites[0]).signature
        for number in suites:
            if suite(number).signature != signature:
                raise LocalError(
                    "suites %s need different signature keys; a device has one" % (sorted(suites),)
                )
        for text in (firmware, hardware):
            # In bytes: DEVINFO has room for 512 of them.
            if len(text.encode("utf-8")) > MAX_LABEL:
                raise LocalError("firmware and hardware have at most %d bytes each" % MAX_LABEL)
        if queue < 1:
            raise LocalError("a queue holds at least one message, not %d" % queue)
        if not 0 < retry[0] <= retry[1]:
            raise LocalError("retry is (first, longest) in seconds, not %s" % (retry,))
        if packet_limit and packet_limit < MIN_PACKET_LIMIT:
            raise LocalError(
                "16 fragments need packets of %d bytes, not %d" % (MIN_PACKET_LIMIT, packet_limit)
            )
        self.suites = tuple(suites)
        self.firmware = firmware
        self.hardware = hardware
        self.queue = queue
        self.retry = retry
        self.packet_limit = packet_limit

    @property
    def signature(self) -> int:
        """The COSE number of the signature algorithm of every suite."""
        return int(suite(self.suites[0]).signature)
