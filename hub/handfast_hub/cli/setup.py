"""`handfast-hub init | check | backup | restore`: what is done to the hub as a whole."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from handfast.core.errors import Error, LocalError
from handfast_cpython.terminal import FAILED, Json, fail, run, show_json, show_qr
from handfast_hub.cli.options import options, show_table

if TYPE_CHECKING:
    from handfast_hub.config import HubConfig

CONFIGURATION = """\
# The hub's configuration. Every key, with its default: handfast-hub config reference
name = "{name}"
"""


class Made(NamedTuple):
    """What `init` made."""

    name: str
    hub_code: str
    hub_id: bytes
    config: str
    database: str
    master_key: str


def add_to(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    for command in (init, check, backup, restore):
        app.command()(command)


def init(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Option(help="The hub's name, when there is no configuration yet.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a hub: configuration, master key, database and identity. Prints the hub code for devices.

    What exists is left as it is; an init that was interrupted goes on where it stopped.
    """
    path = options(context).config
    if not path.exists():
        if name is None:
            fail(LocalError(f"there is no {path} yet; give the new hub a name with --name"))
        _write_configuration(path, name)
    config = options(context).load()
    if name is not None and name != config.name:
        fail(
            LocalError(
                f"{path} is the configuration of the hub {config.name!r}; leave out --name, or use --config"
            )
        )
    made = run(_init(config, path))
    if json:
        show_json(made._asdict())
        return
    typer.echo(f"hub code   {made.hub_code}")
    show_qr(made.hub_code)
    options(context).say(f"topics of  {made.name} are below handfast/1/")
    options(context).say(f"{made.config}, {made.database}, {made.master_key}")
    options(context).say(
        "Keep a copy of the master key, apart from the backups: without it they are worth nothing."
    )


def check(context: typer.Context, json: Json = False) -> None:
    """Look at the configuration, the keys, the database, the disk and the broker."""
    config = options(context).load()
    from handfast_cpython.crypto import Crypto
    from handfast_hub.registry import check

    findings = list(check.check(config, Crypto()))
    if json:
        show_json([finding._asdict() for finding in findings])
    else:
        rows = [("ok" if finding.good else "BAD", finding.subject, finding.detail) for finding in findings]
        show_table(("", "what", "found"), rows, "nothing was looked at")
    if not all(finding.good for finding in findings):
        raise typer.Exit(FAILED)


def backup(context: typer.Context, target: Annotated[Path, typer.Argument(help="The file to make.")]) -> None:
    """Copy the registry, while the hub serves or not. The master key is not in it."""
    config = options(context).load()

    async def work() -> int:
        from handfast_hub.registry import backup as copies

        return copies.backup(config, target)

    size = run(work())
    options(context).say(f"{target}: {size} bytes. The master key {config.master_key} is not in it.")


def restore(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A file that 'backup' made.")],
    json: Json = False,
) -> None:
    """Put a backup in the place of the registry, which is set aside. Stop the hub first."""
    config = options(context).load()

    async def work() -> dict[str, object]:
        from handfast_cpython.crypto import Crypto
        from handfast_hub.registry import backup as copies

        done = copies.restore(config, source, Crypto())
        return {**done._asdict(), "set_aside": None if done.set_aside is None else str(done.set_aside)}

    done = run(work())
    if json:
        show_json(done)
        return
    say = options(context).say
    say(f"{done['devices']} devices with keys; {done['revocations']} refused or revoked ones stay so")
    if done["set_aside"]:
        say(f"what was there before: {done['set_aside']}")
    say("Devices that enrolled after the backup have to enrol again; look at 'handfast-hub tokens'.")


def _write_configuration(path: Path, name: str) -> None:
    from handfast_hub.config import NAME
    from handfast_hub.vault import create_file

    if re.fullmatch(NAME, name) is None:
        fail(
            LocalError(f"a name has letters, digits, dots, dashes and underscores, at most 63; got {name!r}")
        )
    try:
        create_file(path, CONFIGURATION.format(name=name).encode(), 0o666)
    except OSError as error:
        fail(Error(f"cannot write {path}: {error.strerror}; see its folder and disk"))


async def _init(config: "HubConfig", path: Path) -> Made:
    from handfast.core.codes import encode_hub_code
    from handfast_cpython.crypto import Crypto
    from handfast_hub.installation import create_hub
    from handfast_hub.randomness import open_randomness

    crypto = Crypto()
    random = await open_randomness(config, crypto)
    try:
        hub_id = create_hub(config, crypto, random)
    finally:
        await random.close()
    code = encode_hub_code(crypto, hub_id)
    return Made(config.name, code, hub_id, str(path), config.database, str(config.master_key))
