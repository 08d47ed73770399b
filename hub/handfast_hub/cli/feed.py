"""`handfast-hub feed status | check`: what takes the keys of a trunk."""

from typing import Any

import typer

from handfast.core.errors import Error
from handfast_cpython.terminal import FAILED, Json, show_json
from handfast_hub.cli.options import options, show_table, when
from handfast_hub.cli.trunk import OLD_SECONDS

app = typer.Typer(help="Key feeds: keys of a trunk for WireGuard, strongSwan, PKCS#11.", no_args_is_help=True)


@app.command()
def status(context: typer.Context, json: Json = False) -> None:
    """Show how each feed fares, as the serving hub sees it."""
    import json as decoder
    import time

    known, rows = options(context).load().feed, []
    for trunk, text, at in options(context).bridge(lambda bridging: bridging.said()):
        for name, value in decoder.loads(text).get("feeds", {}).items():
            if name in known and known[name].trunk == trunk:
                rows.append({"feed": name, "trunk": trunk, "at": at, **value})
    if json:
        show_json(rows)
        return
    columns = ("feed", "trunk", "kind", "state", "epoch", "key", "fed at", "reason", "as of")
    old = time.time() - OLD_SECONDS
    show_table(
        columns,
        [_row(row, serving=row["at"] > old) for row in rows],
        "no feed was served yet; see [feed.NAME] in 'handfast-hub config reference'",
    )


@app.command()
def check(context: typer.Context, json: Json = False) -> None:
    """Look whether the other side of each feed is there and fit to be fed; changes nothing.

    Exit code 1 when one is not.
    """
    import asyncio
    import os

    from handfast_hub.feeds.feeds import open_consumer

    found = {}
    for name, settings in options(context).load().feed.items():
        try:
            asyncio.run(open_consumer(name, settings, os.urandom).look())
            found[name] = (settings.kind, "")
        except Error as error:
            found[name] = (settings.kind, error.detail)
    if json:
        show_json([{"feed": name, "kind": kind, "problem": why} for name, (kind, why) in found.items()])
    else:
        rows = [(name, kind, why or "ready") for name, (kind, why) in found.items()]
        show_table(("feed", "kind", "state"), rows, "no feed is configured; see [feed.NAME]")
    if any(why for _, why in found.values()):
        raise typer.Exit(FAILED)


def _row(row: dict[str, Any], *, serving: bool) -> tuple[str, ...]:
    return (
        row["feed"],
        row["trunk"],
        row["kind"],
        row["state"] if serving else "not served",
        "-" if row["epoch"] is None else str(row["epoch"]),
        row["key"] or "-",
        "-" if row["fed_at"] is None else when(row["fed_at"]),
        row["reason"] or "-",
        when(row["at"]),
    )
