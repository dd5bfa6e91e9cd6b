"""Print what pyproject.toml asks for, with the extras named: `python tools/requirements.py lab dev`."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
for extra in ("", *sys.argv[1:]):
    print(*(project["optional-dependencies"][extra] if extra else project["dependencies"]), sep="\n")
