"""The command of a device: handfast init | onboard | status | send | listen | reset | swarm | flash."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from handfast.core.errors import LocalError
from handfast_cpython import terminal
from handfast_cpython.cli_flash import flash
from handfast_cpython.terminal import Json, JsonLines

app = typer.Typer(
    name="handfast",
    no_args_is_help=True,
    add_completion=True,
    # Its tracebacks show local variables, secrets too.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A device that onboards with its hub, quantum-safe, through a broker that nobody has to trust.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 entropy alarm, 5 unreachable, 130 Ctrl-C.",
)

Home = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="HANDFAST_HOME",
        # The keystore says better what hinders.
        readable=False,
        help="The folder of this device: its identity and its keys.",
    ),
]
DEFAULT_HOME = Path("~/.handfast")


@app.command()
def init(
    hub: Annotated[
        str, typer.Option("--hub", help="The hub code, from 'handfast-hub init' or its operator.")
    ],
    broker: Annotated[str, typer.Option("--broker", help="mqtt://host[:port] or mqtts://host[:port].")],
    token: Annotated[
        str | None,
        typer.Option("--token", help="An enrolment token, or '-' to read it from standard input."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What this device calls itself.")] = "device",
    qrng: Annotated[
        str,
        typer.Option(
            "--qrng",
            help="The quantum source: /dev/hwrng, serial:/dev/ttyUSB0, https://..., os or simulated.",
        ),
    ] = "os",
    ca: Annotated[
        Path | None, typer.Option("--ca", help="PEM file with the broker's roots, for mqtts.")
    ] = None,
    suite: Annotated[
        list[int] | None, typer.Option("--suite", help="A suite to use, best first; repeat it for more.")
    ] = None,
    home: Home = DEFAULT_HOME,
    json: Json = False,
) -> None:
    """Make the key of this device from its quantum source, and pin its hub.

    Prints the thumbprint and the claim code by which an operator admits the device; neither is secret.
    """
    from handfast_cpython.device_home import DeviceHome, Wishes

    wishes = Wishes(broker, ca, qrng, tuple(suite) if suite else None)
    made = terminal.run(DeviceHome(home.expanduser()).create(wishes, name, hub, _secret(token)))
    if json:
        terminal.show_json({"thumbprint": made.thumbprint, "claim_code": made.claim_code, "hub": made.hub_id})
        return
    typer.echo(f"thumbprint  {made.thumbprint.hex()}\nclaim code  {made.claim_code}")
    terminal.show_qr(made.claim_code)
    if token is None:
        typer.echo("The operator admits this device with: handfast-hub approve CLAIM_CODE")
    typer.echo("Next: handfast onboard")


@app.command()
def onboard(
    retry: Annotated[bool, typer.Option("--retry", help="Ask again after the hub refused.")] = False,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            help="Another token, for one that expired, or '-' for standard input; asks the hub again.",
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=1, help="Give up after so many seconds.")
    ] = None,
    home: Home = DEFAULT_HOME,
    json: Json = False,
) -> None:
    """Enrol with the hub once; waits for a broker that is away and for an operator's approval."""
    from handfast_cpython.device_home import DeviceHome, Enrol

    wish = Enrol(retry or token is not None, _secret(token), timeout)
    status = terminal.run(DeviceHome(home.expanduser()).onboard(wish, terminal.note))
    if json:
        terminal.show_json(status)
    else:
        typer.echo(f"onboard as {status['device_id']}, suite {status['suite']}, epoch {status['epoch']}")


@app.command()
def status(home: Home = DEFAULT_HOME, json: Json = False) -> None:
    """What this device is and has, without touching the network."""
    from handfast_cpython.device_home import DeviceHome

    value = terminal.run(DeviceHome(home.expanduser()).status())
    if json:
        terminal.show_json(value)
        return
    for key, entry in value.items():
        typer.echo(f"{key.replace('_', ' '):14}{'-' if entry is None else entry}")


@app.command()
def send(
    data: Annotated[str, typer.Argument(help="The text to send, or '-' for standard input as it is.")],
    channel: Annotated[str, typer.Option("--channel", help="telemetry, bulk or alarm.")] = "telemetry",
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Give up after so many seconds.")] = 60.0,
    home: Home = DEFAULT_HOME,
) -> None:
    """Send one message to the hub; ends when the broker has it."""
    from handfast_cpython.device_home import DeviceHome

    payload = sys.stdin.buffer.read() if data == "-" else data.encode()
    terminal.run(DeviceHome(home.expanduser()).send(payload, channel, timeout))


@app.command()
def listen(
    reply: Annotated[str, typer.Option("--reply", help="What every command is answered with.")] = "",
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many messages.")] = None,
    home: Home = DEFAULT_HOME,
    json: JsonLines = False,
) -> None:
    """Print what the hub sends, line by line, and answer its commands. Ctrl-C ends it."""
    from handfast_cpython.device_home import DeviceHome

    def show(channel: str, data: bytes) -> None:
        if json:
            terminal.show_json({"channel": channel, "data": data}, indent=None)
        else:
            typer.echo(f"{channel}  {data.decode('utf-8', 'backslashreplace')}")

    terminal.run(DeviceHome(home.expanduser()).listen(show, reply.encode(), count))


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False, home: Home = DEFAULT_HOME
) -> None:
    """Erase the identity and the keys of this device, for good. The hub should revoke it too."""
    from handfast_cpython.device_home import DeviceHome

    if not yes:
        typer.confirm("Erase the identity and all keys of this device for good?", abort=True)
    terminal.run(DeviceHome(home.expanduser()).reset())
    typer.echo("erased; 'handfast init' makes a new device")


@app.command()
def swarm(
    hub: Annotated[str, typer.Option("--hub", help="The hub code.")],
    broker: Annotated[str, typer.Option("--broker", help="mqtt://host[:port] or mqtts://host[:port].")],
    devices: Annotated[int, typer.Option("--devices", min=1, help="How many devices.")] = 10,
    tokens: Annotated[
        Path | None,
        typer.Option("--tokens", help="File with a token a line, or '-'; one for all if it is shared."),
    ] = None,
    ca: Annotated[Path | None, typer.Option("--ca", help="PEM file with the broker's roots.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Stop after so many seconds.")] = 300.0,
    json: Json = False,
) -> None:
    """Onboard simulated devices against a live hub, and say how they fared."""
    from handfast_cpython.swarm_live import run_swarm, show_summary

    lines = []
    if tokens is not None:
        text = sys.stdin.read() if str(tokens) == "-" else _read(tokens)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
    summary = terminal.run(run_swarm(devices, hub, broker, ca, lines, timeout, quiet=json))
    if json:
        terminal.show_json(summary._asdict())
    else:
        show_summary(devices, summary)
    if summary.onboarded < devices:
        raise typer.Exit(terminal.FAILED)


def _secret(text: str | None) -> str | None:
    """`text`, or a line of standard input for "-": the shell history is no place for a secret."""
    return sys.stdin.readline().strip() if text == "-" else text


app.command()(flash)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        terminal.fail(LocalError(f"tokens should be in {path}, one a line, which cannot be read: {error}"))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(terminal.version())
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="The version and its crypto."),
    ] = False,
) -> None:
    """Options of every command."""


def main() -> None:
    """The entry point of the command `handfast`."""
    terminal.main(app)


if __name__ == "__main__":
    main()
