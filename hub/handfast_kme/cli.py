"""`handfast-kme`: a simulated QKD installation from one file. Each command imports what it needs when it
runs.

Exit codes stand in handfast_cpython/terminal.py; every list has --json.
"""

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handfast.core.errors import Error, LocalError
from handfast_cpython import terminal
from handfast_cpython.terminal import fail, run, show_json

if TYPE_CHECKING:
    from handfast_kme.network import Network

app = typer.Typer(
    help="A SIMULATED QKD installation: links that distil keys, KMEs that deliver them by ETSI GS QKD 014. "
    "Its keys protect nothing; it is for building and testing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

File = Annotated[Path, typer.Argument(metavar="NETWORK.TOML", help="The installation.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")]


class Noun(enum.StrEnum):
    """What `list` lists: the tables of the file."""

    GROUP = "group"
    NODES = "nodes"
    NODE_LINKS = "node-links"
    PROVIDERS = "providers"
    PROVIDER_LINKS = "provider-links"
    CONSUMERS = "consumers"
    CONSUMER_LINKS = "consumer-links"
    PATHS = "paths"
    CERTIFICATES = "certificates"


@app.command()
def apply(
    file: File,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Make the installation what the file says: CA, certificates, pre-shared keys. A second run changes
    nothing.

    Run the KMEs anew afterwards: they read the file when they start.
    """
    from handfast_kme.apply import carry_out, plan

    network = _load(file)
    try:
        steps = plan(network)
        said = [
            {"verb": step.verb, "noun": step.noun, "name": step.name, "done": not dry_run} for step in steps
        ]
        if not dry_run:
            carry_out(
                steps, lambda step: None if json else typer.echo(f"{step.verb} {step.noun} {step.name}")
            )
    except Error as error:
        fail(error)
    except OSError as error:
        fail(LocalError(f"cannot write the installation: {error}"))
    if json:
        show_json(said)
        return
    if dry_run:
        for step in steps:
            typer.echo(f"would {step.verb} {step.noun} {step.name}")
    if not steps:
        typer.echo(f"nothing to do: {network.group.folder} is what {file} says")


@app.command("list")
def list_tables(file: File, noun: Noun, json: Json = False) -> None:
    """List one kind of thing that the file describes, with what was left to be found out filled in."""
    from handfast_kme.listing import rows

    network = _load(file)
    try:
        found = rows(network, noun.value)
    except Error as error:
        fail(error)
    _show(found, json, f"the file has no {noun.value}")


@app.command()
def serve(
    file: File,
    node: Annotated[str | None, typer.Option(help="Only the KME of this node.")] = None,
    line: Annotated[str | None, typer.Option(help="Only the simulated line of this provider link.")] = None,
) -> None:
    """Run every KME and every simulated line, each as a process of its own, until Ctrl-C; or just one of
    them."""
    import logging

    network = _load(file)
    if node is not None and line is not None:
        fail(LocalError("give --node or --line, not both"))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        if node is not None:
            from handfast_kme.kme import Kme

            run(Kme(network, node).run())
        elif line is not None:
            from handfast_kme.line_server import LineServer

            run(LineServer(network, line).run())
        else:
            from handfast_kme.processes import run_all

            run(run_all(network, file))
    except Error as error:
        fail(error)


@app.command()
def status(file: File, json: Json = False) -> None:
    """What each link did last: QBER, key rate, keys in store, alarm, dials. Works beside running KMEs."""
    from handfast_kme.listing import link_status

    try:
        found = link_status(_load(file))
    except Error as error:
        fail(error)
    _show(found, json, "there is no provider link")


@app.command()
def metrics(
    file: File,
    blocks: Annotated[int, typer.Option(min=1, help="How many of the newest blocks are looked at.")] = 200,
    json: Json = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Write text for Prometheus instead of a table.")
    ] = False,
) -> None:
    """M1 to M10 of each end of each link beside what they should be: ok, warn, or - where nothing is asked.

    Works beside running KMEs. For Prometheus let cron write --prometheus where the textfile collector of the
    node exporter reads.
    """
    from handfast_kme import metrics as kme_metrics

    if json and prometheus:
        fail(LocalError("give --json or --prometheus, not both"))
    try:
        found = kme_metrics.readings(_load(file), blocks)
    except Error as error:
        fail(error)
    if prometheus:
        typer.echo(kme_metrics.prometheus(found).decode(), nl=False)
        return
    _show([reading._asdict() for reading in found], json, "no KME ran")


@app.command()
def attack(
    file: File,
    link: Annotated[str, typer.Argument(help="A provider link.")],
    name: Annotated[str, typer.Argument(help="none, intercept, tap, reinsert, pns or blinding.")],
    dial: Annotated[float, typer.Argument(help="From 0 to 1.")] = 1.0,
) -> None:
    """Turn an eavesdropper up or down while the link runs. It acts from the next block on."""
    from handfast_kme.dials import turn_attack
    from handfast_kme.installed import Folder

    network = _load(file)
    try:
        found = network.named("provider_link", link)
        found.allows(name)
        turned = turn_attack(Folder(network.group.folder).dials(link), name, dial)
    except Error as error:
        fail(error)
    typer.echo(f"{link}: {turned.attack} at {turned.dial:g}")


@app.command()
def fault(
    file: File,
    link: Annotated[str, typer.Argument(help="A provider link.")],
    name: Annotated[
        str,
        typer.Argument(
            help="misalignment, saturation, authentication, entropy, latency, firmware, disruption, ingestion"
        ),
    ],
    dial: Annotated[float, typer.Argument(help="From 0 to 1; 0 ends it.")] = 1.0,
    node: Annotated[str | None, typer.Option(help="Only at this end.")] = None,
) -> None:
    """Turn a failure (F1 to F8) on or off while the link runs. It acts from the next block on."""
    from handfast_kme.dials import EVERYWHERE, turn_fault
    from handfast_kme.installed import Folder

    network = _load(file)
    try:
        network.named("provider_link", link)
        if node is not None:
            network.named("node", node)
        turned = turn_fault(Folder(network.group.folder).dials(link), name, dial, node or EVERYWHERE)
    except Error as error:
        fail(error)
    typer.echo(
        f"{link}: " + (", ".join(f"{n} {d:g} at {w}" for n, (d, w) in turned.faults.items()) or "no faults")
    )


@app.command()
def plot(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the SVG files go.")],
    file: Annotated[
        Path | None, typer.Option("--network", help="Over time too, for each link of this file.")
    ] = None,
    pulses: Annotated[int, typer.Option(help="Pulses of a block, over distance.")] = 100_000_000_000,
) -> None:
    """Draw QBER and key rate over distance beside published systems, a measured table beside models of it,
    and with --network what the links did over time."""
    from handfast_kme.optics import Optics
    from handfast_kme.plot import measured_table, over_distance, over_time

    plots = dict(
        zip(("key-rate-over-distance", "qber-over-distance"), over_distance(Optics(), pulses), strict=True)
    )
    plots["measured-table"] = measured_table()
    try:
        if file is not None:
            from handfast_kme.installed import Folder
            from handfast_kme.store import Store

            network = _load(file)
            for link in network.provider_link:
                alice, _ = network.ends(link)
                store = Store(Folder(network.group.folder).store(alice.name), only_look=True)
                made = over_time(link.name, store.history(link.name))
                store.close()
                plots |= {f"key-rate-{link.name}": made[0], f"qber-{link.name}": made[1]}
        out.mkdir(parents=True, exist_ok=True)
        for name, content in plots.items():
            (out / f"{name}.svg").write_text(content)
            typer.echo(str(out / f"{name}.svg"))
    except Error as error:
        fail(error)
    except OSError as error:
        fail(LocalError(f"cannot write the plots: {error}"))


def _load(file: Path) -> "Network":
    from handfast_kme.network import load_network

    try:
        return load_network(file)
    except Error as error:
        fail(error)


def _show(rows: list[dict[str, Any]], json: bool, nothing: str) -> None:
    if json:
        show_json(rows)
        return
    if not rows:
        typer.echo(nothing)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text("-" if value is None else str(value)) for value in row.values()))
    Console().print(table)


def main() -> None:
    """The entry point of the command."""
    try:
        terminal.main(app)
    except ModuleNotFoundError as error:
        print(f"handfast-kme: {error.name} is not installed; it comes with handfast[qkd]", file=sys.stderr)
        sys.exit(terminal.FAILED)
