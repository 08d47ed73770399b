"""What the documents say is true: links, files, commands, examples, and every number of the specification."""

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_product_sizes
import test_sizes
import typer.main

from handfast.core import constants, errors, plaintexts, suites, topics
from handfast_cpython import cli
from handfast_hub import cli as hub_cli
from handfast_kme import cli as kme_cli

ROOT = Path(__file__).parents[1]
OURS = ("sdk", "hub", "firmware_micropython", "tests", "examples", "docs")
PAGES = [*sorted(ROOT.glob("*.md")), *(page for part in OURS for page in sorted((ROOT / part).rglob("*.md")))]
README, PROTOCOL = ROOT / "README.md", ROOT / "docs/protocol.md"
ARCHITECTURE = ROOT / "docs/architecture.md"
FOR_OPERATORS = [
    README,
    *sorted((ROOT / "docs/runbooks").glob("*.md")),
    ROOT / "docs/brokers.md",
    ROOT / "docs/qkd.md",
    ROOT / "docs/feeds.md",
]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PROGRAMS = {
    "handfast": typer.main.get_command(cli.app),
    "handfast-hub": typer.main.get_command(hub_cli.app),
    "handfast-kme": typer.main.get_command(kme_cli.app),
}


def name(page: object) -> str:
    return str(page.relative_to(ROOT)) if isinstance(page, Path) else str(page)


def fenced(page: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(page.read_text()) if kind == language]


def tables(page: Path) -> Iterator[list[list[str]]]:
    """The tables of a page: rows of cells, the heads first, the line under them left out."""
    for block in re.findall(r"(?:^\|.*\n)+", page.read_text(), re.MULTILINE):
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()]
        yield [[cell.strip() for cell in row] for row in rows if not set("".join(row)) <= set("-: ")]


def table(page: Path, *heads: str) -> list[list[str]]:
    """The body of the one table whose heads begin like this."""
    found = [rows[1:] for rows in tables(page) if rows[0][: len(heads)] == list(heads)]
    assert len(found) == 1, heads
    return found[0]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_of_this_tree(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    local = [link.partition("#")[0] for link in LINK.findall(text) if "://" not in link and link[0] != "#"]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", [README, ARCHITECTURE], ids=name)
def test_every_file_of_the_map_exists(page: Path) -> None:
    """A map is indented: by 4 what lies at the root, by more what lies in the folder named above it."""
    folder, places = ROOT, []
    for line in page.read_text().splitlines():
        entry = re.match(r"( {4,})([\w.-]+/?(?:[\w.-]+/?)*)(?: {2,}|$)", line)
        if entry is None or not re.search(r"/|\.\w+$", entry[2]):
            continue
        place = (ROOT if len(entry[1]) == 4 else folder) / entry[2]
        places.append(place)
        if len(entry[1]) == 4:
            folder = place
    assert [name(place) for place in places if not place.exists()] == []
    assert len(places) > 5


def typed(page: Path) -> Iterator[tuple[str, bool]]:
    """Every command of ours on a page, and whether it stands there to be typed as it is."""
    for line in page.read_text().splitlines():
        for inline in re.findall(r"`((?:handfast|handfast-hub|handfast-kme)(?: [^`]*)?)`", line):
            yield inline, False
        stripped = line.strip()
        if re.match(r"(?:handfast|handfast-hub|handfast-kme) ", stripped) and not line.startswith(
            ("handfast is", "| ")
        ):
            yield re.split(r"\s#| {2,}|>>| > ", stripped)[0], True


def commands() -> list[Any]:
    return [
        pytest.param(text, whole, id=f"{name(page)}: {text}")
        for page in FOR_OPERATORS
        for text, whole in dict.fromkeys(typed(page))
    ]


@pytest.mark.parametrize(("text", "whole"), commands())
def test_every_command_exists_with_its_options(text: str, whole: bool) -> None:
    program, *words = shlex.split(text.replace("…", "").replace("$(date +%F)", "today"))
    # By shape: typer brings a click of its own.
    command: Any = PROGRAMS[program]
    known = options(command)
    while hasattr(command, "commands") and words:
        word = words.pop(0)
        if word.startswith("-"):
            assert word in known, text
            words = words[known[word] :]
            continue
        assert word in command.commands, text
        command = command.commands[word]
        known = options(command)
    assert [word for word in words if re.match(r"--?[a-z]", word) and word not in known] == []
    if whole and not hasattr(command, "commands"):
        # Values, required options and the number of arguments too; nothing runs.
        command.make_context(program, words)


def options(command: Any) -> dict[str, int]:
    """Every option of a command, and how many words follow it."""
    found = {"-h": 0, "--help": 0}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            found.update(dict.fromkeys(parameter.opts + parameter.secondary_opts, int(not parameter.is_flag)))
    return found


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    typed_there = set(re.findall(r"^ +make ([a-z]+)|`make ([a-z]+)`", README.read_text(), re.MULTILINE))
    said = {first or second for first, second in typed_there}
    assert said - targets == set()
    assert {"demo", "test"} <= said


@pytest.mark.parametrize("body", [body for page in PAGES for body in fenced(page, "python")])
def test_every_python_example_compiles_and_imports_what_exists(body: str) -> None:
    tree = ast.parse(body)
    compile(tree, "example", "exec")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and "micropython" not in node.module:
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


# The specification --------------------------------------------------------------------------------

CDDL = "\n".join(re.sub(r";.*", "", body) for body in fenced(PROTOCOL, "cddl"))
PRELUDE = {"bstr", "tstr", "int", "uint", "any", "true", "null"}


def test_every_name_in_the_cddl_is_defined_once() -> None:
    defined = re.findall(r"^(\w+) = ", CDDL, re.MULTILINE)
    assert sorted(set(defined)) == sorted(defined)
    text = re.sub(r'h?\'[0-9a-f]*\'|"[^"]*"|\.\w+', " ", CDDL)
    # A name before a colon is a label for people.
    text = re.sub(r"\b\w+ : ", " ", text)
    used = set(re.findall(r"[A-Za-z_]\w*", text))
    assert used - set(defined) - PRELUDE == set()
    assert {"message_1", "PLAINTEXT_2", "GATE", "ROOTC", "ROOTR", "STATUS", "record", "fragment"} <= set(
        defined
    )


def codepoints() -> dict[str, object]:
    """Every name in the last column of a table of the specification with its value."""
    found = {}
    for rows in tables(PROTOCOL):
        for row in rows[1:]:
            constant = re.fullmatch(r"`([A-Z][A-Z0-9_]+)`", row[-1])
            if constant and rows[0][-2] in ("value", "label", "code", "number", "S", "first byte"):
                assert constant[1] not in found, constant[1]
                found[constant[1]] = literal(row[-2])
    return found


def literal(text: str) -> object:
    if text.startswith("h'"):
        return bytes.fromhex(text[2:-1])
    return ast.literal_eval(text)


def test_every_codepoint_and_limit_is_the_one_of_the_code() -> None:
    places = (constants, errors, plaintexts, topics)
    for constant, said in codepoints().items():
        [value] = {getattr(place, constant) for place in places if hasattr(place, constant)}
        if isinstance(said, str) and isinstance(value, bytes):
            value = value.decode()
        assert said == value, constant


def test_no_constant_of_the_protocol_is_missing() -> None:
    # The delays of a resend and the tables of other files stand in the text.
    in_the_code = {key for key in vars(constants) if key.isupper()} - {"RESEND_DELAYS"}
    assert in_the_code - set(codepoints()) == set()
    assert constants.RESEND_DELAYS == (2.0, 4.0, 8.0)
    assert "after 2, 4 and 8 s" in PROTOCOL.read_text()


def test_suites_and_algorithms_are_those_of_the_code() -> None:
    said = {}
    for row in table(PROTOCOL, "suite", "AEAD", "hash"):
        number, aead, hash_, mac, kem, signature, app_aead, app_hash, records = row[:9]
        numbers = [int(cell) for cell in (number, aead, hash_, mac)]
        rest = [int(cell) for cell in (signature, app_aead, app_hash, records)]
        said[int(number)] = suites.Suite(*numbers, kem, *rest, True)
    assert said == suites.SUITES
    columns = (
        ("algorithm", "COSE number", suites.AEADS, ("key_length", "nonce_length", "tag_length")),
        ("hash", "COSE number", suites.HASHES, ("length",)),
        ("signature", "COSE number", suites.SIGNATURES, ("public_key", "signature", "seed")),
    )
    for *heads, rows, fields in columns:
        lines = table(PROTOCOL, *heads)
        assert {int(line[1]) for line in lines} == set(rows)
        for line in lines:
            row = rows[int(line[1])]
            assert [row.name, *(str(getattr(row, field)) for field in fields)] == [line[0], *line[2:-1]]
            assert getattr(suites, line[-1].strip("`")) == int(line[1])
    for line in table(PROTOCOL, "KEM"):
        row = suites.KEMS[line[0]]
        sizes = [int(re.match(r"\d+", cell)[0]) for cell in line[1:5]]  # type: ignore[index]
        assert sizes == [row.public_key, row.ciphertext, row.seed, row.randomness]


def test_channels_are_those_of_the_code() -> None:
    said = {line[0]: int(line[-2]) for line in table(PROTOCOL, "channel", "sent by")}
    assert said == topics.CHANNELS


def test_sizes_are_those_of_the_encoders() -> None:
    """The tests of the encoders hold the same tables."""
    bare = [
        (int(line[0]), line[1] == "value", line[2] == "value", tuple(map(int, line[3:7])), int(line[7]))
        for line in table(PROTOCOL, "suite", "device by")
    ]
    assert sorted(bare) == sorted(test_sizes._TABLE)
    whole = [
        (int(line[0]), line[1] == "first", tuple(map(int, line[2:6])), int(line[6]))
        for line in table(PROTOCOL, "suite", "enrolment")
    ]
    assert sorted(whole) == sorted(test_product_sizes._ONBOARDINGS)
    records = [tuple(map(int, line)) for line in table(PROTOCOL, "suite of a record")]
    assert records == list(test_product_sizes._RECORDS)
