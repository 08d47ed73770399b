"""Writes package.json, by which mip installs handfast on a board: pairs of a place on it and a place here.

    python firmware_micropython/write_package_json.py

It lies at the root, because mip looks for the files from where it found package.json.
"""

import json
import tomllib
from pathlib import Path

from handfast_cpython import firmware

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "package.json"


def package() -> str:
    """What package.json says: every file that some board needs, as source, for mip asks for no chip."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    urls = [json.dumps([name, path.relative_to(ROOT).as_posix()]) for name, path in firmware.files().items()]
    return f'{{"version": "{project["version"]}", "deps": [], "urls": [\n' + ",\n".join(urls) + "\n]}\n"


if __name__ == "__main__":
    TARGET.write_text(package())
