"""`handfast-hub mosquitto`: the files that make a Mosquitto of your own isolate devices."""

from pathlib import Path
from typing import Annotated

import typer

from handfast.core.errors import Error, LocalError
from handfast_cpython.terminal import Json, fail, show_json
from handfast_hub.cli.options import options

SECTION = """\
[mqtt]
broker = "external"
host = "{host}"
port = {port}
username = "{username}"
password_file = "{password_file}"
"""
USERNAME = "handfast-hub"


def add_to(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    app.command()(mosquitto)


def mosquitto(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where to write; made when it is not there.")],
    host: Annotated[str, typer.Option(help="The address that Mosquitto listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port that it listens on.")] = 1883,
    certificate: Annotated[Path | None, typer.Option(help="PEM file for TLS; needs --key too.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file with the private key.")] = None,
    json: Json = False,
) -> None:
    """Write mosquitto.conf, its rules and a password for the hub; prints the section for hub.toml.

    With these rules a client reaches the topics that carry its own client id and no others.
    """
    config = options(context).load()
    from handfast.core.base32 import b32encode
    from handfast.core.constants import KID_LENGTH
    from handfast_hub.installation import hub_id_of
    from handfast_hub.mqtt import mosquitto as files

    if (certificate is None) != (key is None):
        fail(LocalError("TLS needs --certificate and --key together"))
    tls = None if certificate is None else files.ServerTls(certificate.resolve(), key, None)
    try:
        hub = b32encode(hub_id_of(config)[:KID_LENGTH])
        password = files.write(folder, hub, host=host, port=port, username=USERNAME, tls=tls)
        password_file = folder.resolve() / "hub.password"
        password_file.touch(0o600)
        password_file.write_text(password + "\n")
    except Error as error:
        fail(error)
    except OSError as error:
        fail(LocalError(f"the files should be written to {folder} but cannot: {error.strerror}"))
    section = SECTION.format(host=host, port=port, username=USERNAME, password_file=password_file)
    if tls is not None:
        section += "tls = true\n"
    if json:
        show_json({"folder": str(folder.resolve()), "section": section})
        return
    options(context).say(f"start it with: mosquitto -c {folder.resolve() / 'mosquitto.conf'}")
    options(context).say("and put this into hub.toml:\n")
    typer.echo(section)
