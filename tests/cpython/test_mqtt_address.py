"""How MqttLink is told its broker: URLs, options that go together, files of certificates."""

from pathlib import Path

import pytest

from handfast.core.errors import LocalError
from handfast_cpython.mqtt import MqttLink
from handfast_cpython.tls import client_context


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "username", "password"),
    [
        ("mqtt://hub.local", "hub.local", 1883, False, None, None),
        ("mqtt://hub.local:1884/", "hub.local", 1884, False, None, None),
        ("mqtts://hub.local", "hub.local", 8883, True, None, None),
        ("mqtts://a%40b:p%3Aq@[::1]:99", "::1", 99, True, "a@b", "p:q"),
    ],
)
async def test_a_url_says_it_all(
    url: str, host: str, port: int, tls: bool, username: str | None, password: str | None
) -> None:
    link = MqttLink.from_url(url)
    assert (link.host, link.port, link._context is not None) == (host, port, tls)
    assert (link._username, link._password) == (username, password)


@pytest.mark.parametrize(
    "url",
    [
        "hub.local",
        "http://hub.local",
        "mqtt://",
        "mqtt://hub:port",
        "mqtt://hub/path",
        "mqtt://hub:70000",
        "",
    ],
)
async def test_a_url_that_is_none_is_refused_with_the_form_that_is_wanted(url: str) -> None:
    with pytest.raises(LocalError, match="mqtt://host:port|ends after the port"):
        MqttLink.from_url(url)


async def test_a_url_never_shows_its_password_in_an_error() -> None:
    with pytest.raises(LocalError) as caught:
        MqttLink.from_url("mqqt://user:swordfish@hub")
    assert "swordfish" not in caught.value.detail


async def test_contradictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="TLS was switched off"):
        MqttLink("hub", tls=False, ca=tmp_path / "ca.pem")
    with pytest.raises(LocalError, match="from_url"):
        MqttLink("mqtt://hub")
    with pytest.raises(LocalError, match="1 to 65535"):
        MqttLink("hub", port=0)
    with pytest.raises(LocalError, match="user name"):
        MqttLink("hub", password="secret")
    with pytest.raises(LocalError, match="without its certificate"):
        client_context(key=tmp_path / "key.pem")


async def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"ca\.pem should hold PEM certificates: no such file"):
        client_context(ca=tmp_path / "ca.pem")
    broken = tmp_path / "broken.pem"
    broken.write_text("not PEM")
    with pytest.raises(LocalError, match=r"broken\.pem should hold PEM"):
        client_context(ca=broken)
    with pytest.raises(LocalError, match="belong together"):
        client_context(certificate=broken)
