"""Runs in other tools' files, read back by what reads such files; and tracking, offline."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from groundingme import evaluate, score
from groundingme.alignment import Entry
from groundingme.cli import export as export_cli
from groundingme.cli import main
from groundingme.datasets import load_dataset
from groundingme.datasets.export import export as export_data
from groundingme.errors import MissingDependencyError, UnknownNameError, UsageError
from groundingme.exports import ENDINGS, FORMATS, export
from groundingme.frames import KINDS
from groundingme.loading import load_entry
from groundingme.models import Model, Request
from groundingme.predictions import XLSX_CELL, read_predictions
from groundingme.result import Result
from groundingme.schema import Generation

BOX = '{"bbox_2d": [20, 30, 60, 80]}'
REPLIES = {
    "1": BOX,
    "2": '{"bbox_2d": null}',
    "3": f"=HYPERLINK(1)\ttab \"quoted\" 'single', comma\r\nline {BOX}",
    "4": f"bell \x07 and a lone \r return, 物体 🐟 {BOX}",
    "5": BOX + " " + "long " * 8000,
    "6": '{"bbox_2d": [0, 0, 5, 5]}',
    "7": "I see nothing that I could read.",
    # 8 has no picture, so it fails.
}


class Scripted(Model):
    """Says what `REPLIES` has."""

    name = "mock/scripted"
    coords = "abs"

    async def generate(self, request: Request) -> Generation:
        return Generation(
            id=request.id, text=REPLIES[request.id], reasoning="first this\nthen that",
            finish_reason="stop", confidence=0.75, prompt_tokens=11, completion_tokens=7,
        )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "tiny"
    folder.mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (100, 90), "navy").save(folder / f"{name}.png")
    rows = []
    for at in range(1, 9):
        negative = at in (2, 7)
        rows.append(
            {"id": str(at), "image": "gone.png" if at == 8 else f"{'ab'[at % 2]}.png",
             "description": f"the thing, number {at}",
             "bbox": None if negative else [20, 30, 60, 80],
             "subtask_l1": "Rejection" if negative else "Spatial",
             "subtask_l2": "State" if negative else "Counting",
             "detection_type": "cup" if at % 2 else "", "width": 100, "height": 90}
        )  # fmt: skip
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


@pytest.fixture(scope="module")
def result(data: Path) -> Result:
    return evaluate(Scripted(), str(data), out=data.parent / "runs", max_failed=1)


@pytest.fixture(scope="module")
def entry(result: Result) -> Entry:
    assert result.path
    return load_entry(result.path)


def texts(path: Path) -> dict[str, str]:
    found = read_predictions(path)
    return {id: "FAILED" if one.failure else one.text for id, one in found.generations.items()}


@pytest.mark.parametrize("to", ["vlmevalkit-tsv", "lmms-eval"])
def test_replies_come_back_to_the_letter(to: str, entry: Entry, tmp_path: Path) -> None:
    path = tmp_path / f"out.{ENDINGS[to]}"
    assert export(entry, to, path) == []
    assert texts(path) == {**REPLIES, "8": "FAILED"}
    assert read_predictions(path).layout == ("lmms-eval" if to == "lmms-eval" else "vlmevalkit")


@pytest.mark.parametrize("to", ["vlmevalkit-tsv", "vlmevalkit-xlsx", "lmms-eval"])
@pytest.mark.parametrize("protocol", ["strict", "official"])
def test_the_scores_are_the_same(
    to: str, protocol: str, entry: Entry, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"out.{ENDINGS[to]}"
    export(entry, to, path)
    again = score(path, str(data), protocol=protocol)
    assert entry.path
    first = score(entry.path, protocol=protocol)
    assert again.metrics == pytest.approx(first.metrics, nan_ok=True)


def test_a_workbook_says_what_it_cannot_hold(entry: Entry, tmp_path: Path) -> None:
    import openpyxl

    path = tmp_path / "out.xlsx"
    notes = " ".join(export(entry, "vlmevalkit-xlsx", path))
    assert "1 texts are cut to the 32,767 characters" in notes
    assert "1 texts had signs that no workbook holds" in notes
    read = texts(path)
    assert read["3"].startswith("=HYPERLINK(1)\t")
    assert read["4"].startswith("bell \ufffd and")
    assert len(read["5"]) == XLSX_CELL
    assert read["8"] == "FAILED"
    sheet = openpyxl.load_workbook(path).worksheets[0]
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[0][:4] == ("index", "question", "answer", "width")
    assert rows[1][:3] == (1, "the thing, number 1", "[20, 30, 60, 80]")
    assert rows[2][2] == "null"


def test_reasoning_goes_to_its_own_column(entry: Entry, tmp_path: Path) -> None:
    export(entry, "vlmevalkit-tsv", tmp_path / "out.tsv")
    one = read_predictions(tmp_path / "out.tsv").generations["1"]
    assert one.reasoning == "first this\nthen that"


def test_lmms_eval_lines_have_its_keys(entry: Entry, tmp_path: Path) -> None:
    export(entry, "lmms-eval", tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["doc_id"] for row in rows] == list(range(8))
    assert rows[0]["target"] == "[20, 30, 60, 80]"
    assert rows[1]["target"] == "null"
    assert rows[0]["resps"] == [[BOX]]
    assert "the thing, number 1" in rows[0]["input"]
    assert rows[0]["groundingme_ACC@0.5"] == {
        "ann_id": "1", "pred": [20, 30, 60, 80], "outcome": "box", "iou": 1.0,
    }  # fmt: skip


def test_coco_results_fit_the_annotations_that_we_write(
    entry: Entry, data: Path, tmp_path: Path
) -> None:
    """As `loadRes` of the COCO tools checks it: known images and categories, x, y, w, h."""
    notes = export(entry, "coco", tmp_path / "results.json")
    results = json.loads((tmp_path / "results.json").read_text())
    # The missing picture goes: data sets are written with their images.
    dataset = load_dataset(str(data)).select(limit=7)
    annotations = json.loads(export_data(dataset, tmp_path / "coco", layout="coco").read_text())
    images = {one["id"]: one for one in annotations["images"]}
    expressions = {one["id"]: one for one in annotations["expressions"]}
    truth = {one["id"]: one for one in annotations["annotations"]}
    assert [one["sample_id"] for one in results] == ["1", "3", "4", "5", "6"]
    assert notes == ["3 samples have no box, so COCO results do not show them"]
    for one in results:
        expression = expressions[one["sample_id"]]
        assert one["image_id"] == expression["image_id"]
        assert one["image_id"] in images
        assert one["category_id"] == truth[expression["annotation_id"]]["category_id"]
        assert one["score"] == 0.75
        if one["sample_id"] != "6":
            assert one["bbox"] == truth[expression["annotation_id"]]["bbox"] == [20, 30, 40, 50]


def test_coco_results_load_in_pycocotools(entry: Entry, data: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="needs pycocotools")
    export(entry, "coco", tmp_path / "results.json")
    dataset = load_dataset(str(data)).select(limit=7)
    truth = coco.COCO(str(export_data(dataset, tmp_path / "coco", layout="coco")))
    assert len(truth.loadRes(str(tmp_path / "results.json")).anns) == 5


def check_rows(rows: list[dict[str, Any]]) -> None:
    assert [row["id"] for row in rows] == [str(at) for at in range(1, 9)]
    assert list(rows[0]) == list(KINDS)
    first, second, last = rows[0], rows[1], rows[-1]
    assert (first["target_x1"], first["box_y2"], first["iou"]) == (20.0, 80.0, 1.0)
    assert first["right"]
    assert first["image"].endswith("b.png")
    assert second["target_x1"] is None
    assert second["outcome"] == "rejected"
    assert second["box_x1"] is None
    assert last["outcome"] == "failed"
    assert last["failure"] == "image"
    assert last["confidence"] is None
    assert rows[2]["reply"] == REPLIES["3"]
    assert rows[3]["reply"] == REPLIES["4"]
    assert first["prompt_tokens"] == 11


def test_parquet_reads_back(entry: Entry, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    assert export(entry, "parquet", tmp_path / "out.parquet") == []
    table = pq.read_table(tmp_path / "out.parquet")
    check_rows(table.to_pylist())
    assert str(table.schema.field("target_x1").type) == "double"
    assert str(table.schema.field("reasoning_tokens").type) == "int64"


def test_csv_reads_back(entry: Entry, tmp_path: Path) -> None:
    assert export(entry, "csv", tmp_path / "out.csv") == []
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    typed = [
        {
            name: None if not text and kind is not str
            else text == "True" if kind is bool
            else kind(text)
            for (name, text), kind in zip(row.items(), KINDS.values(), strict=True)
        }
        for row in rows
    ]  # fmt: skip
    check_rows(typed)


def test_pandas(result: Result) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = result.to_pandas()
    assert frame.shape == (8, len(KINDS))
    assert frame["right"].mean() == pytest.approx(result.accuracy)
    assert frame.groupby("subtask_l1")["right"].sum().to_dict() == {"Rejection": 1, "Spatial": 4}
    assert frame["iou"].dtype == np.float64
    assert frame["reasoning_tokens"].isna().all()
    assert frame["target_x1"].isna().sum() == 2
    assert frame["description"][0] == "the thing, number 1"
    assert isinstance(frame, pandas.DataFrame)


def test_polars(result: Result) -> None:
    polars = pytest.importorskip("polars", reason="needs polars")
    frame = result.to_polars()
    assert frame.shape == (8, len(KINDS))
    assert frame["right"].sum() == 5
    assert frame.schema["target_x1"] == polars.Float64
    assert frame["target_x1"].null_count() == 2


def test_frames_of_a_rescored_run_are_the_same(result: Result) -> None:
    assert result.path
    again = score(result.path).columns()
    first = result.columns()
    assert {k: v for k, v in again.items() if k != "image"} == {
        k: v for k, v in first.items() if k != "image"
    }


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_pandas"), ("polars", "to_polars")])
def test_a_missing_library_names_its_line(
    package: str, method: str, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=f"pip install {package}"):
        getattr(result, method)()


def test_inspect_without_its_library(
    entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'groundingme\[inspect\]'"):
        export(entry, "inspect", tmp_path / "out.eval")


@pytest.mark.skipif(importlib.util.find_spec("inspect_ai") is None, reason="needs inspect_ai")
@pytest.mark.parametrize("ending", ["eval", "json"])
def test_inspect_reads_its_log(ending: str, entry: Entry, tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log

    path = tmp_path / f"out.{ending}"
    assert export(entry, "inspect", path) == []
    log = read_eval_log(str(path))
    assert log.status == "success"
    assert log.eval.model == "mock/scripted"
    assert log.results
    assert log.results.scores[0].metrics["ACC@0.5"].value == pytest.approx(5 / 8)
    assert log.samples
    assert len(log.samples) == 8
    by_id = {one.id: one for one in log.samples}
    assert by_id["3"].output.completion == REPLIES["3"]
    assert by_id["1"].scores
    assert by_id["1"].scores["ACC@0.5"].value == 1.0
    assert by_id["6"].scores
    assert by_id["6"].scores["ACC@0.5"].value == 0.0
    assert by_id["2"].target == "null"
    assert by_id["8"].error
    assert by_id["8"].error.message.startswith("image: expected an image at")
    assert by_id["1"].output.usage
    assert by_id["1"].output.usage.total_tokens == 18


def test_an_inspect_log_needs_one_of_two_endings(entry: Entry, tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai", reason="needs inspect_ai")
    with pytest.raises(UsageError, match=r"\.eval or \.json"):
        export(entry, "inspect", tmp_path / "out.txt")


def test_mistakes_are_told(entry: Entry, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="export format"):
        export(entry, "excel", tmp_path / "x")
    with pytest.raises(UsageError, match="got the folder"):
        export(entry, "csv", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="expected a file that can be written"):
        export(entry, "csv", tmp_path / "file" / "out.csv")


def test_the_command_names_every_format() -> None:
    assert list(FORMATS) == list(export_cli._NAMES) == list(ENDINGS)


def test_the_command(entry: Entry, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out.json"
    done = CliRunner().invoke(main, ["export", str(entry.path), "--to", "coco", "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("8 samples: ")
    assert "Note: 3 samples have no box" in done.stderr
    assert len(json.loads(out.read_text())) == 5
    refused = CliRunner().invoke(main, ["export", str(tmp_path), "--to", "csv"])
    assert refused.exit_code == 2
    assert "expected a run folder" in refused.output
