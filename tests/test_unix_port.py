"""Where the source of the tests' MicroPython comes from."""

from pathlib import Path

import pytest
from build_unix_port import unix_port
from micropython_build import BuildError, source_list


def etc(folder: Path, files: dict[str, str]) -> Path:
    (folder / "sources.list.d").mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_the_mirror_of_a_sources_file_is_used_with_its_key(tmp_path: Path) -> None:
    text = """# comment
Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Signed-By: /keys/other.gpg

Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /keys/debian.gpg
"""
    assert source_list(etc(tmp_path, {"sources.list.d/debian.sources": text})).splitlines() == [
        "Types: deb-src",
        "URIs: http://mirror.example/debian",
        "Suites: trixie",
        "Components: main",
        "Signed-By: /keys/debian.gpg",
    ]


@pytest.mark.parametrize("name", ["sources.list", "sources.list.d/own.list"])
def test_the_mirror_of_a_one_line_file_is_used(tmp_path: Path, name: str) -> None:
    text = "deb-src http://no.example/debian sid main\n"
    text += "deb [signed-by=/k.gpg] http://m.example/debian/ bookworm main\n"
    found = source_list(etc(tmp_path, {name: text}))
    assert "URIs: http://m.example/debian/\n" in found
    assert "Signed-By: /k.gpg\n" in found


def test_a_disabled_entry_is_not_used_and_a_machine_without_debian_is_told_what_to_do(tmp_path: Path) -> None:
    text = "Types: deb\nURIs: http://m.example/debian\nEnabled: no\n"
    ubuntu = "deb http://m.example/ubuntu noble main\n"
    with pytest.raises(BuildError, match="MICROPYTHON_DIR"):
        source_list(etc(tmp_path, {"sources.list.d/off.sources": text, "sources.list": ubuntu}))


def test_a_folder_that_holds_no_micropython_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROPYTHON_DIR", str(tmp_path))
    with pytest.raises(BuildError, match="no MicroPython source"):
        unix_port()
