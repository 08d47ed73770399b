"""What goes wrong on the side of a device, with whole processes: one sentence, the right code, nothing lost.

Each scenario puts a cause in the way of a command that has worked, reads the one sentence with
which it fails, takes the cause away and types the same command again. The hub's side stands in
test_bad_input_hub.py.
"""

import contextlib
import json
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import pytest
from commands import SETPRIV, Command, ended, handfast, handfast_hub, until
from disks import Disk, small_disk
from free_ports import free_port
from mosquitto import make_certificates, needs_mosquitto, running
from processes import HubProcess

from handfast_cpython.terminal import ENTROPY_ALARM, FAILED, REFUSED, UNREACHABLE, USAGE


class Place(NamedTuple):
    """A hub that serves, and a device that is on board; what it has sent is in `sent`."""

    hub: HubProcess
    operator: Command
    home: Path
    device: Command
    sent: list[str]

    def arrived(self) -> list[str]:
        """Every reading that the hub has."""
        count = str(len(self.sent) or 1)
        lines = self.operator.works("listen", "--after", "0", "--count", count, "--json").splitlines()
        return [bytes.fromhex(json.loads(line)["data"]).decode() for line in lines]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with HubProcess(tmp_path_factory.mktemp("hub")) as hub:
        hub.start()
        yield hub


@pytest.fixture(scope="module")
def place(serving: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """One device for all scenarios: what one of them breaks the next one would see."""
    return on_board(serving, tmp_path_factory.mktemp("device") / "home")


def on_board(hub: HubProcess, home: Path) -> Place:
    """A device of `hub` in the folder `home`."""
    operator, device = handfast_hub(hub.file), handfast(home)
    token = operator.works("--quiet", "token").strip()
    device.works("init", "--hub", hub.code, "--broker", hub.address, "--token", "-", given=token.encode())
    assert device.json("onboard")["state"] == "active"
    return Place(hub, operator, home, device, [])


# A device that is on board, and what comes in its way


@contextlib.contextmanager
def broker_down(place: Place) -> Iterator[None]:
    assert place.hub.stop() == 0
    yield
    place.hub.start()


@contextlib.contextmanager
def in_use(place: Place) -> Iterator[None]:
    lock = place.home / "lock"
    with place.device.running("listen") as other:
        until(lambda: f"process {other.pid} (handfast listen)" in lock.read_text())
        yield


@contextlib.contextmanager
def not_its_owners(place: Place) -> Iterator[None]:
    place.home.chmod(0)
    yield
    place.home.chmod(0o700)


@contextlib.contextmanager
def open_to_others(place: Place) -> Iterator[None]:
    (place.home / "identity.0").chmod(0o644)
    yield
    (place.home / "identity.0").chmod(0o600)


class Obstacle(NamedTuple):
    """What comes in the way, and how the command fails."""

    name: str
    cause: Callable[[Place], AbstractContextManager[None]]
    code: int
    sentence: str


OBSTACLES = (
    Obstacle("the broker is down", broker_down, UNREACHABLE, "Connection refused"),
    Obstacle("the keystore is in use", in_use, FAILED, "(handfast listen); stop it, or use another keystore"),
    Obstacle("the keystore is another user's", not_its_owners, FAILED, "run as its owner or choose another"),
    Obstacle("the keystore is open to others", open_to_others, FAILED, "run: chmod 600 "),
)


@pytest.mark.parametrize("obstacle", OBSTACLES, ids=lambda obstacle: obstacle.name)
def test_a_device_says_what_is_in_its_way_and_works_without_it(place: Place, obstacle: Obstacle) -> None:
    stranger = obstacle.cause is not_its_owners
    if stranger and not SETPRIV:
        pytest.skip("root needs setpriv to be a user like any other: apt-get install util-linux")
    before = place.device.json("status")
    reading = f"{obstacle.name}: 21.5 C"
    words = "send", reading, "--timeout", "10"
    with obstacle.cause(place):
        assert obstacle.sentence in place.device.fails(obstacle.code, *words, unprivileged=stranger)
    place.device.works("send", reading, unprivileged=stranger)
    place.sent.append(reading)
    assert place.device.json("status")["thumbprint"] == before["thumbprint"]
    assert place.arrived() == place.sent


def test_an_error_is_json_where_the_answer_is(place: Place) -> None:
    (place.home / "identity.0").chmod(0o644)
    said = place.device("status", "--json")
    (place.home / "identity.0").chmod(0o600)
    assert (said.code, said.out) == (FAILED, "")
    error = json.loads(said.err)
    assert "run: chmod 600" in error.pop("error")
    assert error == {"exit_code": FAILED, "retryable": False}


def test_a_message_that_is_too_large_is_refused_and_the_largest_arrives(place: Place) -> None:
    sentence = place.device.fails(USAGE, "send", "-", given=b"x" * 65_001)
    assert sentence == "a message has at most 65000 bytes, this has 65001"
    sentence = place.device.fails(USAGE, "listen", "--reply", "x" * 64_990)
    assert sentence.startswith("a reply has at most 649")
    assert "send on telemetry, bulk or alarm" in place.device.fails(
        USAGE, "send", "x", "--channel", "command"
    )
    place.device.works("send", "-", given=b"y" * 65_000)
    place.sent.append("y" * 65_000)
    assert place.arrived() == place.sent


def test_what_cannot_be_written_to_standard_output_is_one_sentence(place: Place) -> None:
    with Path("/dev/full").open("wb") as full:
        said = place.device("status", stdout=full)
    assert (said.code, said.sentence) == (
        FAILED,
        "standard output cannot be written: No space left on device; give it room",
    )


def test_another_identity_never_takes_the_place_of_one(place: Place) -> None:
    before = place.device.json("status")
    words = "init", "--hub", place.hub.code, "--broker", "mqtt://127.0.0.1:1"
    assert "holds an identity already" in place.device.fails(USAGE, *words)
    assert place.device.json("status") == before
    place.device.works("send", "still here")
    place.sent.append("still here")
    assert place.arrived() == place.sent


# A device that is not on board yet


def test_what_was_mistyped_is_one_sentence_and_makes_no_device(serving: HubProcess, tmp_path: Path) -> None:
    code, broker, home = serving.code, serving.address, tmp_path / "home"
    device = handfast(home)
    wrong = code[:-1] + ("B" if code[-1] == "A" else "A")
    token = handfast_hub(serving.file).works("--quiet", "token").strip()
    missing = str(tmp_path / "missing.pem")
    attempts: tuple[tuple[int, str, tuple[str, ...]], ...] = (
        (USAGE, "a hub code has 56 characters, not 55", ("--hub", code[:-1])),
        (USAGE, "a character of this hub code is wrong", ("--hub", wrong)),
        (USAGE, "this is a token; a hub code was expected", ("--hub", token)),
        (USAGE, "a token has 72 characters, not 71", ("--token", token[:-1])),
        (USAGE, "this one begins http://", ("--broker", "http://127.0.0.1")),
        (USAGE, "Port out of range", ("--broker", "mqtt://127.0.0.1:99999")),
        (USAGE, "missing.pem should hold PEM certificates: no such file", ("--ca", missing)),
        (USAGE, "no quantum source 'hwrng'; choose os", ("--qrng", "hwrng")),
        (ENTROPY_ALARM, "failed the health test", ("--qrng", "simulated:stuck-zero")),
        (ENTROPY_ALARM, "is it plugged in", ("--qrng", "/dev/qrandom-that-is-not-there")),
    )
    good = {"--hub": code, "--broker": broker}
    for number, sentence, words in attempts:
        wishes = {**good, words[0]: words[1]}
        if words[0] == "--ca":
            wishes["--broker"] = broker.replace("mqtt:", "mqtts:")
        said = device.fails(number, "init", *(part for pair in wishes.items() for part in pair))
        assert sentence in said
        assert token not in said
    assert "make one with" in device.fails(USAGE, "status")
    device.works("init", "--hub", code, "--broker", broker, "--token", "-", given=token.encode())
    assert device.json("onboard")["state"] == "active"


def test_a_token_that_expired_is_refused_and_the_next_one_is_taken(
    serving: HubProcess, tmp_path: Path
) -> None:
    operator, device = handfast_hub(serving.file), handfast(tmp_path / "home")
    token = operator.works("--quiet", "token", "--expires", "1s").strip()
    device.works("init", "--hub", serving.code, "--broker", serving.address, "--token", token)
    thumbprint = device.json("status")["thumbprint"]
    until(lambda: operator.json("tokens")[0]["expires_at"] < time.time())
    assert "ask its operator why" in device.fails(REFUSED, "onboard")
    assert "the hub refused this device before" in device.fails(REFUSED, "onboard")
    assert device.json("status")["state"] == "refused"
    another = operator.works("--quiet", "token").strip()
    assert "a token has 72 characters" in device.fails(USAGE, "onboard", "--token", another[:-1])
    status = device.json("onboard", "--token", "-", given=another.encode())
    assert (status["state"], status["thumbprint"]) == ("active", thumbprint)
    assert "leave out --token" in device.fails(USAGE, "onboard", "--token", another)


def test_a_device_that_was_revoked_hears_why_and_ends_with_the_code_for_it(
    serving: HubProcess, tmp_path: Path
) -> None:
    place = on_board(serving, tmp_path / "home")
    device_id = place.device.json("status")["device_id"]
    place.operator.works("revoke", device_id, "--reason", "lost at sea")
    assert place.device.fails(REFUSED, "send", "x") == "the hub has revoked this device: lost at sea"
    assert place.device.json("status")["state"] == "refused"


@needs_mosquitto
def test_a_broker_that_should_not_be_trusted_or_does_not_trust_us(
    tmp_path: Path, serving: HubProcess
) -> None:
    ca, tls = make_certificates(tmp_path / "right")
    other, _ = make_certificates(tmp_path / "wrong")
    with running(tmp_path / "broker", tls=tls) as broker:
        here = f"127.0.0.1:{broker.port}"
        attempts = (
            (f"mqtts://{here}", ("--ca", str(other)), "certificate verify failed"),
            (f"mqtts://me:wrong@{here}", ("--ca", str(ca)), "check user name and password"),
            (f"mqtt://{here}", (), "closed the connection at once; does it speak TLS"),
            (f"mqtts://{here}", ("--ca", str(ca)), "the hub did not answer within 20 s"),
            (f"mqtt://127.0.0.1:{free_port()}", (), "Connection refused"),
            ("mqtt://broker.invalid", (), "broker.invalid:1883 should answer"),
        )
        devices = [handfast(tmp_path / str(number)) for number in range(len(attempts))]
        for device, (url, words, _) in zip(devices, attempts, strict=True):
            device.works("init", "--hub", serving.code, "--broker", url, *words)
        # They wait at the same time.
        trying = [device.start("onboard", "--timeout", "20") for device in devices]
        for process, (_, _, sentence) in zip(trying, attempts, strict=True):
            said = ended(process)
            assert said.code == UNREACHABLE
            assert sentence in said.sentence
            assert "wrong@" not in said.err


# Disks


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    with small_disk(tmp_path_factory.mktemp("disks") / "device", 256) as disk:
        yield disk


def test_a_device_on_a_full_disk_is_made_once_there_is_room(serving: HubProcess, disk: Disk) -> None:
    device = handfast(disk.path / "home")
    words = "init", "--hub", serving.code, "--broker", serving.address
    for spare in range(11):
        with disk.full(spare):
            said = device("init", *words[1:])
            if said.code == 0:
                break
            assert (said.code, said.sentence.partition("keystore")[0]) == (FAILED, "the disk of the ")
    else:
        pytest.fail("there was room, and it was not made")
    # Not at the first page and not at the last: the disk was full at every file.
    assert spare > 1
    assert device.json("status")["state"] == "factory"


def test_a_device_on_a_full_disk_goes_on_where_it_has_its_room_already(
    serving: HubProcess, disk: Disk
) -> None:
    place = on_board(serving, disk.path / "working")
    with disk.full():
        place.device.works("send", "full and well")
    with disk.read_only():
        sentence = place.device.fails(FAILED, "send", "lost?")
        assert sentence.endswith("lies on a read-only file system; mount it writable")
    place.device.works("send", "lost?")
    kept = [bytes.fromhex(each["data"]) for each in readings(place)]
    assert kept == [b"full and well", b"lost?"]


def readings(place: Place) -> list[dict[str, str]]:
    """What this device has sent."""
    device_id = place.device.json("status")["device_id"]
    lines = place.operator.works(
        "listen", "--device", device_id, "--after", "0", "--count", "2", "--json"
    ).splitlines()
    return [json.loads(line) for line in lines]


def test_a_device_that_may_write_no_more_says_so_and_stays_what_it_was(
    serving: HubProcess, tmp_path: Path
) -> None:
    place = on_board(serving, tmp_path / "home")
    before = place.device.json("status")
    sentence = place.device.fails(FAILED, "send", "x", preexec_fn=_no_more)
    assert sentence.startswith("could not write the keystore")
    assert place.device.json("status")["thumbprint"] == before["thumbprint"]
    place.device.works("send", "x")


def _no_more() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
