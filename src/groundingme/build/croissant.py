"""A published data set described for machines, as Croissant (mlcommons.org/croissant, 1.0)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groundingme.build.publish import PublishOptions

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The terms that version 1.0 of the format asks for."""

FIELDS = (
    ("id", "sc:Integer", "Number of the sample."),
    ("description", "sc:Text", "What is to be found."),
    ("image", "sc:ImageObject", "The picture, as it was stored."),
    ("bbox", "sc:Integer", "x1, y1, x2, y2 in pixels of the upright image; null: nothing matches."),
    ("detection_type", "sc:Text", "Class of the object."),
    ("subtask_l1", "sc:Text", "Category."),
    ("subtask_l2", "sc:Text", "Subtask within the category."),
    ("width", "sc:Integer", "Of the upright image, in pixels."),
    ("height", "sc:Integer", "Of the upright image, in pixels."),
)


def write(options: PublishOptions, folder: Path, samples: int) -> str:
    """The document for the parquet files in `folder/data`.

    Args:
        options: Name, licence, authors and so on.
        folder: Where the files are.
        samples: How many rows they have.
    """
    files = sorted((folder / "data").glob("*.parquet"))
    distribution: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": f"data/{path.name}",
            "name": path.name,
            "contentUrl": f"data/{path.name}",
            "contentSize": f"{path.stat().st_size} B",
            "encodingFormat": "application/x-parquet",
            "sha256": _sha256(path),
        }
        for path in files
    ]
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": options.name,
        "description": options.summary or f"{samples} samples for visual grounding and rejection.",
        **({"license": options.license} if options.license else {}),
        **(
            {"creator": [{"@type": "sc:Person", "name": one} for one in options.authors]}
            if options.authors
            else {}
        ),
        "distribution": distribution,
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": f"samples-{number}" if len(files) > 1 else "samples",
                "name": path.name,
                "field": [_field(path, number, len(files), *row) for row in FIELDS],
            }
            for number, path in enumerate(files)
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _field(path: Path, number: int, of: int, name: str, kind: str, about: str) -> dict[str, Any]:
    records = f"samples-{number}" if of > 1 else "samples"
    return {
        "@type": "cr:Field",
        "@id": f"{records}/{name}",
        "name": name,
        "description": about,
        "dataType": kind,
        **({"repeated": True} if name == "bbox" else {}),
        "source": {
            "fileObject": {"@id": f"data/{path.name}"},
            "extract": {"column": name},
            # The column holds the bytes and the file's name.
            **({"transform": {"jsonPath": "bytes"}} if name == "image" else {}),
        },
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
