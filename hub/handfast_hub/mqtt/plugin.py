"""Who may use which topic at the embedded broker, and the amqtt plugin that asks.

A device is whoever holds a client id: <chan> (23 characters) while onboarding, <device_id> (13)
afterwards. It may write and read the topics that carry its id, at this hub, and no others; no
wildcards, no wills, no sessions that outlive the connection. The hub's own client has a user name
and a password that are made anew at each start.
"""

import hmac
from dataclasses import dataclass

from amqtt.broker import Action  # type: ignore[import-untyped]
from amqtt.contexts import BaseContext  # type: ignore[import-untyped]
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin  # type: ignore[import-untyped]
from amqtt.session import Session  # type: ignore[import-untyped]

from handfast.core.codes import b32decode
from handfast.core.constants import MAX_FRAGMENTED, MAX_PLAINTEXT
from handfast.core.errors import DecodeError
from handfast.core.topics import CHAN_LENGTH, CHANNELS, DEVICE_ID_LENGTH

# Bytes of payload. A fragmented onboarding payload has at most 16,384; a record adds 36 to its plaintext.
MAX_ONBOARDING = MAX_FRAGMENTED + 64
MAX_RECORD = MAX_PLAINTEXT + 64

CHANNEL_LEVELS = frozenset(str(channel) for channel in CHANNELS.values())
CLIENT_ID_LENGTHS = (CHAN_LENGTH, DEVICE_ID_LENGTH)


@dataclass(frozen=True)
class Hello:
    """What a client says in its CONNECT."""

    client_id: str
    clean_session: bool
    will_flag: bool
    username: str | None
    password: str | None
    keep_alive: int


@dataclass(frozen=True)
class Rules:
    """The rules of one hub. `base` is `handfast/1/<hub>`; the other three are the hub's own login."""

    base: str
    client_id: str
    username: str
    password: str

    def refusal(self, hello: Hello) -> str | None:
        """Why this client may not connect, or None when it may."""
        if self.is_hub(hello.client_id):
            right_name = hmac.compare_digest((hello.username or "").encode(), self.username.encode())
            right_password = hmac.compare_digest((hello.password or "").encode(), self.password.encode())
            return None if right_name and right_password else "the hub's client id without the hub's password"
        if not _is_device(hello.client_id):
            return "a client id that is neither a chan nor a device_id"
        if hello.will_flag:
            return "a will: devices have none"
        if not hello.clean_session:
            return "a session that outlives the connection: devices have none"
        return None

    def is_hub(self, client_id: str) -> bool:
        """Whether this is the hub's own client."""
        return client_id == self.client_id

    def payload_limit(self, client_id: str, topic: str) -> int | None:
        """How many bytes `client_id` may publish on `topic`; None when it may not publish there."""
        if not self.is_hub(client_id):
            return self._limit(client_id, topic, "up")
        return MAX_RECORD if self._shape(topic) in (("dn", 2), ("dn", 4)) else None

    def may_subscribe(self, client_id: str, topic_filter: str) -> bool:
        """Whether `client_id` may listen to `topic_filter`. Only the hub may use wildcards."""
        if self.is_hub(client_id):
            return topic_filter in (self.onboarding_filter, self.record_filter)
        return self._limit(client_id, topic_filter, "dn") is not None

    def may_receive(self, client_id: str, topic: str) -> bool:
        """Whether a message on `topic` may reach `client_id`."""
        if self.is_hub(client_id):
            return self.hub_filter(topic) is not None
        return self._limit(client_id, topic, "dn") is not None

    @property
    def onboarding_filter(self) -> str:
        """The hub's subscription for onboarding."""
        return self.base + "/up/+"

    @property
    def record_filter(self) -> str:
        """The hub's subscription for records."""
        return self.base + "/dev/+/up/+"

    def hub_filter(self, topic: str) -> str | None:
        """Which of the hub's subscriptions matches `topic`."""
        return {("up", 2): self.onboarding_filter, ("up", 4): self.record_filter}.get(self._shape(topic))

    def _shape(self, topic: str) -> tuple[str, int]:
        """The direction of a topic and its levels below `base`; ("", 0) for any other topic."""
        levels = topic.split("/")
        if "/".join(levels[:3]) != self.base:
            return "", 0
        levels = levels[3:]
        if len(levels) == 2:
            return levels[0], 2
        return (levels[2], 4) if len(levels) == 4 and levels[0] == "dev" else ("", 0)

    def _limit(self, client_id: str, topic: str, direction: str) -> int | None:
        if topic == f"{self.base}/{direction}/{client_id}":
            return MAX_ONBOARDING
        base, _, level = topic.rpartition("/")
        if base == f"{self.base}/dev/{client_id}/{direction}" and level in CHANNEL_LEVELS:
            return MAX_RECORD
        return None


def _is_device(client_id: str) -> bool:
    try:
        return len(b32decode(client_id)) in CLIENT_ID_LENGTHS
    except DecodeError:
        return False


class IsolationPlugin(BaseAuthPlugin, BaseTopicPlugin):  # type: ignore[misc]  # amqtt has no types
    """amqtt asks this plugin who may connect, subscribe, publish and receive."""

    @dataclass
    class Config:
        """The fields of Rules: amqtt hands a plugin plain values."""

        base: str
        client_id: str
        username: str
        password: str

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        self.rules = Rules(
            self.config.base, self.config.client_id, self.config.username, self.config.password
        )

    async def authenticate(self, *, session: Session) -> bool:
        """Whether this client may connect."""
        hello = Hello(
            session.client_id or "",
            bool(session.clean_session),
            session.will_flag,
            session.username,
            session.password,
            session.keep_alive,
        )
        return self.rules.refusal(hello) is None

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Whether this client may do this with this topic."""
        if session is None or session.client_id is None or topic is None:
            return False
        if action is Action.PUBLISH:
            return self.rules.payload_limit(session.client_id, topic) is not None
        if action is Action.SUBSCRIBE:
            return self.rules.may_subscribe(session.client_id, topic)
        return self.rules.may_receive(session.client_id, topic)
