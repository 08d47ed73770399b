"""`handfast-hub`: what an operator types. Each command imports what it needs when it runs.

Exit codes stand in handfast_cpython/terminal.py; every list has --json.
"""

from pathlib import Path
from typing import Annotated

import typer

from handfast_cpython import terminal
from handfast_hub.cli import broker, devices, feed, service, setup, tokens, traffic, trunk
from handfast_hub.cli import config as config_commands
from handfast_hub.cli.options import Options

app = typer.Typer(
    help="Admits devices, keeps their keys and exchanges sealed records with them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (setup, broker, service, tokens, devices, traffic):
    part.add_to(app)
app.add_typer(trunk.app, name="trunk")
app.add_typer(feed.app, name="feed")
app.add_typer(config_commands.app, name="config")


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    from handfast_cpython.crypto import Crypto, back_ends

    try:
        number = version("handfast")
    except PackageNotFoundError:
        number = "out of a source tree"
    typer.echo(f"handfast-hub {number}")
    typer.echo(f"crypto: {Crypto().name}; back ends here: {', '.join(back_ends())}")
    raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="HANDFAST_HUB_CONFIG", help="The hub's configuration.")
    ] = Path("hub.toml"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what was asked for.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Version and crypto.")
    ] = False,
) -> None:
    """Admits devices, keeps their keys and exchanges sealed records with them."""
    context.obj = Options(config, quiet)


def main() -> None:
    """The entry point of the command."""
    terminal.main(app)
