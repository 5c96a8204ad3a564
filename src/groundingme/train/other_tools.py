"""Mixtures in the files that other training tools read.

==================  ===============================================================================
`ms-swift`          `ms-swift.jsonl`: `messages` and `images`, with `<image>` where it stands
`llama-factory`     `llama-factory.json` in the sharegpt layout, and `dataset_info.json` beside it
==================  ===============================================================================

The answers hold final numbers in the family's own space, so neither tool is to convert boxes.
Sources: ms-swift, docs/source_en/Customization/Custom-dataset.md; LLaMA-Factory, data/README.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from groundingme.store import write_atomically
from groundingme.train.folders import write_json
from groundingme.train.mixture import Mixture, read_rows

TOOLS = ("ms-swift", "llama-factory")


def write_for(tool: str, mixture: Mixture) -> None:
    """Writes a mixture's files for a tool of `TOOLS` into its folder."""
    if tool == "ms-swift":
        # Its document prefers absolute paths: relative ones are taken from wherever it is started.
        lines = (json.dumps(row, ensure_ascii=False) for row in _rows(mixture, absolute=True))
        write_atomically(mixture.folder / "ms-swift.jsonl", ("\n".join(lines) + "\n").encode())
        return
    assert tool == "llama-factory"
    write_json(mixture.folder / "llama-factory.json", list(_rows(mixture, absolute=False)))
    write_json(
        mixture.folder / "dataset_info.json",
        {
            "groundingme": {
                "file_name": "llama-factory.json",
                "formatting": "sharegpt",
                "columns": {"messages": "messages", "images": "images"},
                "tags": {
                    "role_tag": "role", "content_tag": "content", "user_tag": "user",
                    "assistant_tag": "assistant",
                },
            }
        },
    )  # fmt: skip


def _rows(mixture: Mixture, *, absolute: bool) -> Iterator[dict[str, Any]]:
    for row in mixture.rows() if absolute else read_rows(mixture.folder):
        asked, said = row["prompt"][0]["content"], row["completion"][0]["content"]
        yield {
            "messages": [
                {"role": "user", "content": f"<image>{asked}"},
                {"role": "assistant", "content": said},
            ],
            "images": [row["image"]],
        }
