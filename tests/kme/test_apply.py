"""network.toml: read strictly, applied idempotently, listed; and the command line over it."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from free_ports import free_ports
from installation import TEMPLATE, installed
from relays import DIAMOND, network_of
from typer.testing import CliRunner

from handfast_kme.apply import carry_out, plan
from handfast_kme.cli import app
from handfast_kme.installed import Folder
from handfast_kme.network import NetworkError, load_network

NOUNS = (
    "group", "nodes", "node-links", "providers", "provider-links", "consumers", "consumer-links", "paths",
    "certificates",
)  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def command(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_a_second_apply_changes_nothing(tmp_path: Path) -> None:
    network, file = installed(tmp_path)
    before = files(tmp_path)
    assert plan(network) == []
    done = command("apply", str(file))
    assert done.exit_code == 0
    assert "nothing to do" in done.stdout
    assert files(tmp_path) == before


def test_a_dry_run_writes_nothing_and_says_everything(tmp_path: Path) -> None:
    file = tmp_path / "network.toml"
    file.write_text(TEMPLATE.format(ports=free_ports(5), pulses=1000000, max_keys=10, optics="{}"))
    said = command("apply", str(file), "--dry-run", "--json")
    steps = json.loads(said.stdout)
    assert {step["verb"] for step in steps} == {"create"}
    assert not any(step["done"] for step in steps)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.toml"]
    done = json.loads(command("apply", str(file), "--json").stdout)
    assert [(s["noun"], s["name"]) for s in done] == [(s["noun"], s["name"]) for s in steps]


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    installed(tmp_path)
    for path in (tmp_path / "installation").rglob("*"):
        if path.suffix in (".key", ".psk"):
            assert path.stat().st_mode & 0o077 == 0, path
        if path.is_dir():
            assert path.stat().st_mode & 0o077 == 0 or path.parent == tmp_path, path


def test_what_is_missing_wrong_or_no_longer_named_is_put_right(tmp_path: Path) -> None:
    network, file = installed(tmp_path)
    folder = Folder(network.group.folder)
    folder.psk_at_node("berlin", "fibre").unlink()
    (folder.consumer("stranger") / "sae.pem").write_text("no certificate")
    file.write_text(file.read_text().replace('name = "second-vienna"', 'name = "third-vienna"'))
    network = load_network(file)
    steps = plan(network)
    assert sorted((step.verb, step.noun, step.name) for step in steps) == [
        ("create", "consumer certificate", "third-vienna"),
        ("remove", "consumer", "second-vienna"),
        ("renew", "consumer certificate", "stranger"),
        ("renew", "provider link keys", "fibre"),
    ]
    carry_out(steps, lambda step: None)
    assert plan(network) == []


def test_a_death_in_the_middle_of_apply_is_mended_by_the_next(tmp_path: Path) -> None:
    file = tmp_path / "network.toml"
    file.write_text(TEMPLATE.format(ports=free_ports(5), pulses=1000000, max_keys=10, optics="{}"))
    network = load_network(file)
    whole = len(plan(network))
    for at in range(1, whole):
        steps = plan(network)
        carry_out(steps[:1], lambda step: None)
        assert len(plan(network)) == whole - at
    carry_out(plan(network), lambda step: None)
    assert plan(network) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "test"', 'name = "test"\ncolour = 1', "group.colour"),
        ('node = "berlin"', 'node = "paris"', "there is no [[node]] 'paris'"),
        ("uid = 2", "uid = 1", "one uid"),
        ('name = "vienna"', 'name = "berlin"', "there twice"),
        ("pace = 0", 'model = "magic"', "model"),
        ("{ length_km = 5.0", "{ lenght_km = 5.0", "lenght_km"),
        ('name = "stranger"', 'name = "stranger"\nsubject = "CN=hub-vienna,O=test"', "one subject"),
        ("[group]", "[group", "not TOML"),
        ("z_probability = 0.6", "z_probability = 1.6", "z_probability"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence_with_its_place(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    _, file = installed(tmp_path)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(NetworkError) as raised:
        load_network(file)
    assert says in raised.value.detail
    done = command("apply", str(file))
    assert done.exit_code == 2
    assert "Traceback" not in done.stderr


def test_every_noun_can_be_listed_as_table_and_as_json(tmp_path: Path) -> None:
    _, file = installed(tmp_path)
    for noun in NOUNS:
        rows = json.loads(command("list", str(file), noun, "--json").stdout)
        assert rows, noun
        assert command("list", str(file), noun).exit_code == 0
    [path] = json.loads(command("list", str(file), "paths", "--json").stdout)
    assert path == {
        "consumers": "hub-berlin hub-vienna",
        "nodes": "berlin vienna",
        "hops": 1,
        "relays_that_see_the_keys": "none",
        "two_without_a_common_relay": "none",
        "found": "automatically",
    }


def test_dials_are_turned_by_name_and_checked(tmp_path: Path) -> None:
    _, file = installed(tmp_path)
    assert "intercept at 0.3" in command("attack", str(file), "fibre", "intercept", "0.3").stdout
    assert (
        "latency 0.5 at vienna"
        in command("fault", str(file), "fibre", "latency", "0.5", "--node", "vienna").stdout
    )
    for wrong in (
        ("attack", str(file), "fibre", "magic"),
        ("attack", str(file), "fibre", "tap", "2"),
        ("attack", str(file), "nowhere", "tap"),
        ("fault", str(file), "fibre", "magic"),
    ):
        done = command(*wrong)
        assert done.exit_code == 2
        assert done.stderr.count("\n") == 1


def test_plots_are_svg_and_say_that_they_are_simulated(tmp_path: Path) -> None:
    assert command("plot", str(tmp_path / "plots")).exit_code == 0
    for path in (tmp_path / "plots").iterdir():
        assert "(simulated)" in path.read_text()
        ET.parse(path)
        committed = Path(__file__).parents[2] / "docs/qkd" / path.name
        assert path.read_text() == committed.read_text(), "run: handfast-kme plot docs/qkd"


@pytest.mark.parametrize("name", ["network.toml", "network_relays.toml"])
def test_the_examples_can_be_applied_and_say_who_sees_their_keys(name: str, tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / name
    file = tmp_path / name
    file.write_text(example.read_text())
    network = load_network(file)
    network = network.model_copy(
        update={"group": network.group.model_copy(update={"folder": tmp_path / "x"})}
    )
    carry_out(plan(network), lambda step: None)
    assert plan(network) == []
    rows = json.loads(command("list", str(example), "paths", "--json").stdout)
    seen = {row["consumers"]: row["relays_that_see_the_keys"] for row in rows}
    two = {row["consumers"]: row["two_without_a_common_relay"] for row in rows}
    assert seen["hub-berlin hub-vienna"] == ("none" if name == "network.toml" else "prague")
    if name != "network.toml":
        assert seen["hub-prague hub-vienna"] == "none"
        assert two["hub-berlin hub-vienna"] == "berlin prague vienna, berlin munich vienna"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ('["a", "d"]', "no provider link between a and d"),
        ('["a", "b", "a", "b", "d"]', "passes a node twice"),
        ('["b", "d"]', "from the first consumer's node"),
        ('["a", "paris", "d"]', "there is no [[node]] 'paris'"),
    ],
)
def test_a_path_that_no_key_can_follow_is_a_mistake_in_the_file(tmp_path: Path, path: str, says: str) -> None:
    with pytest.raises(NetworkError) as raised:
        network_of(tmp_path, DIAMOND, more=f'[[path]]\nconsumers = ["sae-a", "sae-d"]\nnodes = {path}\n')
    assert says in raised.value.detail
