"""Scenes: a procedural grounding benchmark with exact boxes, on any machine, offline.

    load_dataset("scenes")                      1,005 samples in the paper's proportions
    load_dataset("scenes-hard")                 more and more similar things, smaller ones
    load_dataset("scenes-8k")                   tiny things in pictures of 7680 x 4320
    load_dataset("scenes:seed=7,n=200,distractors=4-8")

Pictures are drawn when they are asked for. Where to look: `catalog` says what there is, `scene`
how a scene is written down, `casting` and `layout` how one is put together, `logic` what a
description means and whether it is true, `language` how it is said, `generator` how questions are
made, `sprites` and `render` how all of it is drawn, `presets` which data sets there are.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from groundingme.datasets import FORMATS, Dataset, Format
from groundingme.errors import DataError


def _make(spec: str) -> Dataset:
    from groundingme.datasets.scenes.presets import make_dataset

    return make_dataset(spec)


def _no_path(path: Path, split: str | None) -> NoReturn:
    raise DataError(f"expected scenes:KEY=VALUE,... such as scenes:seed=1,n=50, got {path}")


for _name, _summary in (
    ("scenes", "drawn on the spot: 1,005 samples of all twelve subtasks, or scenes:seed=1,n=50"),
    ("scenes-hard", "the same, harder: crowded, similar, smaller, longer descriptions"),
    ("scenes-8k", "the same, tiny things in pictures of 7680 x 4320"),
):
    FORMATS.register(
        _name,
        Format(summary=_summary, load=_no_path, detects=lambda path: False, make=_make),
    )
