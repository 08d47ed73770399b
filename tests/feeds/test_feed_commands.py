"""`handfast-hub feed` and the sections `[feed.NAME]`: what an operator types and reads."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from fed_hubs import fed_hubs
from two_hubs import made, until

from handfast.core.errors import LocalError
from handfast_cpython import Crypto
from handfast_hub.config import ConfigError, HubConfig, load_config
from handfast_hub.feeds.feeds import Feeds
from handfast_hub.feeds.settings import Pkcs11Feed, StrongswanFeed

PEER = "A" * 43 + "="
WIREGUARD = f'kind = "wireguard"\ninterface = "hfnothere"\npeer = "{PEER}"\n'
KME = (
    'kme = "https://127.0.0.1:1"\nkme_id = "k"\npeer_sae = "s"\nkme_ca = "a"\nkme_certificate = "b"\n'
    'kme_key = "c"\n'
)


async def hub(file: Path, *words: str) -> tuple[int, str, str]:
    """What `handfast-hub` answers."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "handfast_hub.cli", "--config", str(file), *words)
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_a_feed_that_fails_says_why_and_the_trunk_goes_on(tmp_path: Path) -> None:
    async with fed_hubs(tmp_path, lambda name: WIREGUARD) as fed:
        await fed.reach("failing")
        before = fed.hubs["berlin"].trunks.status()["vienna"]["epochs_with_qkd"]
        assert isinstance(before, int)
        await until(lambda: fed.hubs["berlin"].trunks.status()["vienna"]["epochs_with_qkd"] > before)
        file = tmp_path / "berlin" / "hub.toml"

        rows: list[dict[str, str]] = []

        async def noted() -> bool:
            code, output, errors = await hub(file, "feed", "status", "--json")
            assert code == 0, errors
            rows[:] = json.loads(output)
            return bool(rows) and rows[0]["state"] == "failing"

        await until(noted)
        [row] = rows
        assert (row["feed"], row["trunk"], row["kind"]) == ("tunnel", "vienna", "wireguard")
        assert "hfnothere" in row["reason"] or "'wg'" in row["reason"]
        code, output, _ = await hub(file, "feed", "status")
        assert code == 0
        assert "failing" in output


async def test_feed_check_says_what_is_not_there_and_ends_with_1(tmp_path: Path) -> None:
    code = made(tmp_path / "berlin", "berlin")
    file = tmp_path / "berlin" / "hub.toml"
    (tmp_path / "pairing").write_text("")
    plain = f'{file.read_text()}[trunk.vienna]\nhub = "{code}"\nsecret_file = "../pairing"\n{KME}'
    file.write_text(plain)
    done, output, _ = await hub(file, "feed", "check")
    assert (done, "no feed is configured" in output) == (0, True)
    file.write_text(
        f'{plain}[feed.a]\ntrunk = "vienna"\n{WIREGUARD}[feed.b]\ntrunk = "vienna"\nkind = "strongswan"\n'
        'role = "initiator"\nsocket = "none"\n[feed.b.connection]\nremote_addrs = ["192.0.2.1"]\n'
        'children = { x = { local_ts = ["192.0.2.8/32"], remote_ts = ["192.0.2.9/32"] } }\n'
        '[feed.c]\ntrunk = "vienna"\nkind = "pkcs11"\nmodule = "none.so"\ntoken = "t"\npin_file = "none"\n'
    )
    done, output, _ = await hub(file, "feed", "check", "--json")
    assert done == 1
    problems = {row["feed"]: row["problem"] for row in json.loads(output)}
    assert "hfnothere" in problems["a"] or "'wg'" in problems["a"]
    assert problems["b"].startswith(f"there is no vici socket {tmp_path}/berlin/none;")
    assert problems["c"] == f"expected the user PIN of the token in {tmp_path}/berlin/none"
    done, output, _ = await hub(file, "feed", "check")
    assert (done, "pkcs11" in output) == (1, True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f'trunk = "paris"\n{WIREGUARD}', "'feed.x.trunk' is 'paris': expected the NAME of a .* with kme"),
        (f'trunk = "vienna"\n{WIREGUARD}inteface = "wg0"\n', "has no key 'inteface'; did you mean"),
        ('trunk = "vienna"\nkind = "wireguard"\ninterface = "wg0"\npeer = "abc"\n', "44 characters"),
        ('trunk = "vienna"\nkind = "openvpn"\n', "openvpn"),
        (f'trunk = "vienna"\n{WIREGUARD}without_qkd = "open"\n', "'keep' or 'close'"),
    ],
)
def test_a_feed_that_is_written_wrong_is_said_in_one_sentence(
    tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(f'name = "berlin"\n[trunk.vienna]\nhub = "x"\nsecret_file = "y"\n{KME}[feed.x]\n{text}')
    with pytest.raises(ConfigError, match=sentence):
        load_config(file)


def test_the_paths_of_a_feed_are_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(
        f'name = "berlin"\n[trunk.vienna]\nhub = "x"\nsecret_file = "y"\n{KME}'
        '[feed.x]\ntrunk = "vienna"\nkind = "pkcs11"\nmodule = "m.so"\ntoken = "t"\npin_file = "p"\n'
    )
    config: HubConfig = load_config(file)
    feed = config.feed["x"]
    assert isinstance(feed, Pkcs11Feed)
    assert (feed.module, feed.pin_file) == (tmp_path / "m.so", tmp_path / "p")


@pytest.mark.parametrize(
    ("library", "module", "settings"),
    [
        ("vici", "strongswan", StrongswanFeed.model_construct(trunk="vienna", kind="strongswan")),
        ("pkcs11", "pkcs11", Pkcs11Feed.model_construct(trunk="vienna", kind="pkcs11")),
    ],
)
def test_a_library_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, library: str, module: str, settings: StrongswanFeed | Pkcs11Feed
) -> None:
    monkeypatch.delitem(sys.modules, f"handfast_hub.feeds.{module}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(LocalError, match=rf"feed 'x' .* needs {library}: install handfast\[hub,qkd,feeds\]"):
        Feeds({"x": settings}, Crypto(), bytes).join("vienna", (b"", b""), 30.0)
