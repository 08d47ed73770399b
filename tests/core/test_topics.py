"""Topics: what is written is read back, and nothing else is read."""

from refusal import refused

from handfast.core import topics
from handfast.core.base32 import ALPHABET, b32encode
from handfast.core.errors import DecodeError

HUB = bytes(range(8))
CHAN = bytes(range(100, 114))
DEVICE = bytes(range(50, 58))
HUB_TEXT = "aaaqeayeaudao"
CHAN_TEXT = "mrswmz3infvgw3dnnzxxa4i"
DEVICE_TEXT = "giztinjwg44ds"


def test_topics_are_spelled_as_the_protocol_says() -> None:
    endpoint = topics.onboarding(HUB, CHAN)
    assert endpoint.client_id == CHAN_TEXT
    assert endpoint.up == "handfast/1/" + HUB_TEXT + "/up/" + CHAN_TEXT
    assert endpoint.down == "handfast/1/" + HUB_TEXT + "/dn/" + CHAN_TEXT
    assert not endpoint.channels
    endpoint = topics.enrolled(HUB, DEVICE)
    assert endpoint.client_id == DEVICE_TEXT
    assert endpoint.up == "handfast/1/" + HUB_TEXT + "/dev/" + DEVICE_TEXT + "/up"
    assert endpoint.down == "handfast/1/" + HUB_TEXT + "/dev/" + DEVICE_TEXT + "/dn"
    assert endpoint.channels


def test_a_client_id_fits_into_the_23_characters_of_mqtt_3_1() -> None:
    assert len(topics.onboarding(HUB, CHAN).client_id) == 23
    assert len(topics.enrolled(HUB, DEVICE).client_id) == 13


def test_what_is_written_is_read_back() -> None:
    endpoint = topics.onboarding(HUB, CHAN)
    assert topics.parse(endpoint.up) == topics.Topic(HUB, "up", CHAN, None, None)
    assert topics.parse(endpoint.down) == topics.Topic(HUB, "dn", CHAN, None, None)
    endpoint = topics.enrolled(HUB, DEVICE)
    for channel in topics.CHANNELS.values():
        suffix = "/%d" % channel
        assert topics.parse(endpoint.up + suffix) == topics.Topic(HUB, "up", None, DEVICE, channel)
        assert topics.parse(endpoint.down + suffix) == topics.Topic(HUB, "dn", None, DEVICE, channel)


def test_a_chan_is_known_by_its_text_exactly_when_a_topic_of_it_is_read() -> None:
    assert topics.is_chan(CHAN_TEXT)
    last = [CHAN_TEXT[:22] + character for character in ALPHABET + "A01="]
    for text in last + [
        "",
        CHAN_TEXT[:22],
        CHAN_TEXT + "a",
        "M" + CHAN_TEXT[1:],
        CHAN_TEXT[:9] + "/" + CHAN_TEXT[10:],
    ]:
        try:
            known = topics.parse("handfast/1/" + HUB_TEXT + "/up/" + text).chan is not None
        except DecodeError:
            known = False
        assert topics.is_chan(text) == known, text


def test_the_answer_goes_to_the_chan_of_the_question() -> None:
    endpoint = topics.onboarding(HUB, CHAN)
    assert topics.reply_topic(endpoint.up) == endpoint.down


def test_the_hub_subscribes_to_what_devices_publish_and_to_nothing_that_it_publishes() -> None:
    onboarding, enrolled = topics.hub_subscriptions(HUB)
    assert matches(onboarding, topics.onboarding(HUB, CHAN).up)
    assert not matches(onboarding, topics.onboarding(HUB, CHAN).down)
    assert matches(enrolled, topics.enrolled(HUB, DEVICE).up + "/1")
    assert not matches(enrolled, topics.enrolled(HUB, DEVICE).down + "/1")
    assert not matches(onboarding, topics.onboarding(DEVICE, CHAN).up)


def matches(topic_filter: str, topic: str) -> bool:
    wanted, given = topic_filter.split("/"), topic.split("/")
    return len(wanted) == len(given) and all(w in ("+", g) for w, g in zip(wanted, given))


def test_any_other_topic_is_refused() -> None:
    up = topics.onboarding(HUB, CHAN).up
    device = topics.enrolled(HUB, DEVICE).up
    for text in (
        "",
        "handfast/1/",
        "handfast/2/" + up[11:],
        "Handfast/1/" + up[11:],
        "/" + up,
        up + "/",
        up + "/0",
        up.upper(),
        up.replace("/up/", "/UP/"),
        up.replace("/up/", "/+/"),
        up[:-1],
        up + "a",
        up[:-1] + "8",
        up.replace(HUB_TEXT, b32encode(bytes(7))),
        up.replace(HUB_TEXT, b32encode(bytes(9))),
        up.replace(HUB_TEXT, ""),
        up.replace(CHAN_TEXT, b32encode(bytes(13))),
        up.replace(CHAN_TEXT, "+"),
        up.replace(CHAN_TEXT, "#"),
        device,
        device + "/",
        device + "/6",
        device + "/-1",
        device + "/01",
        device + "/+1",
        device + "/1 ",
        device + "/1/",
        device + "/1/2",
        device + "/#",
        device + "/\u0661",
        device.replace("/dev/", "/device/") + "/1",
        device.replace("/up", "/upp") + "/1",
        device.replace(DEVICE_TEXT, b32encode(bytes(7))) + "/1",
        device.replace(DEVICE_TEXT, CHAN_TEXT) + "/1",
    ):
        refused(DecodeError, topics.parse, text)
