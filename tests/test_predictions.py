"""Replies made elsewhere: each of the five layouts as a real file, and files with faults."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundingme.errors import DataError
from groundingme.predictions import XLSX_CELL, Predictions, read_predictions
from groundingme.schema import Generation, Sample

BOM = b"\xef\xbb\xbf"
LONG = "思" * 40_000 + ' "quoted", tab\t, line\nend'


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def read(folder: Path, data: bytes, name: str = "file") -> Predictions:
    path = folder / name
    path.write_bytes(data)
    return read_predictions(path)


def texts(found: Predictions) -> dict[str, str]:
    return {id: one.failure or one.text for id, one in found.generations.items()}


def problem(folder: Path, data: bytes) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, data)
    message = str(caught.value)
    assert str(folder / "file") in message
    assert "xpected" in message
    assert "\n" not in message
    return message


def table(rows: list[dict[str, Any]], delimiter: str) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


def workbook(path: Path, rows: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


# One `{"id": ..., "reply": ...}` a line.


def test_jsonl(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        lines(
            {"id": "a", "reply": '{"bbox_2d": [1, 2, 3, 4]}'},
            {"id": 7, "reply": "", "reasoning": "Hmm", "finish_reason": "length", "mine": 1},
            {"id": 8.0, "reply": None},
            {"id": "c", "reply": LONG},
        ),
        "replies.txt",
    )
    assert (found.layout, found.by_row, found.notes) == ("jsonl", False, ())
    assert found.path == tmp_path / "replies.txt"
    assert list(found.generations) == ["a", "7", "8", "c"]
    assert found.generations["a"] == Generation(id="a", text='{"bbox_2d": [1, 2, 3, 4]}')
    assert found.generations["7"] == Generation(id="7", reasoning="Hmm", finish_reason="length")
    assert found.generations["8"].failure == "no-reply"
    assert found.generations["c"].text == LONG


def test_jsonl_with_blank_lines_carriage_returns_and_no_end(tmp_path: Path) -> None:
    data = b'\r\n{"id": "a", "reply": "x"}\r\n\r\n  \n{"id": "b", "reply": "y"}'
    assert texts(read(tmp_path, data)) == {"a": "x", "b": "y"}


def test_a_list_of_the_same_entries(tmp_path: Path) -> None:
    entries = [{"id": "a", "reply": "x"}, {"id": "b", "reply": "y"}]
    for data in (json.dumps(entries).encode(), json.dumps(entries, indent=2).encode()):
        found = read(tmp_path, data)
        assert (found.layout, texts(found)) == ("jsonl", {"a": "x", "b": "y"})


def test_what_python_writes_as_json_is_read(tmp_path: Path) -> None:
    data = b'{"id": "a", "reply": "half \\ud83d", "score": NaN}\n'
    assert texts(read(tmp_path, data)) == {"a": "half \ud83d"}


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=30), min_size=1, max_size=6))
def test_any_text_goes_there_and_back(
    tmp_path_factory: pytest.TempPathFactory, replies: dict[str, str]
) -> None:
    rows = [{"id": id, "reply": reply} for id, reply in replies.items()]
    found = read(tmp_path_factory.mktemp("any"), lines(*rows))
    assert {id: one.text for id, one in found.generations.items()} == replies


# A run folder.


def test_a_run_folder_and_its_file(tmp_path: Path) -> None:
    path = tmp_path / "generations.jsonl"
    path.write_bytes(
        lines(
            {"id": "a", "failure": "timeout", "detail": "60 s"},
            {"id": "b", "text": "x", "latency": 1.5, "completion_tokens": 9, "attempts": 2},
            {"id": "c", "text": "old"},
            {"id": "a", "text": "later", "sent_width": 4},
            {"id": "c", "text": "new"},
            {"id": "b", "failure": "rate-limit"},
            {"id": "b", "trajectory": 1, "text": "another try"},
            {"id": "d", "failure": "timeout"},
            {"id": "d", "failure": "server"},
        )
    )
    for source in (tmp_path, path, str(tmp_path)):
        found = read_predictions(source)
        assert (found.layout, found.path, found.by_row) == ("run", path, False)
        assert texts(found) == {"a": "later", "b": "x", "c": "new", "d": "server"}
    assert found.generations["a"].sent_width == 4
    assert found.generations["b"] == Generation(
        id="b", text="x", latency=1.5, completion_tokens=9, attempts=2
    )


def test_half_a_line_at_the_end_of_a_run_is_what_a_killed_process_leaves(tmp_path: Path) -> None:
    whole = lines({"id": "a", "text": "x"}, {"id": "b", "text": "y"})
    for end in (b'{"id":"c","te', b"{", b'{"id":"c","text":"half \xe6\x80'):
        assert texts(read(tmp_path, whole + end)) == {"a": "x", "b": "y"}
    # With a line end behind it, it is damage; so it is in the middle.
    assert "line 3" in problem(tmp_path, whole + b'{"id":"c","te\n')
    assert "line 1:" in problem(tmp_path, b'{"id":"c","te\n' + whole)
    assert "line 2" in problem(tmp_path, lines({"id": "a", "text": "x"}) + b"{\n" + whole)


def test_half_a_line_elsewhere_is_an_error(tmp_path: Path) -> None:
    assert "line 2" in problem(tmp_path, lines({"id": "a", "reply": "x"}) + b'{"id": "b", "re')


def test_a_run_of_numeric_ids_and_wrong_types(tmp_path: Path) -> None:
    assert texts(read(tmp_path, lines({"id": 7, "text": "x"}))) == {"7": "x"}
    assert "line 2" in problem(tmp_path, lines({"id": "a", "text": "x"}, {"id": "b", "text": 3}))


# The published script's results.json.


def test_published_results(tmp_path: Path) -> None:
    document = {
        "metrics": {"ACC@0.5": 0.5},
        "detailed_results": [
            {"id": 1, "response": "[1, 2, 3, 4]", "iou": 0.4},
            {"id": "2", "response": "null", "iou": 1.0},
        ],
        "errors": ["Sample 3: Connection error.\nTry again", "Sample 4: a: b"],
    }
    for data in (json.dumps(document).encode(), BOM + json.dumps(document, indent=4).encode()):
        found = read(tmp_path, data, "results.json")
        assert found.layout == "results"
        assert texts(found) == {
            "1": "[1, 2, 3, 4]",
            "2": "null",
            "3": "call-failed",
            "4": "call-failed",
        }
        assert found.generations["3"].detail == "Connection error. Try again"
        assert found.generations["4"].detail == "a: b"


def test_published_results_without_errors_or_with_damage(tmp_path: Path) -> None:
    good = {"id": 1, "response": "x"}
    for extra in ({}, {"errors": []}, {"errors": None}):
        data = json.dumps({"detailed_results": [good]} | extra).encode()
        assert texts(read(tmp_path, data)) == {"1": "x"}
    data = json.dumps({"detailed_results": [good, {"id": 2}]}, indent=1).encode()
    assert "entry 2: expected 'response'" in problem(tmp_path, data)
    data = json.dumps({"detailed_results": [good], "errors": ["boom"]}).encode()
    assert "entry 2: expected 'Sample ID: MESSAGE'" in problem(tmp_path, data)
    problem(tmp_path, json.dumps({"detailed_results": [good]}, indent=1).encode()[:-5])


@pytest.mark.parametrize(
    "document",
    [
        {"detailed_results": {"1": "x"}},
        {"detailed_results": [[1, "x"]]},
        {"detailed_results": [None]},
        {"detailed_results": "x"},
        {"detailed_results": 7},
        {"detailed_results": [], "errors": 7},
        [{"id": "a", "reply": "x"}, "b"],
        [{"id": "a", "reply": "x"}, None],
        [{"index": 0, "prediction": "x"}, [1, "y"]],
    ],
)
def test_documents_of_another_shape_are_an_error(tmp_path: Path, document: object) -> None:
    problem(tmp_path, json.dumps(document).encode())


# VLMEvalKit.

ROWS: list[dict[str, Any]] = [
    {"index": 0, "question": "the cup", "prediction": '{"bbox_2d": [1, 2, 3, 4]}'},
    {"index": 1, "question": "a, b\tc", "prediction": 'no\nmatch, "none"'},
    {"index": 2, "question": "", "prediction": ""},
    {"index": 3, "question": "", "prediction": "Failed to obtain answer via API."},
]
READ = {"0": ROWS[0]["prediction"], "1": ROWS[1]["prediction"], "2": "no-reply", "3": "call-failed"}


@pytest.mark.parametrize("bom", [b"", BOM])
@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_vlmevalkit_tables(tmp_path: Path, delimiter: str, bom: bytes) -> None:
    found = read(tmp_path, bom + table(ROWS, delimiter))
    assert (found.layout, texts(found), found.notes) == ("vlmevalkit", READ, ())
    assert found.generations["3"].detail == "Failed to obtain answer via API."


def test_vlmevalkit_csv_keeps_its_comma_where_a_header_is_quoted(tmp_path: Path) -> None:
    found = read(tmp_path, b'"index","prediction"\n"5","a\tb"\n')
    assert texts(found) == {"5": "a\tb"}


def test_vlmevalkit_xlsx(tmp_path: Path) -> None:
    rows = [list(ROWS[0]), *(list(row.values()) for row in ROWS), [None, None, None]]
    rows[3][2] = None
    path = workbook(tmp_path / "model_GroundingME.xlsx", rows)
    found = read_predictions(path)
    assert (found.layout, texts(found), found.notes) == ("vlmevalkit", READ, ())


def test_vlmevalkit_json(tmp_path: Path) -> None:
    for data in (json.dumps(ROWS).encode(), json.dumps(ROWS, indent=4).encode(), lines(*ROWS)):
        found = read(tmp_path, data)
        assert (found.layout, texts(found)) == ("vlmevalkit", READ)


def test_vlmevalkit_keeps_the_reasoning_that_it_splits_off(tmp_path: Path) -> None:
    rows = [{"index": 0, "prediction": "null", "thinking": "Hmm"}, ROWS[0] | {"index": 1}]
    for data in (table([rows[0]], "\t"), json.dumps(rows).encode()):
        assert read(tmp_path, data).generations["0"] == Generation(
            id="0", text="null", reasoning="Hmm"
        )


def test_vlmevalkit_predictions_that_look_like_numbers_are_text(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "a.xlsx", [["index", "prediction"], [1, 42], ["x7", 0.5], [2.0, True]]
    )
    assert texts(read_predictions(path)) == {"1": "42", "x7": "0.5", "2": "True"}


def test_replies_that_fill_an_xlsx_cell_are_noted(tmp_path: Path) -> None:
    rows = [["index", "prediction"], [0, "x" * XLSX_CELL], [1, "y" * (XLSX_CELL - 1)]]
    found = read_predictions(workbook(tmp_path / "a.xlsx", rows))
    assert len(found.notes) == 1
    assert found.notes[0].startswith("1 repl")
    assert "32,767" in found.notes[0]
    # A tsv holds them whole, beyond the csv module's own limit as well.
    limit = csv.field_size_limit()
    whole = read(tmp_path, table([{"index": 0, "prediction": "x" * 200_000}], "\t"))
    assert (len(whole.generations["0"].text), whole.notes) == (200_000, ())
    assert csv.field_size_limit() == limit


def test_damaged_tables_are_errors(tmp_path: Path) -> None:
    good = workbook(tmp_path / "good.xlsx", [["index", "prediction"], [0, "x"]]).read_bytes()
    assert "damaged" in problem(tmp_path, good[: len(good) // 2])
    assert "columns 'index', 'answer'" in problem(tmp_path, b"index,answer\n1,x\n")
    assert "quotes" in problem(tmp_path, b'index,prediction\n1,"x\n')
    assert "UTF-8" in problem(tmp_path, "index,prediction\n1,é\n".encode("latin-1"))
    assert "row 3" in problem(tmp_path, b"index,prediction\n1,x\n1,y\n")
    assert "row 3" in problem(tmp_path, b"index,prediction\n1,x\n2\n")
    other = workbook(tmp_path / "other.xlsx", [["a", "b"], [0, "x"]]).read_bytes()
    assert "columns 'a', 'b'" in problem(tmp_path, other)
    assert "columns" in problem(tmp_path, workbook(tmp_path / "no.xlsx", []).read_bytes())


# lmms-eval.


def lmms(doc_id: Any, reply: Any, **fields: Any) -> dict[str, Any]:
    return {"doc_id": doc_id, "target": "", "resps": [[reply]], "filtered_resps": [reply]} | fields


def test_lmms_eval_by_row(tmp_path: Path) -> None:
    found = read(tmp_path, lines(lmms(1, "one"), lmms(0, "zero"), lmms(2, "two")))
    assert (found.layout, found.by_row) == ("lmms-eval", True)
    assert texts(found) == {"1": "one", "0": "zero", "2": "two"}


def test_lmms_eval_by_the_ids_of_its_task(tmp_path: Path) -> None:
    figures = {"grounding_acc": {"ann_id": 501, "iou": 0.2}}
    found = read(tmp_path, lines(lmms(0, "x", **figures)))
    assert (found.by_row, texts(found)) == (False, {"501": "x"})
    found = read(tmp_path, lines(lmms(0, "x", doc={"id": "s-9"})))
    assert (found.by_row, texts(found)) == (False, {"s-9": "x"})


def test_lmms_eval_takes_what_was_scored(tmp_path: Path) -> None:
    row = lmms(0, "raw") | {"filtered_resps": ["stripped"]}
    assert texts(read(tmp_path, lines(row))) == {"0": "stripped"}
    row = {"doc_id": 0, "resps": [["raw"]]}
    assert texts(read(tmp_path, lines(row))) == {"0": "raw"}
    row = {"doc_id": 0, "filtered_resps": []}
    assert texts(read(tmp_path, lines(row))) == {"0": ""}


# Ids, and files of no use.


def test_a_bom_before_lines_is_no_part_of_them(tmp_path: Path) -> None:
    assert texts(read(tmp_path, BOM + lines({"id": "a", "reply": "x"}))) == {"a": "x"}


def test_one_id_with_two_replies_is_an_error_that_names_it(tmp_path: Path) -> None:
    a, b = {"id": "7", "reply": "x"}, {"id": 7, "reply": "y"}
    assert "line 2" in problem(tmp_path, lines(a, b))
    assert "'7'" in problem(tmp_path, lines(a, b))
    assert "entry 2" in problem(tmp_path, json.dumps([a, b]).encode())
    assert "line 2" in problem(tmp_path, lines(lmms(0, "x"), lmms(0, "y")))


def test_a_failure_beside_a_reply_gives_way_to_it(tmp_path: Path) -> None:
    failed, good = {"id": "7", "reply": None}, {"id": "7", "reply": "x"}
    assert texts(read(tmp_path, lines(failed, good))) == {"7": "x"}
    assert texts(read(tmp_path, lines(good, failed))) == {"7": "x"}
    assert texts(read(tmp_path, lines(failed, failed))) == {"7": "no-reply"}


@pytest.mark.parametrize("id", [None, True, 1.5, [1], {"a": 1}])
def test_an_id_that_is_neither_text_nor_a_whole_number_is_an_error(
    tmp_path: Path, id: object
) -> None:
    data = lines({"id": "a", "reply": "x"}, {"id": id, "reply": "y"})
    assert "line 2: expected an id" in problem(tmp_path, data)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"not json", "one JSON object a line"),
        (b'["a", "x"]', "one JSON object a line"),
        (b"7", "one JSON object a line"),
        (b"null", "one JSON object a line"),
        (b'{"id": "b", "reply": "x"', "one JSON object a line"),
        (b'{"id": "b"}', "expected 'reply'"),
        (b'{"reply": "x"}', "expected 'id'"),
        (b'{"id": "b", "reply": 7}', "expected the reply as text"),
        (b'{"id": "b", "reply": ["x"]}', "expected the reply as text"),
        (b'{"id": "b", "reply": "x", "reasoning": 7}', "reasoning"),
        (b'{"id": "b", "reply": "x", "finish_reason": ["stop"]}', "finish_reason"),
        (b'{"id": "b", "reply": "\xff\xfe"}', "one JSON object a line"),
        (b"[" * 20_000, "one JSON object a line"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: bytes, said: str) -> None:
    data = lines({"id": "a", "reply": "x"}) + line + b"\n" + lines({"id": "z", "reply": "x"})
    message = problem(tmp_path, data)
    assert "line 2" in message
    assert said in message
    assert len(message) < 1000


@pytest.mark.parametrize("data", [b"", b" \n\t\r\n", BOM, BOM + b"\n"])
def test_an_empty_file_is_an_error(tmp_path: Path, data: bytes) -> None:
    assert "empty file" in problem(tmp_path, data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"question": 1, "answer": 2}\n',
        b'{"id": "a", "answer": "x"}\n',
        b"{}",
        b"[]",
        b"[1, 2]",
        b'["a"]',
        b"[[]]",
        b"[[1, 2, 3, 4]]",
        b"a text about nothing",
        b"7",
        b"\x89PNG\r\n\x1a\n\0\0\0",
        b"PK\x03\x04 no workbook",
        b'{"id": "a", "reply": ',
        b"[{]",
    ],
)
def test_a_file_of_no_known_layout_is_an_error(tmp_path: Path, data: bytes) -> None:
    problem(tmp_path, data)


def test_a_missing_file_and_a_folder_that_is_no_run(tmp_path: Path) -> None:
    missing = (tmp_path / "no.jsonl", "No such file"), (tmp_path, "without generations.jsonl")
    for path, said in missing:
        with pytest.raises(DataError, match=said) as caught:
            read_predictions(path)
        assert str(path) in str(caught.value)


# To the samples.


def samples(*ids: str) -> list[Sample]:
    return [Sample(id=id, description="", target=None) for id in ids]


def test_match_by_id(tmp_path: Path) -> None:
    found = read(tmp_path, lines({"id": 1, "reply": "x"}, {"id": "zz", "reply": "y"}))
    generations, strangers = found.match(samples("0", "1", "2"))
    assert generations["1"].text == "x"
    assert strangers == ["zz"]


def test_match_by_row(tmp_path: Path) -> None:
    found = read(tmp_path, lines(lmms(0, "first"), lmms(2, "third"), lmms(3, "none")))
    # Row numbers are no ids, even where an id looks like one.
    generations, strangers = found.match(samples("1", "0", "s-3"))
    assert {id: one.text for id, one in generations.items()} == {"1": "first", "s-3": "third"}
    assert all(one.id == id for id, one in generations.items())
    assert strangers == ["3"]
    assert found.generations["0"].id == "0"


def test_match_against_nothing(tmp_path: Path) -> None:
    by_id = read(tmp_path, lines({"id": 1, "reply": "x"}))
    assert by_id.match([])[1] == ["1"]
    by_row = read(tmp_path, lines(lmms(0, "x")))
    assert by_row.match([]) == ({}, ["0"])


def test_ten_thousand_long_replies_take_moments(tmp_path: Path) -> None:
    data = lines(*({"id": i, "reply": "word " * 200} for i in range(10_000)))
    began = time.process_time()
    assert len(read(tmp_path, data).generations) == 10_000
    assert time.process_time() - began < 4
