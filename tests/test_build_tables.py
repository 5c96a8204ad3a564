"""Records in parquet: what is written reads back, for any number of boxes and words."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundingme.build import tables
from groundingme.build.records import Change, Detections, Picture, Target, Verdict
from groundingme.errors import DataError

words = st.text(max_size=12)
numbers = st.floats(-1e6, 1e6)
boxes = st.tuples(numbers, numbers, numbers, numbers)


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    count = draw(st.integers(0, 5))
    found = Detections.of(
        np.array(draw(st.lists(boxes, min_size=count, max_size=count))).reshape(count, 4),
        draw(st.lists(words, min_size=count, max_size=count)),
        np.array(draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))),
    )
    found.fates[:] = draw(st.integers(0, 7))
    found.subtasks[:] = draw(st.integers(0, 2**12 - 1))
    tags = draw(st.lists(words, max_size=3))
    return Picture(
        id=draw(words), where=draw(words), width=draw(st.integers(0, 99999)),
        hash=draw(st.integers(0, 2**64 - 1)), sharpness=draw(numbers), fate=draw(words),
        failure=draw(words), tags=tags, tag_scores=[0.5] * len(tags), found=found,
    )  # fmt: skip


targets = st.builds(
    Target, id=words, picture=words, where=words, width=st.integers(0, 9999),
    height=st.integers(0, 9999), box=boxes, label=words, score=numbers, subtask_l1=words,
    subtask_l2=words, others=st.lists(boxes, max_size=3), drafts=st.lists(words, max_size=3),
    description=words, flags=st.lists(words, max_size=2), rank=st.floats(0, 1),
    changes=st.lists(
        st.builds(Change, kind=words, before=words, after=words, by=words), max_size=2
    ),
    verdicts=st.lists(
        st.builds(Verdict, model=words, outcome=words, box=st.none() | boxes, iou=st.floats(0, 1),
                  agrees=st.booleans()),
        max_size=2,
    ),
)  # fmt: skip


def same(one: Picture, other: Picture) -> bool:
    mine, theirs = vars(one).copy(), vars(other).copy()
    a, b = vars(mine.pop("found")), vars(theirs.pop("found"))
    return mine == theirs and all(np.array_equal(a[name], b[name]) for name in a)


@settings(max_examples=60, deadline=None)
@given(st.lists(pictures(), max_size=4))
def test_pictures_read_back(some: list[Picture]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "0.parquet")
        tables.write(path, some, Picture)
        there = tables.read_pictures(path)
        assert len(there) == len(some)
        assert all(map(same, some, there))
        for one in there:
            one.found.fates[:] = 1  # stages change them in place


@settings(max_examples=60, deadline=None)
@given(st.lists(targets, max_size=4))
def test_targets_read_back(some: list[Target]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "0.parquet")
        tables.write(path, some, Target)
        assert tables.read_targets(path) == some


def test_any_reader_of_parquet_sees_the_boxes(tmp_path: Path) -> None:
    found = Detections.of(np.array([[1, 2, 3, 4.5]]), ["cup"], np.array([0.5]))
    tables.write(tmp_path / "0.parquet", [Picture(id="a", where="w", found=found)], Picture)
    (row,) = pq.read_table(tmp_path / "0.parquet").to_pylist()
    assert row["boxes"] == [[1.0, 2.0, 3.0, 4.5]]
    assert row["labels"] == ["cup"]


def test_what_is_no_shard_is_named(tmp_path: Path) -> None:
    path = tmp_path / "0.parquet"
    path.write_bytes(b"PAR1")
    for read in (tables.read_pictures, tables.read_targets):
        with pytest.raises(DataError, match="delete the file and run again"):
            read(path)
    tables.write(path, [Picture(id="a", where="w")], Picture)
    with pytest.raises(DataError, match="delete the file and run again"):
        tables.read_targets(path)


def test_no_half_shard_stays_where_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(table: object, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        tables.write(tmp_path / "0.parquet", [], Picture)
    assert not list(tmp_path.iterdir())
