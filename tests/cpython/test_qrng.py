"""Quantum sources: each one over the real thing where this machine has it, and the option that names them."""

import asyncio
import datetime as dt
import ipaddress
import json
import os
import ssl
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from handfast.core.errors import EntropyError, LocalError
from handfast_cpython.qrng import open_source
from handfast_cpython.qrng_device import DeviceSource, SystemSource
from handfast_cpython.qrng_https import MAX_ANSWER, HttpsSource, decode_answer
from handfast_cpython.qrng_serial import SerialSource
from handfast_cpython.qrng_simulated import FAULTS, Optics, SimulatedSource


@pytest.mark.parametrize(
    ("spec", "kind", "model", "claim"),
    [
        ("os", 2, "operating system", 1.0),
        ("  os  ", 2, "operating system", 1.0),
        ("os#min-entropy=0.75", 2, "operating system", 0.75),
        ("/dev/urandom", 2, "/dev/urandom", 0.8),
        ("/dev/qrandom0", 1, "/dev/qrandom0", 0.8),
        ("/dev/qrandom0#min-entropy=1", 1, "/dev/qrandom0", 1.0),
        ("serial:/dev/ttyUSB0", 1, "serial /dev/ttyUSB0", 0.8),
        ("serial:/dev/ttyUSB0#baud=9600,min-entropy=0.5", 1, "serial /dev/ttyUSB0", 0.5),
        ("https://qrng.example/api?key=secret&n={length}", 1, "https qrng.example", 0.8),
        ("simulated", 3, "simulated photonic source", 0.93),
        ("simulated:stuck-zero", 3, "simulated photonic source, stuck-zero", 0.93),
        ("simulated:slow-bias#after=100,seed=3", 3, "simulated photonic source, slow-bias", 0.93),
    ],
)
def test_the_option_names_a_source(spec: str, kind: int, model: str, claim: float) -> None:
    source = open_source(spec)
    assert (source.kind, source.model, source.min_entropy) == (kind, model, claim)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("", r"no quantum source ''; choose os, a character device such as /dev/hwrng, serial:"),
        ("quantis", r"no quantum source 'quantis'; choose os"),
        ("dev/hwrng", "choose os"),
        ("http://qrng.example/", "choose os"),
        ("https:", "needs an https:// URL with a host"),
        ("https:///path", "needs an https:// URL with a host"),
        ("https://[::1/path", "needs an https:// URL with a host"),
        ("serial:", "needs its port, such as serial:/dev/ttyUSB0"),
        ("os:1", "os takes nothing after it, not '1'"),
        ("simulated:sleepy", "no simulated fault 'sleepy'; there are stuck-zero, stuck-byte, slow-bias"),
        ("os#baud=1", "no setting 'baud' for the source 'os#baud=1'; there are min-entropy"),
        ("serial:/dev/x#speed=1", "no setting 'speed' .* there are min-entropy, baud"),
        ("simulated#seed=x", "seed of the source .* must be a whole number, not 'x'"),
        ("os#min-entropy=0.4", r"must be a number from 0\.5 to 1, not '0\.4'"),
        ("os#min-entropy=nan", r"must be a number from 0\.5 to 1, not 'nan'"),
        ("os#min-entropy", r"must be a number from 0\.5 to 1, not ''"),
        (
            "https://qrng.example/#ca=/does/not/exist.pem",
            "the certificates in /does/not/exist.pem cannot be read",
        ),
    ],
)
def test_an_option_that_names_none_is_refused_with_the_choices(spec: str, sentence: str) -> None:
    with pytest.raises(LocalError, match=sentence):
        open_source(spec)


async def test_the_operating_system_gives_what_is_asked_for() -> None:
    source = SystemSource()
    assert len(await source.read(64)) == 64
    await source.close()
    await source.close()


async def test_the_kernels_devices_are_not_called_quantum() -> None:
    source = DeviceSource("/dev/urandom")
    assert source.kind == 2
    assert len(await source.read(100)) == 100
    await source.close()
    assert DeviceSource("/dev/hwrng").kind == 2


class Terminal(NamedTuple):
    """A pseudo terminal: what is written to `wire` is what a device sends."""

    wire: int
    path: str


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    wire, device = os.openpty()
    tty.setraw(device)
    yield Terminal(wire, os.ttyname(device))
    for descriptor in (wire, device):
        try:
            os.close(descriptor)
        except OSError:
            pass


async def test_a_character_device_is_read_as_its_bytes_come(terminal: Terminal) -> None:
    source = DeviceSource(terminal.path)
    assert source.kind == 1
    os.write(terminal.wire, b"\x00\x03\x11\x13\x7f\xff")
    assert await source.read(4) == b"\x00\x03\x11\x13"
    assert await source.read(64) == b"\x7f\xff"
    waiting = asyncio.ensure_future(source.read(64))
    await asyncio.sleep(0)
    assert not waiting.done()
    os.write(terminal.wire, b"later")
    assert await waiting == b"later"
    await source.close()
    await source.close()


async def test_a_silent_device_can_be_given_up_and_read_later(terminal: Terminal) -> None:
    source = DeviceSource(terminal.path)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(source.read(64), 0.05)
    os.write(terminal.wire, b"here")
    assert await source.read(64) == b"here"
    await source.close()


async def test_a_device_that_goes_away_is_an_entropy_error() -> None:
    wire, device = os.openpty()
    tty.setraw(device)
    source = DeviceSource(os.ttyname(device))
    os.write(wire, b"x")
    assert await source.read(1) == b"x"
    os.close(device)
    os.close(wire)
    with pytest.raises(EntropyError, match="plugged in"):
        await source.read(1)
    with pytest.raises(EntropyError, match="No such file.*plugged in"):
        await source.read(1)


@pytest.mark.parametrize("form", ["file", "pipe", "directory", "nothing"])
async def test_what_is_no_character_device_gives_no_entropy(tmp_path: Path, form: str) -> None:
    path = tmp_path / "source"
    if form == "file":
        path.write_bytes(os.urandom(4096))
    elif form == "pipe":
        os.mkfifo(path)
    elif form == "directory":
        path.mkdir()
    source = DeviceSource(str(path))
    with pytest.raises(EntropyError, match="not a character device|No such file"):
        await source.read(64)
    await source.close()


async def test_a_serial_module_is_read_and_stale_bytes_are_dropped(terminal: Terminal) -> None:
    os.write(terminal.wire, b"stale bytes that waited in the port")
    source = SerialSource(terminal.path)
    raw = await first_bytes(source, terminal.wire)
    assert set(raw) <= set(b"fresh")
    while not (await source.read(64)).endswith(b"h"):
        pass
    os.write(terminal.wire, b"\x11\x13\x00")
    sent = b""
    while len(sent) < 3:
        sent += await source.read(2)
    assert sent == b"\x11\x13\x00"
    await source.close()
    await source.close()


async def first_bytes(source: SerialSource, wire: int) -> bytes:
    """Until the port is open and emptied, what is sent is dropped: send again until something comes."""
    reading = asyncio.ensure_future(source.read(1))
    while not reading.done():
        os.write(wire, b"fresh")
        await asyncio.wait([reading], timeout=0.05)
    return await reading


async def test_a_serial_port_that_is_not_there_is_an_entropy_error() -> None:
    source = SerialSource("/dev/tty-that-is-not-there")
    with pytest.raises(EntropyError, match="plugged in, and may this user open the port"):
        await source.read(1)


async def test_a_serial_module_that_is_pulled_out_is_an_entropy_error() -> None:
    wire, device = os.openpty()
    tty.setraw(device)
    source = SerialSource(os.ttyname(device))
    await first_bytes(source, wire)
    os.close(device)
    os.close(wire)
    with pytest.raises(EntropyError, match="plugged in"):
        while True:
            await source.read(64)
    await source.close()


class Service(NamedTuple):
    """An HTTPS service on this machine, the file of its authority, and what it was asked."""

    url: str
    ca: Path
    requests: list[str]


def certificate(path: Path, host: str) -> tuple[Path, Path]:
    """A self-signed certificate for `host` and 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName(
        [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = path / f"{host}.pem", path / f"{host}.key"
    files[0].write_bytes(built.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return files


@asynccontextmanager
async def service(path: Path, answers: list[bytes]) -> AsyncIterator[Service]:
    """Answers each request with the next of `answers`, whole HTTP responses."""
    ca, key = certificate(path, "localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ca, key)
    requests: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                requests.append(head.split(b"\r\n")[0].decode())
                writer.write(answers[len(requests) - 1])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, IndexError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Service(f"https://localhost:{port}/raw?n={{length}}", ca, requests)
    finally:
        server.close()


def response(body: bytes, kind: str = "application/octet-stream", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def test_a_service_gives_raw_bytes_and_both_forms_of_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A proxy and a bundle of certificates out of the environment would break it, were they used.
    for name in ("HTTPS_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    answers = [
        response(b"sixty-four or fewer"),
        response(json.dumps({"data": [0, 255, 17], "success": True}).encode(), "application/json"),
        response(b'{"data": "00ff11"}', "application/json; charset=utf-8"),
        response(bytes(100)),
    ]
    async with service(tmp_path, answers) as served:
        source = open_source(f"{served.url}#ca={served.ca}")
        assert await source.read(64) == b"sixty-four or fewer"
        assert await source.read(64) == b"\x00\xff\x11"
        assert await source.read(10000) == b"\x00\xff\x11"
        assert await source.read(64) == bytes(64)
        await source.close()
        await source.close()
        assert served.requests[0] == "GET /raw?n=64 HTTP/1.1"
        assert served.requests[2] == "GET /raw?n=4096 HTTP/1.1"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (response(b"", status="503 Service Unavailable"), "answered with status 503 where 200 was expected"),
        (response(b"", status="302 Found"), "answered with status 302 where 200 was expected"),
        (response(b"<html>", "text/html"), "answered with text/html; octet-stream or JSON was expected"),
        (response(b""), "answered without bytes"),
        (response(b"{}", "application/json"), "answered without bytes"),
        (response(bytes(MAX_ANSWER + 1)), f"answered with more than {MAX_ANSWER} bytes"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "RemoteProtocolError"),
    ],
    ids=["503", "redirect", "html", "empty", "no data", "too long", "no http"],
)
async def test_any_other_answer_is_an_entropy_error_without_the_url(
    tmp_path: Path, answer: bytes, sentence: str
) -> None:
    async with service(tmp_path, [answer]) as served:
        source = HttpsSource(served.url + "&key=SECRET", ca=str(served.ca))
        with pytest.raises(EntropyError, match=sentence) as error:
            await source.read(64)
        assert "SECRET" not in str(error.value)
        await source.close()


async def test_a_service_without_a_trusted_certificate_gives_nothing(tmp_path: Path) -> None:
    async with service(tmp_path, [response(bytes(64))]) as served:
        stranger, _ = certificate(tmp_path, "stranger")
        for ca in (None, str(stranger)):
            source = HttpsSource(served.url, ca=ca)
            with pytest.raises(
                EntropyError, match=r"https localhost: ConnectError: .*CERTIFICATE_VERIFY_FAILED"
            ):
                await source.read(64)
            await source.close()
        assert served.requests == []


@pytest.mark.parametrize(
    "body",
    ["", "[]", "null", "7", "{", '{"data": null}', '{"data": "0g"}', '{"data": [256]}', '{"data": [-1]}']
    + ['{"data": [true]}', '{"data": [1.0]}', '{"data": {}}', '{"data": ["00"]}', "[" * 100000],
)
def test_json_of_another_form_is_an_entropy_error(body: str) -> None:
    with pytest.raises(EntropyError, match="answered without bytes"):
        decode_answer("application/json", body.encode())


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_a_simulated_source_always_says_that_it_is_simulated(fault: str | None) -> None:
    source = SimulatedSource(fault)
    assert source.kind == 3 and "simulated" in source.model and len(source.model) <= 64


async def test_a_seed_makes_the_simulated_source_repeatable() -> None:
    async def some(source: SimulatedSource) -> bytes:
        return await source.read(100) + await source.read(28)

    assert await some(SimulatedSource(seed=4)) == await some(SimulatedSource(seed=4))
    assert await some(SimulatedSource(seed=4)) != await some(SimulatedSource(seed=5))
    assert await some(SimulatedSource()) != await some(SimulatedSource())


async def test_each_fault_of_the_simulated_source_does_what_its_name_says() -> None:
    assert await SimulatedSource("stuck-zero").read(64) == bytes(64)
    assert await SimulatedSource("stuck-byte").read(64) == b"\xa5" * 64
    assert await SimulatedSource("zero-start").read(64) == bytes(64)
    assert 1 <= len(await SimulatedSource("short-reads").read(64)) <= 3
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(SimulatedSource("silence").read(64), 0.02)
    late = SimulatedSource("stuck-byte", after=100, seed=1)
    healthy = SimulatedSource(seed=1)
    assert await late.read(200) == await healthy.read(100)
    assert await late.read(200) == b"\xa5" * 200


async def test_a_slow_bias_grows() -> None:
    source = SimulatedSource("slow-bias", seed=2)
    shares = []
    for _ in range(4):
        raw = b"".join([await source.read(64) for _ in range(64)])
        shares.append(sum(byte.bit_count() for byte in raw) / (8 * len(raw)))
    assert 0.5 < shares[0] < shares[1] < shares[2] < shares[3]
    assert shares[3] > 0.85


def test_the_optics_answer_to_their_parts() -> None:
    equal = Optics(transmission=0.5, efficiency_0=0.2, efficiency_1=0.2, afterpulse=0.0)
    assert abs(equal.chance_of_one(0) - 0.5) < 1e-9 and equal.min_entropy() >= 0.999
    # A better detector 1 or more light towards it gives more ones; a trapped charge repeats the last bit.
    assert equal._replace(efficiency_1=0.25).chance_of_one(0) > 0.54
    assert equal._replace(transmission=0.45).chance_of_one(0) < 0.46
    trapping = equal._replace(afterpulse=0.3)
    assert trapping.chance_of_one(1) > 0.55 and trapping.chance_of_one(0) < 0.45
    assert trapping._replace(hold_off=200).chance_of_one(1) < 0.5001
    assert trapping.min_entropy() < equal.min_entropy()
