"""handfast flash: from a board with stock MicroPython to a device that an operator can admit."""

import getpass
import os
import sys
import urllib.parse
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from handfast.core import codes
from handfast.core.errors import DecodeError, LocalError
from handfast.settings import Settings
from handfast_cpython import terminal

BROKER_PASSWORD = "HANDFAST_BROKER_PASSWORD"  # noqa: S105  # the name of a variable
WIFI_PASSWORD = "HANDFAST_WIFI_PASSWORD"  # noqa: S105
# Of `hardware` and `firmware` in the settings of a device, in bytes.
MAX_LABEL = 64
MQTT_PORT = 1883


def flash(
    port: Annotated[
        str,
        typer.Option("--port", help="The board: /dev/ttyACM0, /dev/ttyUSB0, COM3, or socket://HOST:PORT."),
    ],
    board: Annotated[
        str | None,
        typer.Option(
            "--board",
            help="esp32, esp32c, rp2, rp2350, stm32, mimxrt, nrf, samd or qemu; refuses another board.",
        ),
    ] = None,
    hub: Annotated[
        str | None, typer.Option("--hub", help="The hub code, from 'handfast-hub init'; for a new device.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--token", help="An enrolment token, or '-' to read it from standard input."),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option("--broker", help="mqtt://[user@]host[:port], or uart:1 for one on a serial line."),
    ] = None,
    wifi: Annotated[
        str | None,
        typer.Option(
            "--wifi",
            help=f"The network to join. Its password comes from ${WIFI_PASSWORD}, a prompt or standard "
            "input; an empty line is for an open network.",
        ),
    ] = None,
    qrng: Annotated[
        str | None,
        typer.Option("--qrng", help="The quantum source: uart:1, uart:1#baud=9600,min-entropy=0.8, or os."),
    ] = None,
    suite: Annotated[
        list[int] | None,
        typer.Option("--suite", help="A suite to use, best first; repeat it for more. -21 for a new device."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What a new device calls itself.")] = "board",
    period: Annotated[
        int | None, typer.Option("--period", min=1, help="Seconds between two readings; 60 for a new device.")
    ] = None,
    main: Annotated[
        Path | None,
        typer.Option(
            "--main",
            help="Your main.py for the board. Without it the board keeps its own, or gets a first one.",
        ),
    ] = None,
    kernels: Annotated[
        Path | None,
        typer.Option(
            "--kernels", help="handfast_native.mpy for this chip: the crypto in C, which is faster."
        ),
    ] = None,
    romfs: Annotated[
        bool | None,
        typer.Option(
            "--romfs/--no-romfs",
            help="Where the files go: into the read-only file system in the flash of the board (ROMFS), from "
            "where code runs in place and takes far less memory, or into its usual one. Without it: into the "
            "ROMFS, when the MicroPython of the board has a partition that is large enough and holds nothing "
            "of yours.",
        ),
    ] = None,
    reset: Annotated[
        bool,
        typer.Option(
            "--reset", help="Erase the identity on the board, and make a new device of it. Asks first."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    baud: Annotated[int, typer.Option("--baud", min=1200, help="Of the serial line.")] = 115_200,
    json: terminal.JsonLines = False,
) -> None:
    """Bring handfast onto a board with MicroPython, and make it a device of a hub.

    Compiles for the board, copies what differs, writes the configuration and lets the board make its own
    key, which never leaves it. Prints the thumbprint and the claim code by which an operator admits the
    device; neither is secret. An identity that is there is kept, so this also brings a new version of
    handfast onto a device. A cable that was pulled half-way: call it again.

    handfast flash --port /dev/ttyACM0 --hub CODE --broker mqtt://hub.local --wifi cellar
    """
    terminal.attempt(
        lambda: _flash(
            port,
            board,
            baud,
            None if main is None else _program(main),
            None if kernels is None else _read(kernels),
            {"hub": hub, "token": token, "name": name, "wifi": wifi, "reset": reset},
            {"broker": broker, "qrng": qrng, "period": period, "suites": suite or None},
            romfs,
            yes,
            json,
        )
    )


def _flash(
    port: str,
    board: str | None,
    baud: int,
    main: bytes | None,
    kernels: bytes | None,
    setup: dict[str, Any],
    configuration: dict[str, Any],
    romfs: bool | None,
    yes: bool,
    as_json: bool,
) -> None:
    from handfast_cpython import boards, flashing
    from handfast_cpython.raw_repl import RawRepl

    boards.check_name(board)
    setup = {**_checked(setup), "configuration": _configuration(configuration)}
    wishes = flashing.Wishes(setup, board, main, kernels, romfs)

    def confirm(question: str) -> None:
        if not yes:
            # A moving bar and a question do not go together.
            watch.close()
            _ask(question)

    watch = Watch(quiet=as_json)
    try:
        with RawRepl(port, baud) as repl:
            made = flashing.flash(repl, wishes, watch, confirm)
    except KeyboardInterrupt:
        watch.note("stopped; the same command goes on where this one ended")
        raise
    finally:
        watch.close()
    _show(made._asdict(), port, setup["token"] is not None, as_json)


def _checked(setup: dict[str, Any]) -> dict[str, Any]:
    """`setup` with its secrets fetched; LocalError for what no board could take."""
    from handfast_cpython.crypto import Crypto

    if setup["token"] == "-":  # noqa: S105  # the shell history is no place for a secret
        setup["token"] = sys.stdin.readline().strip()
    if setup["token"] is not None and setup["hub"] is None:
        raise LocalError("a token belongs to a hub: give --hub too")
    try:
        if setup["hub"] is not None:
            codes.decode_hub_code(Crypto(), setup["hub"])
        if setup["token"] is not None:
            codes.decode_token(Crypto(), setup["token"])
    except DecodeError as error:
        # The operator's own typing, not a peer's bytes.
        raise LocalError(error.detail) from None
    if setup["wifi"] is not None:
        password = _secret(WIFI_PASSWORD, f"password of the Wi-Fi network {setup['wifi']}: ")
        setup["wifi"] = (setup["wifi"], password)
    return setup


def _configuration(wishes: dict[str, Any]) -> dict[str, Any]:
    """The entries of `handfast_micropython.configuration` that were asked for.

    LocalError for suites that do not go together.
    """
    values = {name: wish for name, wish in wishes.items() if wish is not None}
    broker = values.pop("broker", None)
    if broker is not None and broker.startswith("uart:"):
        values["broker"] = broker
    elif broker is not None:
        values.update(_broker(broker))
    if "suites" in values:
        Settings(suites=tuple(values["suites"]))
    if values:
        values["firmware"] = f"handfast {terminal.number()}"[:MAX_LABEL]
    return values


def _broker(url: str) -> dict[str, Any]:
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or MQTT_PORT
    except ValueError as error:
        raise LocalError(f"a broker URL is mqtt://host:port: {error}") from None
    if parts.scheme == "mqtts":
        raise LocalError(
            "a board speaks mqtt:// without TLS; what it sends is protected up to the hub all the same"
        )
    if parts.scheme != "mqtt" or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise LocalError("the broker of a board is mqtt://host[:port] or uart:NUMBER")
    if parts.password is not None:
        raise LocalError(f"no password in the URL, where everybody sees it: set {BROKER_PASSWORD} or type it")
    values: dict[str, Any] = {"broker": parts.hostname, "port": port, "username": "", "password": ""}
    if parts.username:
        values["username"] = urllib.parse.unquote(parts.username)
        values["password"] = _secret(BROKER_PASSWORD, f"password of {values['username']} at the broker: ")
    return values


def _secret(variable: str, prompt: str) -> str:
    """From the environment, from a person, or as a line of standard input; never from the command line."""
    if variable in os.environ:
        return os.environ[variable]
    if sys.stdin.isatty():
        return getpass.getpass(prompt, sys.stderr)
    line = sys.stdin.readline()
    if not line:
        raise LocalError(f"a password is missing: set {variable}, or write it to standard input")
    return line.rstrip("\r\n")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LocalError(f"a file for the board should be in {path}, which cannot be read: {error}") from None


def _program(path: Path) -> bytes:
    program = _read(path)
    try:
        compile(program, str(path), "exec")
    except (SyntaxError, ValueError) as error:
        raise LocalError(f"{path} is no Python: {error}") from None
    return program


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise LocalError(f"nobody is there to answer; add --yes when it should be: {question}")
    typer.confirm(question, abort=True, err=True)


def _show(made: dict[str, Any], port: str, token: bool, as_json: bool) -> None:
    if as_json:
        terminal.show_json({"port": port, **made}, indent=None)
        return
    typer.echo(f"thumbprint  {made['thumbprint'].hex()}\nclaim code  {made['claim_code']}")
    terminal.show_qr(made["claim_code"])
    kept = "made on the board" if made["made"] else "kept as it was"
    machine = f"{made['machine']}, MicroPython {made['micropython']}"
    typer.echo(f"identity    {kept}\nboard       {made['board']}: {machine}")
    typer.echo(f"files       in the {made['place']}: {made['copied']} copied, {made['unchanged']} were there")
    if not token and not made["onboard"]:
        typer.echo("The operator admits this device with: handfast-hub approve CLAIM_CODE")


class Watch:
    """The progress on standard error: a bar for who looks at a terminal, else a line for each step.

    `quiet`: a program listens; it is told of the end alone.
    """

    def __init__(self, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if self._console.is_terminal and not quiet:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=self._console)
            self._bar.start()

    def step(self, text: str, total: int = 0) -> None:
        """The step before is done."""
        if self._bar is None:
            terminal.note(text)
            return
        self._finish()
        self._task = self._bar.add_task(text, total=total or None)

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, count)

    def note(self, text: str) -> None:
        """A line of its own."""
        if self._bar is None:
            terminal.note(text)
        else:
            self._console.print(text, markup=False)

    def close(self) -> None:
        """Leave the terminal as it was; may be called twice."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _finish(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=1, completed=1)
