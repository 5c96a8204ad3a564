"""Refreshes the browser libraries of the studio from the npm registry: python tools/vendor.py

Each library is one or two files, as published, beside its licence. The only change is that imports
name the file beside them, because a browser without a build step cannot resolve a package's name.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

VENDOR = Path(__file__).parents[1] / "src/groundingme/studio/static/vendor"


class Library(NamedTuple):
    """One package and what is taken of it.

    Attributes:
        package: Its name.
        version: Exactly this one.
        files: Path in the package -> name here.
        licence: Path in the package.
    """

    package: str
    version: str
    files: dict[str, str]
    licence: str


LIBRARIES = (
    Library(
        "openseadragon", "6.1.1",
        {"build/openseadragon/openseadragon.min.js": "openseadragon.js"}, "LICENSE.txt",
    ),
    Library(
        "preact", "11.2.0", {"dist/preact.mjs": "preact.js", "hooks/dist/hooks.mjs": "hooks.js"},
        "LICENSE",
    ),
    Library("htm", "3.1.1", {"dist/htm.mjs": "htm.js"}, "LICENSE"),
)  # fmt: skip


def main() -> None:
    VENDOR.mkdir(parents=True, exist_ok=True)
    versions = {}
    for library in LIBRARIES:
        with tempfile.TemporaryDirectory() as place:
            name = f"{library.package}@{library.version}"
            subprocess.run(["npm", "pack", "--silent", name], cwd=place, check=True)
            (archive,) = Path(place).glob("*.tgz")
            with tarfile.open(archive) as tar:
                tar.extractall(place, filter="data")
            package = Path(place, "package")
            for source, target in library.files.items():
                text = (package / source).read_text(encoding="utf-8")
                for bare in ('"preact"', "'preact'"):
                    text = text.replace(f"from{bare}", 'from"./preact.js"')
                    text = text.replace(f"from {bare}", 'from "./preact.js"')
                # Its map is not shipped.
                lines = [
                    one for one in text.splitlines() if not one.startswith("//# sourceMapping")
                ]
                (VENDOR / target).write_text("\n".join(lines) + "\n", encoding="utf-8")
            licence = (package / library.licence).read_text(encoding="utf-8")
            (VENDOR / f"LICENSE.{library.package}.txt").write_text(licence, encoding="utf-8")
            told = json.loads((package / "package.json").read_text())
            versions[library.package] = {
                "version": told["version"],
                "license": told["license"],
                "files": sorted(library.files.values()),
            }
            print(name)
    (VENDOR / "versions.json").write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
