"""What was mistyped, for all three commands: one sentence, the nearest right word, code 2, JSON on demand."""

import json
import sys

import pytest
import typer

import handfast_cpython.cli
import handfast_hub.cli
import handfast_kme.cli
from handfast_cpython import terminal

APPS = {
    "handfast": handfast_cpython.cli.app,
    "handfast-hub": handfast_hub.cli.app,
    "handfast-kme": handfast_kme.cli.app,
}


def typed(words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of the command line `words`."""
    monkeypatch.setattr(sys, "argv", words.split())
    # Else the program is called after the test runner.
    monkeypatch.setattr(sys.modules["__main__"], "__package__", None)
    with pytest.raises(SystemExit) as ended:
        terminal.main(APPS[words.split(maxsplit=1)[0]])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("handfast onbord", "'handfast' has no command 'onbord'; the nearest is onboard"),
        ("handfast status --hom x", "'handfast status' has no option --hom; the nearest is --home"),
        ("handfast init --tokn x", "'handfast init' has no option --tokn; the nearest is --token"),
        ("handfast-hub device", "'handfast-hub' has no command 'device'; the nearest is devices"),
        ("handfast-hub --confg x", "'handfast-hub' has no option --confg; the nearest is --config"),
        ("handfast-hub trunk pear", "'handfast-hub trunk' has no command 'pear'; the nearest is pair"),
        ("handfast-kme aply x", "'handfast-kme' has no command 'aply'; the nearest is apply"),
        (
            "handfast-kme apply --dryrun",
            "'handfast-kme apply' has no option --dryrun; the nearest is --dry-run",
        ),
    ],
)
def test_a_mistyped_word_is_one_sentence_with_the_nearest_right_one(
    words: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(words, monkeypatch) == terminal.USAGE
    said = capsys.readouterr()
    assert said.out == "" and said.err == f"{words.split(maxsplit=1)[0]}: {sentence}\n"


@pytest.mark.parametrize(
    "words",
    [
        "handfast xyzzyx",
        "handfast init",
        "handfast send a b",
        "handfast onboard --timeout soon",
        "handfast-hub xyzzyx",
    ],
)
def test_what_has_no_nearest_word_says_where_all_are_told(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(words, monkeypatch) == terminal.USAGE
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and " --help'" in said.err


@pytest.mark.parametrize("program", APPS)
def test_with_json_a_mistyped_word_is_one_object(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(f"{program} --json xyzzyx", monkeypatch) == terminal.USAGE
    said = capsys.readouterr()
    value = json.loads(said.err)
    assert said.out == "" and value["exit_code"] == terminal.USAGE and value["retryable"] is False
    assert "--json" in value["error"] or "xyzzyx" in value["error"]


@pytest.mark.parametrize("program", APPS)
def test_a_command_alone_shows_its_help_and_nothing_wrong(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(program, monkeypatch) == terminal.USAGE
    said = capsys.readouterr()
    assert "Usage" in said.out + said.err and "has no" not in said.err
    assert typed(f"{program} --help", monkeypatch) == terminal.DONE


def test_who_says_no_to_a_question_ends_with_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise typer.Abort

    monkeypatch.setattr(typer, "confirm", refuse)
    assert typed("handfast reset", monkeypatch) == terminal.FAILED
    assert capsys.readouterr().err == "Aborted.\n"
