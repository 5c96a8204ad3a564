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

BSD = """\
BSD 3-Clause License

Copyright (c) Annotorious contributors (https://github.com/annotorious/annotorious)

The package of this version names its licence, BSD-3-Clause, in package.json and has no file of it.
The text is at https://opensource.org/license/bsd-3-clause.
"""


class Library(NamedTuple):
    """One package and what is taken of it.

    Attributes:
        package: Its name.
        version: Exactly this one.
        files: Path in the package -> name here.
        licence: Path in the package, or a text where it has none.
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
        "@annotorious/openseadragon", "3.8.10",
        {
            "dist/annotorious-openseadragon.js": "annotorious.js",
            "dist/annotorious-openseadragon.css": "annotorious.css",
        },
        BSD,
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
                lines = [one for one in text.splitlines() if not one.startswith("//# sourceMapping")]
                (VENDOR / target).write_text("\n".join(lines) + "\n", encoding="utf-8")
            short = library.package.split("/")[0].lstrip("@")
            licence = package / library.licence if "\n" not in library.licence else None
            text = licence.read_text(encoding="utf-8") if licence else library.licence
            (VENDOR / f"LICENSE.{short}.txt").write_text(text, encoding="utf-8")
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
