"""Data sets to measure with: JPEGs of the size and detail of photographs, and canned replies.

    python bench/data.py images OUT WIDTH HEIGHT SAMPLES
    python bench/data.py replies OUT SAMPLES

`images` writes OUT/folder (samples.jsonl and one JPEG a sample) and OUT/parquet (the same bytes in
the published columns). The pictures are 1/f noise with grain, as photographs are in their
statistics: about 1 MB at 2250 x 1500. A handful are drawn; each file carries its number in a
comment, so that no two files are the same bytes. `replies` writes samples without pictures and the
replies of an imaginary model, in the proportions of `ORDINARY`.
"""

from __future__ import annotations

import io
import json
import random
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

DRAWN = 4
ROW_GROUP = 100
"""Rows in a row group, as the Hub's own library writes pictures; its pages are small ones too."""
SUBTASKS = (
    ("Discriminative", "Appearance"),
    ("Spatial", "Counting"),
    ("Limited", "Small"),
    ("Rejection", "State"),
)


def pink(height: int, width: int, rng: np.random.Generator) -> Any:
    """1/f noise of shape `(height, width)` in [0, 1], float32."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    frequency = np.hypot(fy, fx).astype(np.float32)
    frequency[0, 0] = 1
    shape = frequency.shape
    spectrum = rng.standard_normal(shape, np.float32) + 1j * rng.standard_normal(shape, np.float32)
    plane = np.fft.irfft2(spectrum / frequency**1.4, s=(height, width)).astype(np.float32)
    low, high = np.percentile(plane[::7, ::7], (1, 99))
    return np.clip((plane - low) / (high - low), 0, 1)


def photo(width: int, height: int, rng: np.random.Generator) -> bytes:
    """One JPEG, three channels, chroma halved in both directions."""
    luma = pink(height, width, rng) * 176 + 10
    # Grain of two pixels, as a camera's demosaicing leaves it; less of it where pixels abound.
    grain = rng.standard_normal((height // 2 + 1, width // 2 + 1), np.float32)
    luma += np.kron(grain, np.ones((2, 2), np.float32))[:height, :width] * (
        5 if width < 4000 else 3
    )
    pixels = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        tint = np.roll(luma, (channel + 1) * height // 5, axis=0)
        pixels[..., channel] = np.clip(luma + tint * 0.25, 0, 255)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92, subsampling=2)
    return buffer.getvalue()


def numbered(jpeg: bytes, number: int) -> bytes:
    """The same picture with its number in a comment behind the start marker."""
    comment = b"%08d" % number
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment + jpeg[2:]


def row(number: int, width: int, height: int) -> dict[str, Any]:
    """The published columns of one sample, without its picture."""
    l1, l2 = SUBTASKS[number % len(SUBTASKS)]
    x, y = number * 37 % (width // 2), number * 53 % (height // 2)
    return {
        "id": str(number),
        "description": f"the {l2.lower()} object number {number}, beside the second patch",
        "bbox": None if l1 == "Rejection" else [x, y, x + width // 4, y + height // 4],
        "subtask_l1": l1,
        "subtask_l2": l2,
        "width": width,
        "height": height,
    }


def write_images(out: Path, width: int, height: int, samples: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(7)
    drawn = [photo(width, height, rng) for _ in range(DRAWN)]
    images = out / "folder" / "images"
    images.mkdir(parents=True)
    (out / "parquet").mkdir()
    schema = pa.schema(
        {
            "id": pa.string(),
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "description": pa.string(),
            "bbox": pa.list_(pa.float64()),
            "subtask_l1": pa.string(),
            "subtask_l2": pa.string(),
            "width": pa.int64(),
            "height": pa.int64(),
        }
    )
    shard = out / "parquet" / "test-00000-of-00001.parquet"
    with (
        (out / "folder" / "samples.jsonl").open("w") as lines,
        pq.ParquetWriter(shard, schema, use_content_defined_chunking=True) as writer,
    ):
        for first in range(0, samples, ROW_GROUP):
            group = []
            for number in range(first, min(first + ROW_GROUP, samples)):
                data = numbered(drawn[number % DRAWN], number)
                name = f"{number}.jpg"
                (images / name).write_bytes(data)
                one = row(number, width, height)
                lines.write(json.dumps({**one, "image": f"images/{name}"}) + "\n")
                group.append({**one, "image": {"bytes": data, "path": name}})
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
    size = sum(map(len, drawn)) / DRAWN / 1e6
    print(json.dumps({"samples": samples, "size": [width, height], "jpeg_mb": round(size, 2)}))


ORDINARY = (
    (60, '{{"bbox_2d": [{x1}, {y1}, {x2}, {y2}]}}'),
    (15, '{{"bbox_2d": null}}'),
    (10, '```json\n[\n\t{{"bbox_2d": [{x1}, {y1}, {x2}, {y2}], "label": "object"}}\n]\n```'),
    (5, 'The object is on the left. {{"bbox_2d": [{x1}, {y1}, {x2}, {y2}]}}'),
    (5, '<think>{thought}</think>\n{{"bbox_2d": [{x1}, {y1}, {x2}, {y2}]}}'),
    (3, "There is no matching object in the image."),
    (2, "I am not able to determine a single object that fits this description."),
)
"""How many in a hundred, and what they say: most models answer in the asked JSON alone."""


def write_replies(out: Path, samples: int) -> None:
    rng = random.Random(7)
    kinds, weights = [text for _, text in ORDINARY], [weight for weight, _ in ORDINARY]
    thought = "The second candidate stands behind the first one, so it does not fit. " * 10
    out.mkdir(parents=True)
    with (out / "samples.jsonl").open("w") as rows, (out / "replies.jsonl").open("w") as replies:
        for number in range(samples):
            one = row(number, 2250, 1500)
            x1, y1, x2, y2 = one["bbox"] or (10, 20, 300, 400)
            (kind,) = rng.choices(kinds, weights)
            reply = kind.format(x1=x1, y1=y1, x2=x2, y2=y2, thought=thought)
            rows.write(json.dumps(one) + "\n")
            replies.write(json.dumps({"id": one["id"], "reply": reply}) + "\n")


if __name__ == "__main__":
    kind, out, *numbers = sys.argv[1:]
    write = {"images": write_images, "replies": write_replies}[kind]
    write(Path(out), *map(int, numbers))
