"""The browser libraries in the repository are those that tools/vendor.py names, byte for byte."""

import json
from pathlib import Path

from tools import vendor


def test_vendored_files_are_those_of_the_manifest():
    manifest = json.loads(Path(vendor.VENDOR, "manifest.json").read_text())
    found = {
        name: {path.name: vendor.digest(path) for path in sorted(Path(vendor.VENDOR, name).iterdir())}
        for name in manifest
    }
    assert found == {name: package["sha256"] for name, package in manifest.items()}
    assert {name: package["version"] for name, package in manifest.items()} == {
        name: version for name, (version, _) in vendor.PACKAGES.items()
    }


def test_no_template_holds_inline_code_or_foreign_addresses():
    templates = Path(vendor.VENDOR).parents[1] / "templates"
    for path in templates.rglob("*.html"):
        text = path.read_text()
        for forbidden in (
            'style="',
            "<style",
            " onclick=",
            " onload=",
            "hx-on",
            'hx-vals="js',
            'src="http',
            "<script>",
        ):
            assert forbidden not in text, f"{path.name} holds {forbidden}: the content policy refuses it"
