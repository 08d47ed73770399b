"""MQTT topics: where a payload goes, and what a topic says about it.

    handfast/1/<hub>/up/<chan>                       onboarding, device to hub
    handfast/1/<hub>/dn/<chan>                       onboarding, hub to device
    handfast/1/<hub>/dev/<device_id>/up/<channel>    records, device to hub
    handfast/1/<hub>/dev/<device_id>/dn/<channel>    records, hub to device

`<hub>` is the base32 text of the hub's 8-byte kid, `<chan>` that of 14 random bytes (23
characters: the longest MQTT 3.1 client id), `<device_id>` that of 8 bytes. The client id equals
<chan> or <device_id>, so a broker can tell who may use which topic.
"""

from collections import namedtuple

from handfast.core.base32 import ALPHABET, b32encode
from handfast.core.errors import DecodeError

ROOT = "handfast/1/"

CONTROL = 0
TELEMETRY = 1
COMMAND = 2
RESPONSE = 3
BULK = 4
ALARM = 5
CHANNELS = {
    "control": CONTROL,
    "telemetry": TELEMETRY,
    "command": COMMAND,
    "response": RESPONSE,
    "bulk": BULK,
    "alarm": ALARM,
}
CHANNEL_NAMES = {number: name for name, number in CHANNELS.items()}

CHAN_LENGTH = 14
DEVICE_ID_LENGTH = 8

# Where one client sends and listens. With `channels` the channel number is one more level.
Endpoint = namedtuple("Endpoint", ("client_id", "up", "down", "channels"))
# A parsed topic. Exactly one of `chan` and `device_id` is not None; `channel` only with the latter.
Topic = namedtuple("Topic", ("hub", "direction", "chan", "device_id", "channel"))


def onboarding(hub_kid: bytes, chan: bytes) -> Endpoint:
    """The endpoint of one onboarding attempt: `hub_kid` 8 bytes, `chan` 14 random bytes."""
    name = b32encode(chan)
    base = ROOT + b32encode(hub_kid)
    return Endpoint(name, base + "/up/" + name, base + "/dn/" + name, False)


def enrolled(hub_kid: bytes, device_id: bytes) -> Endpoint:
    """The endpoint of an enrolled device: `hub_kid` and `device_id` 8 bytes each."""
    name = b32encode(device_id)
    base = ROOT + b32encode(hub_kid) + "/dev/" + name
    return Endpoint(name, base + "/up", base + "/dn", True)


def hub_subscriptions(hub_kid: bytes) -> "tuple[str, str]":
    """The two filters that a hub subscribes to."""
    base = ROOT + b32encode(hub_kid)
    return base + "/up/+", base + "/dev/+/up/+"


def reply_topic(text: str) -> str:
    """The topic on which the hub answers an onboarding payload that came on the topic `text`."""
    return text.replace("/up/", "/dn/")


def is_chan(text: str) -> bool:
    """Whether `text` is a chan, the last level of an onboarding topic, as `onboarding` writes it."""
    # 14 bytes are 22 characters and two bits: the last one stands for a multiple of 8.
    return len(text) == 23 and not text.strip(ALPHABET) and text[22] in "aiqy"


def parse(text: str) -> Topic:
    """Read a topic; DecodeError for anything that this module did not write."""
    if not text.startswith(ROOT):
        raise DecodeError("a topic begins with handfast/1/")
    # Hubs alone read topics: a device has no room for it.
    from handfast.core.codes import b32decode

    levels = text[len(ROOT) :].split("/")
    if len(levels) == 3 and levels[1] in ("up", "dn"):
        hub, chan = b32decode(levels[0]), b32decode(levels[2])
        if len(hub) != 8 or len(chan) != CHAN_LENGTH:
            raise DecodeError("an onboarding topic names 8 bytes of hub and 14 bytes of chan")
        return Topic(hub, levels[1], chan, None, None)
    if len(levels) == 5 and levels[1] == "dev" and levels[3] in ("up", "dn"):
        hub, device_id = b32decode(levels[0]), b32decode(levels[2])
        if len(hub) != 8 or len(device_id) != DEVICE_ID_LENGTH:
            raise DecodeError("a device topic names 8 bytes of hub and 8 bytes of device_id")
        if levels[4] not in ("0", "1", "2", "3", "4", "5"):
            raise DecodeError("a channel is 0 to 5")
        return Topic(hub, levels[3], None, device_id, int(levels[4]))
    raise DecodeError("a topic has 3 or 5 levels after handfast/1/")
