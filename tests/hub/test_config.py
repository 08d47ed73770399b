"""hub.toml: what it may say, and what is said about the rest."""

from pathlib import Path

import pytest

from handfast_hub.cli.config import markdown
from handfast_hub.config import ConfigError, HubConfig, load_config

ROOT = Path(__file__).parents[2]


def load(tmp_path: Path, text: str) -> HubConfig:
    file = tmp_path / "hub.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file)


def fault(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as failure:
        load(tmp_path, text)
    return failure.value.detail.replace(str(tmp_path) + "/", "")


def test_a_name_is_enough(tmp_path: Path) -> None:
    config = load(tmp_path, 'name = "berlin"')
    assert config.database == str(tmp_path / "hub.sqlite")
    assert config.mqtt.broker == "embedded"
    assert config.policy.admit == {"thumbprint", "token", "approval"}


def test_paths_are_relative_to_the_file_and_urls_are_left_alone(tmp_path: Path) -> None:
    text = """
        name = "x"
        master_key = "../secret/m.key"
        database = "postgresql+psycopg://db/hub"
        [mqtt]
        ca = "ca.pem"
        key = "/abs/key.pem"
    """
    config = load(tmp_path, text)
    assert config.master_key == tmp_path / "../secret/m.key"
    assert config.database == "postgresql+psycopg://db/hub"
    assert (config.mqtt.ca, config.mqtt.key) == (tmp_path / "ca.pem", Path("/abs/key.pem"))
    assert config.entropy.state == tmp_path / "entropy"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('name = "x"\n[mqtt]\nprot = 1', "hub.toml: [mqtt] has no key 'prot'; did you mean 'port'?"),
        ('name = "x"\nport = 1', "hub.toml: has no key 'port'; did you mean 'mqtt.port'?"),
        ('name = "x"\nmqt = 1', "hub.toml: has no key 'mqt'; did you mean 'mqtt'?"),
        ('nmae = "x"\nname = "x"', "hub.toml: has no key 'nmae'; did you mean 'name'?"),
        (
            'name = "x"\n[policy]\nentropie = "any"',
            "hub.toml: [policy] has no key 'entropie'; did you mean 'entropy'?",
        ),
        ("", "hub.toml: needs the key 'name'"),
        ('name = "x"\nmqtt = 1', "hub.toml: 'mqtt' is 1: expected a table"),
        (
            'name = "x"\n[mqtt]\nport = 70000',
            "hub.toml: 'mqtt.port' is 70000: it should be less than or equal to 65535",
        ),
    ],
)
def test_a_wrong_key_names_the_nearest_right_one(tmp_path: Path, text: str, sentence: str) -> None:
    assert fault(tmp_path, text) == sentence


def test_a_key_that_is_near_to_none_is_answered_with_all(tmp_path: Path) -> None:
    sentence = fault(tmp_path, 'name = "x"\n[log]\nzzzzzz = 1')
    assert sentence == "hub.toml: [log] has no key 'zzzzzz'; the keys are level, format"


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    sentences = fault(
        tmp_path, 'name = "a b"\nsuites = [-21, -23]\n[limits]\nhalf_open = "many"'
    ).splitlines()
    assert len(sentences) == 3
    assert sentences[1].endswith("need different signature keys; a hub has one")


@pytest.mark.parametrize("suites", ["[]", "[0]", "[2]", "[-21, 2]"])
def test_no_suite_without_a_post_quantum_part_can_be_enabled(tmp_path: Path, suites: str) -> None:
    assert "expected some of [-21, -22, -23, -24]" in fault(tmp_path, f'name = "x"\nsuites = {suites}')


def test_the_environment_wins_and_its_mistakes_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANDFAST_HUB_MQTT__PORT", "99")
    monkeypatch.setenv("HANDFAST_HUB_NAME", "paris")
    config = load(tmp_path, 'name = "berlin"\n[mqtt]\nport = 5\nhost = "h"\n')
    assert (config.name, config.mqtt.port, config.mqtt.host) == ("paris", 99, "h")
    monkeypatch.setenv("HANDFAST_HUB_MQTT__PROT", "99")
    assert fault(tmp_path, 'name = "x"') == (
        "the environment variable HANDFAST_HUB_MQTT__PROT is no setting of the hub;"
        " did you mean HANDFAST_HUB_MQTT__PORT?"
    )


def test_a_missing_file_and_no_toml_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run 'handfast-hub init --name NAME'"):
        load_config(tmp_path / "hub.toml")
    assert fault(tmp_path, "name = ").startswith("hub.toml is not TOML: ")


def test_a_configuration_cannot_be_changed(tmp_path: Path) -> None:
    config = load(tmp_path, 'name = "x"')
    with pytest.raises(ValueError, match="frozen"):
        config.policy.entropy = "any"  # type: ignore[misc]


def test_the_example_is_right_and_the_document_is_generated() -> None:
    example = load_config(ROOT / "examples" / "hub.toml")
    assert example.policy.entropy == "quantum"
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == markdown()
