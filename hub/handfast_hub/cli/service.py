"""`handfast-hub serve`: run the hub until it is told to stop."""

from typing import TYPE_CHECKING

import typer

from handfast_cpython.terminal import run
from handfast_hub.cli.options import options

if TYPE_CHECKING:
    from handfast_hub.hub import Hub


def add_to(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    app.command()(serve)


def serve(context: typer.Context) -> None:
    """Run the hub. Ctrl-C or SIGTERM ends it after what is under way is answered."""
    from handfast.core.codes import encode_hub_code
    from handfast_hub.service import serve as serve_hub

    chosen = options(context)
    config = chosen.load()

    def ready(hub: "Hub") -> None:
        chosen.say(f"hub {config.name} serves at {hub.transport.address}; Ctrl-C ends it")
        chosen.say(f"hub code {encode_hub_code(hub.crypto, hub.hub_id)}")

    run(serve_hub(config, ready))
