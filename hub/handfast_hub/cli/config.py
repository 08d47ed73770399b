"""`handfast-hub config check | reference`: the configuration, without opening anything."""

from typing import TYPE_CHECKING, Any

import typer

from handfast_cpython.terminal import Json, show_json
from handfast_hub.cli.options import options

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

app = typer.Typer(help="Check the configuration, or show every key of it.", no_args_is_help=True)

_HEAD = """\
# Configuration of the hub

One file, `hub.toml`; `handfast-hub config reference` writes this page from the docstrings of
`handfast_hub/config.py`. Paths are relative to the folder of the file. An unknown key is an error
that names the nearest right one. An environment variable wins over the file: `HANDFAST_HUB_NAME`
for `name`, `HANDFAST_HUB_MQTT__PORT` for `port` in `[mqtt]`. `handfast-hub config check` reads the
file and says what is wrong with it; `examples/hub.toml` is one to start from.
"""


@app.command()
def check(context: typer.Context, json: Json = False) -> None:
    """Read the configuration and say what is wrong with it."""
    config = options(context).load()
    if json:
        show_json(config.model_dump(mode="json", by_alias=True))
    else:
        options(context).say(f"{options(context).config} is right: the hub {config.name!r}")


@app.command()
def reference() -> None:
    """Write every key with its meaning and default, as Markdown."""
    typer.echo(markdown(), nl=False)


def markdown() -> str:
    """docs/configuration.md."""
    from handfast_hub.config import fields, keys_of

    parts = [_HEAD]
    for section, model in fields():
        title = f"[{section}]" if section else "At the top of the file"
        about = (model.__doc__ or "").strip() if section else "Above the first section."
        parts.append(f"\n## {title}\n\n{about.splitlines()[0].replace(f': `[{section}]`.', '.')}\n")
        parts.append("\n| key | default | meaning |\n|---|---|---|\n")
        for name, field in keys_of(model).items():
            if field.description is not None:
                parts.append(f"| `{name}` | {_default(field)} | {' '.join(field.description.split())} |\n")
    return "".join(parts)


def _default(field: "FieldInfo") -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, dict):
        return "`{ " + ", ".join(f'{name} = "{item}"' for name, item in value.items()) + " }`"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int | float):
        return f"`{value}`"
    if isinstance(value, tuple | frozenset):
        items = value if isinstance(value, tuple) else sorted(value)
        return "`[" + ", ".join(f'"{item}"' if isinstance(item, str) else str(item) for item in items) + "]`"
    return f'`"{value}"`'
