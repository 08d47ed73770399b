"""`handfast-hub trunk pair | status | policy | listen`: what joins this hub to others."""

import asyncio
import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handfast.core.errors import LocalError
from handfast_cpython.terminal import Json, JsonLines, fail, show_json
from handfast_hub.cli.options import options, printable, show_table, shown, when

if TYPE_CHECKING:
    from collections.abc import Sequence

    from handfast_hub.registry.bridging import Bridged, Bridging

app = typer.Typer(
    help="Trunks to other hubs: pair them, watch them, ask their policy, read what came.",
    no_args_is_help=True,
)

# How often the registry is asked for something new, in seconds.
_POLL_SECONDS = 0.2
_PAGE = 1000
# A status that is older than this was left by a hub that serves no more, in seconds.
OLD_SECONDS = 10.0


@app.command()
def pair(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where to write the secret; must not exist yet.")],
) -> None:
    """Make the pairing secret of a trunk. Bring the same file to the other hub, by a way you trust."""
    from handfast_hub.trunk.trunks import SECRET_LENGTH, encode_secret
    from handfast_hub.vault import create_file

    try:
        create_file(file, (encode_secret(os.urandom(SECRET_LENGTH)) + "\n").encode())
    except FileExistsError:
        fail(LocalError(f"{file} exists and was left as it is; both hubs of a trunk need the same secret"))
    except OSError as error:
        fail(LocalError(f"cannot write {file}: {error.strerror}"))
    options(context).say(
        f"{file} written; copy it to the other hub, and name it in both hub.toml as"
        " secret_file of [trunk.NAME]"
    )


@app.command()
def status(context: typer.Context, json: Json = False) -> None:
    """Show how each trunk fares, and each of its carriers, as the serving hub sees it."""
    import json as decoder
    import time

    said = options(context).bridge(lambda bridging: bridging.said())
    found = {name: (decoder.loads(text), at) for name, text, at in said}
    known = {name: row for name, row in found.items() if name in options(context).load().trunk}
    if json:
        show_json([{"trunk": name, "at": at, **value} for name, (value, at) in known.items()])
        return
    rows, paths = [], []
    for name, (value, at) in known.items():
        epoch = value["epochs"]["hybrid"]
        serving = time.time() - at < OLD_SECONDS
        rows.append(
            (
                name,
                ("up" if value["up"] else "down") if serving else "not served",
                _epoch(epoch, value.get("secret_ways", 1)),
                "open" if value["secret_open"] and serving else "closed",
                ", ".join(
                    f"{kind} {counts['acknowledged']}/{counts['sent']}"
                    for kind, counts in value["readings"].items()
                ),
                _keys(value.get("qkd_keys")),
                when(at),
            )
        )
        # A hub of an older version has left no paths there.
        paths += [(name, *_path(path)) for path in value.get("paths", ()) if serving]
    columns = ("trunk", "state", "epoch", "secret", "acknowledged/sent", "QKD keys", "as of")
    show_table(columns, rows, "no trunk was served yet; see [trunk.NAME] in 'handfast-hub config reference'")
    if rows:
        typer.echo()
        heads = ("trunk", "carrier", "use", "BFD", "round trip", "loss", "repairs")
        show_table(heads, paths, "no carrier: no connection to another hub is open")


def _path(path: dict[str, Any]) -> tuple[str, ...]:
    rtt, loss, fec = path["rtt_seconds"], path["loss"], path["fec"]
    use = "in use" if path["in_use"] else "ready" if path["state"] == "up" else "-"
    return (
        path["carrier"],
        use,
        path["state"],
        "-" if rtt is None else f"{rtt * 1000:.1f} ms",
        "-" if loss is None else f"{loss:.2%}",
        "-" if fec is None else "on" if fec else "off",
    )


def _epoch(epoch: "dict[str, Any] | None", secret_ways: int) -> str:
    """Its number and what its keys are of; over how many ways, where `secret` needs two."""
    if epoch is None:
        return "-"
    if not epoch["qkd"]:
        return f"{epoch['number']}, ML-KEM alone"
    of = f" over {epoch['ways']} of {secret_ways} ways" if secret_ways > 1 else ""
    return f"{epoch['number']}, QKD{of}"


def _keys(supply: "dict[str, Any] | None") -> str:
    """Keys at the KME, those held here, and what will become of them."""
    if not supply or supply["stored"] is None:
        return "-"
    seen = ", seen by " + " ".join(printable(name) for name in supply["relays"]) if supply["relays"] else ""
    return f"{supply['stored']} + {supply['reserve']} held, {supply['forecast']}{seen}"


@app.command()
def policy(
    context: typer.Context,
    trunk: Annotated[str, typer.Argument(help="NAME of a [trunk.NAME].")],
    label: Annotated[str, typer.Argument(help="The label of a device, or its device id when it has none.")],
    channel: Annotated[
        str | None, typer.Argument(help="telemetry, bulk, alarm or command; without it all of them.")
    ] = None,
    json: Json = False,
) -> None:
    """Say as which class what a device sends travels, and commands to it, and by which rule.

    It is what hub.toml says now: a reading keeps the class that it was recorded with.
    """
    from handfast_hub.trunk.settings import topic_policy
    from handfast_hub.trunk.topic_rules import COMMAND, LAST_LEVELS, LONGEST_LABEL

    config = options(context).load()
    _check_known("trunk", trunk, sorted(config.trunk), "a [trunk.NAME] in hub.toml makes one")
    if channel is not None:
        _check_known("channel", channel, LAST_LEVELS)
    if not 0 < len(label) <= LONGEST_LABEL:
        fail(LocalError(f"a label has 1 to {LONGEST_LABEL} characters, this has {len(label)}"))
    settings = config.trunk[trunk]
    rules, found = topic_policy(settings), []
    for last in LAST_LEVELS if channel is None else (channel,):
        name, place = rules.find(f"{label}/{last}")
        by = f"rule {settings.policy[place].topic}" if place is not None else "classes"
        if last == COMMAND and not settings.commands:
            # Whatever a rule says.
            name, by = "none", "commands = false"
        elif last == COMMAND and place is None:
            by = "no rule"
        found.append({"trunk": trunk, "topic": f"{label}/{last}", "class": name, "by": by})
    if json:
        show_json(found)
    else:
        show_table(("topic", "class", "by"), [(row["topic"], row["class"], row["by"]) for row in found], "")


def _check_known(what: str, name: str, known: "Sequence[str]", without: str = "") -> None:
    """End the command for a name that is not known, with the nearest one that is."""
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}" if known else without
    fail(LocalError(f"there is no {what} '{printable(name)}'; {hint}"))


@app.command()
def listen(
    context: typer.Context,
    after: Annotated[
        int | None, typer.Option(help="Begin after the reading with this number; 0 shows all that are kept.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after this many.")] = None,
    json: JsonLines = False,
) -> None:
    """Show what devices of other hubs send, as it arrives. Ctrl-C ends it."""

    async def work(bridging: "Bridging") -> None:
        last = await bridging.newest_arrival() if after is None else after
        left = count
        while left is None or left > 0:
            found = await bridging.arrivals(last, _PAGE if left is None else min(left, _PAGE))
            for reading in found:
                last = reading.number
                left = None if left is None else left - 1
                _show(reading, json)
            if not found:
                await asyncio.sleep(_POLL_SECONDS)

    options(context).bridge(work)


def _show(reading: "Bridged", json: bool) -> None:
    from handfast.core.topics import CHANNEL_NAMES
    from handfast_hub.trunk.policy import CLASSES

    channel, name = CHANNEL_NAMES[reading.channel], CLASSES[reading.kind].name
    if json:
        import json as encoder

        value = {**reading._asdict(), "channel": channel, "kind": name}
        value = {key: item.hex() if isinstance(item, bytes) else item for key, item in value.items()}
        typer.echo(encoder.dumps(value, ensure_ascii=False))
        return
    # The other hub chose the label.
    device = printable(reading.label) or reading.device_id.hex()
    mark = ", degraded" if reading.degraded else ""
    typer.echo(
        f"{reading.number} {when(reading.received_at)} {reading.trunk}/{device} {channel}"
        f" ({name}{mark}): {shown(reading.data)}"
    )
