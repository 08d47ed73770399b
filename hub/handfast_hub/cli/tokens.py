"""`handfast-hub token | tokens | withdraw`: enrolment tokens."""

import re
import time
from typing import TYPE_CHECKING, Annotated

import typer

from handfast.core.errors import LocalError
from handfast_cpython.terminal import Json, fail, show_json, show_qr
from handfast_hub.cli.options import options, seconds, show_table, when

if TYPE_CHECKING:
    from handfast.core.token import Token
    from handfast.ports import Crypto
    from handfast_hub.registry.operator import Operator
    from handfast_hub.registry.tokens import TokenInfo


def add_to(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    for command in (token, tokens, withdraw):
        app.command()(command)


def token(
    context: typer.Context,
    label: Annotated[str, typer.Option(help="What it is for; shown in lists.")] = "",
    expires: Annotated[str, typer.Option(help="How long it may be used: 15m, 24h, 7d.")] = "24h",
    count: Annotated[int, typer.Option(help="Make a batch of this many single tokens.")] = 1,
    shared: Annotated[
        bool, typer.Option("--shared", help="One token for many devices; it admits and enters no key.")
    ] = False,
    quota: Annotated[int | None, typer.Option(help="How many devices a shared token admits.")] = None,
    json: Json = False,
) -> None:
    """Make tokens and show them, once. Whoever holds one can enrol a device."""
    if shared and quota is None:
        fail(LocalError("a shared token needs a quota: how many devices may it admit? give --quota"))
    try:
        lifetime = seconds(expires)
    except LocalError as error:
        fail(error)

    async def work(operator: "Operator", crypto: "Crypto") -> "list[tuple[Token, str]]":
        from handfast.core.codes import encode_token
        from handfast_hub.registry.tokens import NewTokens

        now = time.time()
        wish = NewTokens(label, count, shared, quota or 1, now + lifetime, now)
        return [(made, encode_token(crypto, made)) for made in await operator.mint(wish)]

    made = options(context).operate(work)
    if json:
        show_json(
            [{"token_id": found.token_id, "token": text, "shared": found.shared} for found, text in made]
        )
        return
    for _, text in made:
        typer.echo(text)
    if count == 1:
        show_qr(made[0][1])
    options(context).say(f"good for {expires}; this is the only time that it is shown")


def tokens(context: typer.Context, json: Json = False) -> None:
    """List tokens by their ids; the secrets are shown nowhere."""

    async def work(operator: "Operator", _: "Crypto") -> "list[TokenInfo]":
        return await operator.tokens()

    found = options(context).operate(work)
    if json:
        show_json([info._asdict() for info in found])
        return
    rows = [
        (
            info.token_id.hex(),
            info.label,
            "shared" if info.shared else "single",
            info.state,
            f"{info.used}/{info.quota}",
            when(info.expires_at),
        )
        for info in found
    ]
    show_table(("token id", "label", "kind", "state", "used", "expires"), rows, "there are no tokens")


def withdraw(
    context: typer.Context, token_id: Annotated[str, typer.Argument(help="The id, 16 hex digits.")]
) -> None:
    """Take a token back. Devices that enrolled with it stay; revoke them one by one."""
    if re.fullmatch(r"[0-9a-fA-F]{16}", token_id) is None:
        fail(LocalError("expected the id of a token, 16 hex digits; see 'handfast-hub tokens'"))

    async def work(operator: "Operator", _: "Crypto") -> None:
        await operator.withdraw(bytes.fromhex(token_id))

    options(context).operate(work)
    options(context).say(f"token {token_id} admits nobody any more")
