"""Fetch the browser libraries that the site serves itself: `python tools/vendor.py`, at maintenance time only.

Needs npm and a network; building and running the site need neither, because what this writes is committed:
static/vendor/<package>/ with the few files we use, and static/vendor/manifest.json with versions and digests.
"""

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "static" / "vendor"

PACKAGES: dict[str, tuple[str, list[str]]] = {
    "bootstrap": ("5.3.9", ["dist/css/bootstrap.min.css", "dist/js/bootstrap.bundle.min.js", "LICENSE"]),
    "echarts": ("6.1.0", ["dist/echarts.common.min.js", "LICENSE", "NOTICE", "licenses/LICENSE-d3"]),
}
# The maps are not vendored, and hashed static storage refuses a reference to a file that is not there.
SOURCE_MAP = re.compile(rb"\s*(/\*# sourceMappingURL=\S+ \*/|//# sourceMappingURL=\S+)\s*$")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def vendor_package(*, name: str, version: str, files: list[str], into: Path) -> None:
    """Unpacks the named files of one package, flat, without their source map lines."""
    with tempfile.TemporaryDirectory() as scratch:
        packed = subprocess.run(
            ["npm", "pack", "--silent", f"{name}@{version}"], cwd=scratch, check=True, capture_output=True, text=True
        )
        into.mkdir(parents=True)
        with tarfile.open(Path(scratch, packed.stdout.split()[-1])) as archive:
            for file in files:
                member = archive.extractfile(f"package/{file}")
                content = SOURCE_MAP.sub(b"\n", member.read())
                Path(into, Path(file).name).write_bytes(content)


def main() -> None:
    shutil.rmtree(VENDOR, ignore_errors=True)
    manifest = {}
    for name, (version, files) in PACKAGES.items():
        vendor_package(name=name, version=version, files=files, into=VENDOR / name)
        names = sorted(Path(file).name for file in files)
        manifest[name] = {"version": version, "sha256": {file: digest(VENDOR / name / file) for file in names}}
    Path(VENDOR, "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
