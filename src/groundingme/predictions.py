"""Replies made elsewhere, as generations by sample id.

A file is known by what is in it, not by its name:

============  =====================================================================================
`jsonl`       one `{"id": ..., "reply": "..."}` a line; `reasoning` and `finish_reason` may stand
              beside them; a reply of null is a failed call
`run`         `generations.jsonl` of a run folder, or the folder: a later reply supersedes an
              earlier one and any failure
`results`     `results.json` of the benchmark's published script; its `errors` are failed calls
`vlmevalkit`  VLMEvalKit's predictions as xlsx, tsv, csv or json, with the columns `index` and
              `prediction`, and `thinking` where it splits the reasoning off; an empty prediction,
              and its "Failed to obtain answer" text, is a failed call
`lmms-eval`   lmms-eval's `*_samples_*.jsonl`; the reply is what its task scored
============  =====================================================================================

Nothing is dropped silently: a line that cannot be read is an error that names it, except for half
a line at the end of a run's own file, which a killed process leaves. An id that comes twice with
two replies is an error as well. Ids are text: 7 and "7" are one id.

Sources: the published script; VLMEvalKit's `inference.py` and `smp/file.py`; lmms-eval's
`loggers/evaluation_tracker.py` (0.4 to 0.7), whose lines name samples by row number unless the
task adds its own id, as the published one does.
"""

from __future__ import annotations

import csv
import io
import json
import re
import reprlib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from groundingme import files
from groundingme.errors import DataError
from groundingme.schema import Generation, Sample

XLSX_CELL = 32_767
"""Most characters that an xlsx cell holds; longer replies are cut by whoever writes the file."""

LONGEST_LINE = 2**27
"""Most bytes of a line: 128 MiB, a reply of 20 MB written in escapes."""
MAX_DOCUMENT = 2**30
"""Most bytes of a file that is read as a whole."""
MAX_XLSX = 2**28
"""Most bytes of an xlsx, unpacked: 8,000 replies that fill their cells. It takes thrice as much."""
_MOST_COLUMNS = 256

_FAILED = "Failed to obtain answer"
_ZIP = b"PK\x03\x04"
_BOM = b"\xef\xbb\xbf"
_GENERATION_FIELDS = frozenset(Generation.__struct_fields__)
_EXPECTED = (
    'lines of {"id": ..., "reply": "..."}, results.json of the published script, predictions of '
    "VLMEvalKit, samples of lmms-eval, or a run folder"
)

Row = dict[str, Any]


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """Replies from one file.

    Attributes:
        path: Where they came from.
        layout: `jsonl`, `run`, `results`, `vlmevalkit` or `lmms-eval`.
        generations: By id, in the order of the file.
        by_row: Whether those ids are row numbers of the data set, from 0; see `match`.
        notes: What the reader should know of the file, one line each.
    """

    path: Path
    layout: str
    generations: dict[str, Generation]
    by_row: bool = False
    notes: tuple[str, ...] = ()

    def match(self, samples: Sequence[Sample]) -> tuple[dict[str, Generation], list[str]]:
        """Finds the samples that the replies answer.

        Args:
            samples: All samples of the data set, before any selection.

        Returns:
            The generations by sample id, and the ids in the file that no sample has.
        """
        if not self.by_row:
            known = {sample.id for sample in samples}
            strangers = [id for id in self.generations if id not in known]
            return self.generations, strangers
        rows = {str(row): sample.id for row, sample in enumerate(samples)}
        found = {
            rows[id]: msgspec.structs.replace(one, id=rows[id])
            for id, one in self.generations.items()
            if id in rows
        }
        return found, [id for id in self.generations if id not in rows]


def read_predictions(path: str | Path) -> Predictions:
    """Reads replies that were made elsewhere, in any of the layouts above.

    Args:
        path: A file, or a run folder.

    Raises:
        DataError: The file is missing, empty, of no known layout, or has a line, row or id that
            cannot be read; the message names it.
    """
    path = Path(path)
    file = path / "generations.jsonl" if path.is_dir() else path
    try:
        with files.open_regular(file) as opened:
            first, number = _first_line(file, opened)
            head = _try_load(first) if first.lstrip()[:1] == b"{" else None
            if isinstance(head, dict) and "detailed_results" not in head:
                opened.seek(0)
                return _from_lines(file, opened, head)
            if not first.startswith(_ZIP) and first.lstrip()[:1] not in (b"{", b"["):
                _check_header(file, first.decode(errors="replace").replace("\t", ",").split(","))
                opened.seek(0)
                return _collect(file, "vlmevalkit", _table_rows(file, opened, first))
        data = files.read_bounded(file, MAX_DOCUMENT)
    except OSError as error:
        said = "a folder without generations.jsonl" if path.is_dir() else error.strerror
        raise DataError(f"expected {_EXPECTED}; got {path}: {said}") from None
    if data is None:
        raise DataError(
            f"expected at most {MAX_DOCUMENT} bytes in {file}, got more; write one JSON object a "
            "line, which is read line by line"
        )
    data = data.removeprefix(_BOM)
    if data.startswith(_ZIP):
        return _cut_cells(_collect(file, "vlmevalkit", _xlsx_rows(file, data)))
    return _from_document(file, data, first, number)


def _first_line(file: Path, opened: BinaryIO) -> tuple[bytes, int]:
    """The first line that is not blank, with its number; cut where it is too long."""
    files.check_utf8(opened.read(4), file)
    opened.seek(0)
    number = 0
    while line := opened.readline(LONGEST_LINE):
        number += 1
        line = line.removeprefix(_BOM) if number == 1 else line
        if line.strip():
            return line, number
    raise DataError(f"expected {_EXPECTED}; got the empty file {file}")


def _from_lines(file: Path, opened: BinaryIO, head: Row) -> Predictions:
    layout = _layout(file, head)
    rows = _json_lines(file, opened, torn_end=layout == "run")
    by_row = layout == "lmms-eval" and _own_id(head) is None
    return _collect(file, layout, rows, by_row=by_row)


def _from_document(file: Path, data: bytes, first: bytes, number: int) -> Predictions:
    document = _try_load(data)
    if isinstance(document, dict) and "detailed_results" in document:
        results, errors = document["detailed_results"] or [], document.get("errors") or []
        if not (isinstance(results, list) and isinstance(errors, list)):
            raise DataError(f"expected lists as detailed_results and errors, got others in {file}")
        return _collect(file, "results", _numbered(file, [*results, *errors], (dict, str)))
    if isinstance(document, list) and document and isinstance(document[0], dict):
        return _collect(file, _layout(file, document[0]), _numbered(file, document, (dict,)))
    if document is None:
        raise _broken(f"{file}, line {number}", first)
    raise DataError(f"expected {_EXPECTED}; got other JSON in {file}")


def _cut_cells(predictions: Predictions) -> Predictions:
    cut = sum(len(one.text) >= XLSX_CELL for one in predictions.generations.values())
    if not cut:
        return predictions
    note = (
        f"{cut} replies fill their xlsx cell of {XLSX_CELL:,} characters, so their end may be "
        "missing; score the tsv or json form of the same predictions instead"
    )
    return msgspec.structs.replace(predictions, notes=(note,))


def _layout(file: Path, row: Row) -> str:
    if "reply" in row and "id" in row:
        return "jsonl"
    if "doc_id" in row and ("filtered_resps" in row or "resps" in row):
        return "lmms-eval"
    if "index" in row and "prediction" in row:
        return "vlmevalkit"
    if "id" in row and row.keys() <= _GENERATION_FIELDS:
        return "run"
    keys = ", ".join(repr(key[:40]) for key in list(row)[:8])
    raise DataError(f"expected {_EXPECTED}; got the keys {keys} in {file}")


def _try_load(data: bytes) -> Any:
    """The JSON value, or None. Accepts what Python writes: NaN and halves of surrogate pairs."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            return None


def _broken(where: str, line: bytes) -> DataError:
    shown = line.strip()[:60].decode(errors="replace")
    return DataError(
        f"{where}: expected one JSON object a line, got {shown!r}; mend or delete the line"
    )


def _json_lines(file: Path, opened: BinaryIO, *, torn_end: bool) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(files.lines(opened, LONGEST_LINE), start=1):
        if line is None:
            raise _too_long(file, number)
        line = line.removeprefix(_BOM) if number == 1 else line
        if not line.strip():
            continue
        row = _try_load(line)
        if not isinstance(row, dict):
            # Half a line is what a killed process leaves; only the last lacks its line break.
            if torn_end and not line.endswith(b"\n"):
                return
            raise _broken(f"{file}, line {number}", line)
        yield f"line {number}", row


def _numbered(
    file: Path, rows: Iterable[Any], kinds: tuple[type, ...]
) -> Iterator[tuple[str, Any]]:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, kinds):
            raise DataError(
                f"{file}, entry {number}: expected a JSON object, got {reprlib.repr(row)[:60]}"
            )
        yield f"entry {number}", row


def _table_rows(file: Path, opened: BinaryIO, first: bytes) -> Iterator[tuple[str, Row]]:
    # The module's limit of 131,072 characters a field is for the whole process.
    limit = csv.field_size_limit(LONGEST_LINE)
    try:
        delimiter = "\t" if b"\t" in first else ","
        rows = list(csv.reader(_text_lines(file, opened), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"expected a table in {file}, got broken quotes: {error}") from None
    finally:
        csv.field_size_limit(limit)
    return _with_header(file, rows)


def _text_lines(file: Path, opened: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(files.lines(opened, LONGEST_LINE), start=1):
        if line is None:
            raise _too_long(file, number)
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise DataError(
                f"expected a table in UTF-8, got other bytes in {file}, line {number}"
            ) from None


def _too_long(file: Path, number: int) -> DataError:
    return DataError(
        f"{file}, line {number}: expected at most {LONGEST_LINE} bytes, got more; mend or "
        "delete the line"
    )


def _xlsx_rows(file: Path, data: bytes) -> Iterator[tuple[str, Row]]:
    return _with_header(file, _xlsx_cells(file, data))


def _xlsx_cells(file: Path, data: bytes) -> Iterator[list[Any]]:
    """Rows of the first sheet one by one, of which openpyxl holds the texts only."""
    import openpyxl

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            size = sum(member.file_size for member in members.infolist())
        if size <= MAX_XLSX:
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            sheet = book.worksheets[0]
            # A cell at the far end would make every row as wide, so the header says how wide.
            cells = next(sheet.iter_rows(max_row=1, max_col=_MOST_COLUMNS, values_only=True), ())
            header = list(cells)
            while header and header[-1] is None:
                header.pop()
            width = max(1, len(header))
            for row in sheet.iter_rows(max_col=width, values_only=True):
                yield list(row) if any(cell not in (None, "") for cell in row) else []
            return
    except Exception as error:  # noqa: BLE001 - a damaged file raises whatever zip and XML raise
        said = " ".join(str(error).split())[:200]
        raise DataError(f"expected an xlsx table in {file}, got a damaged one: {said}") from None
    raise DataError(
        f"expected an xlsx of at most {MAX_XLSX >> 20} MiB unpacked, got {size >> 20} MiB in "
        f"{file}; save it as TSV, which is read line by line"
    )


def _check_header(file: Path, header: Sequence[str]) -> None:
    if not {"index", "prediction"} <= {name.strip(' \r\n"\ufeff') for name in header}:
        found = ", ".join(repr(name.strip()[:20]) for name in header[:8])
        raise DataError(f"expected {_EXPECTED}; got a table with the columns {found} in {file}")


def _with_header(file: Path, rows: Iterable[list[Any]]) -> Iterator[tuple[str, Row]]:
    left = iter(rows)
    header = [str(name).strip() for name in next(left, [])]
    _check_header(file, header)
    for number, row in enumerate(left, start=2):
        if any(cell not in (None, "") for cell in row):
            yield f"row {number}", dict(zip(header, row, strict=False))


def _collect(
    file: Path, layout: str, rows: Iterable[tuple[str, Any]], *, by_row: bool = False
) -> Predictions:
    read = _READERS[layout]
    found: dict[str, Generation] = {}
    for where, row in rows:
        try:
            one = read(row)
        except KeyError as error:
            raise DataError(f"{file}, {where}: expected {error}, got an entry without it") from None
        except (ValueError, msgspec.ValidationError) as error:
            raise DataError(f"{file}, {where}: {error}") from None
        if one.trajectory:
            continue
        before = found.get(one.id)
        if before is None or before.failure:
            found[one.id] = one
        elif layout == "run":
            found[one.id] = before if one.failure else one
        elif not one.failure:
            raise DataError(
                f"{file}, {where}: expected one reply an id, got a second one for {one.id!r}; "
                "keep one of them"
            )
    return Predictions(path=file, layout=layout, generations=found, by_row=by_row)


def _plain(row: Row) -> Generation:
    for key in ("reasoning", "finish_reason"):
        if not isinstance(row.get(key) or "", str):
            raise ValueError(f"expected {key} as text, got {str(row[key])[:60]!r}; quote it")
    return _generation(
        row["id"], row["reply"], row.get("reasoning") or "", row.get("finish_reason") or ""
    )


def _stored(row: Row) -> Generation:
    return msgspec.convert({**row, "id": _id(row["id"])}, Generation)


def _published(row: Row | str) -> Generation:
    if isinstance(row, str):
        error = re.match(r"Sample (.+?): (.*)", row, re.DOTALL)
        if error is None:
            raise ValueError(f"expected 'Sample ID: MESSAGE', got {row[:60]!r}")
        return _failed(error[1], "call-failed", error[2])
    return _generation(row["id"], row["response"])


def _vlmevalkit(row: Row) -> Generation:
    prediction, thinking = row["prediction"], row.get("thinking")
    if prediction is None or prediction == "" or prediction != prediction:
        return _failed(row["index"], "no-reply", "the prediction is empty")
    if str(prediction).startswith(_FAILED):
        return _failed(row["index"], "call-failed", str(prediction))
    return _generation(row["index"], str(prediction), thinking if isinstance(thinking, str) else "")


def _lmms_eval(row: Row) -> Generation:
    own = _own_id(row)
    reply = row.get("filtered_resps", row.get("resps"))
    while isinstance(reply, list):
        reply = reply[0] if reply else ""
    return _generation(row["doc_id"] if own is None else own, reply)


def _own_id(row: Row) -> Any:
    """The id that a task's own figures or the stored document give a sample, or None."""
    for value in row.values():
        if isinstance(value, dict) and "ann_id" in value:
            return value["ann_id"]
    doc = row.get("doc")
    return doc.get("id") if isinstance(doc, dict) else None


def _generation(id: Any, reply: Any, reasoning: str = "", finish_reason: str = "") -> Generation:
    if reply is None:
        return _failed(id, "no-reply", "the reply is null")
    if not isinstance(reply, str):
        raise ValueError(f"expected the reply as text, got {str(reply)[:60]!r}; quote it")
    return Generation(id=_id(id), text=reply, reasoning=reasoning, finish_reason=finish_reason)


def _failed(id: Any, failure: str, detail: str) -> Generation:
    return Generation(id=_id(id), failure=failure, detail=" ".join(detail.split())[:300])


def _id(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"expected an id as text or whole number, got {reprlib.repr(value)}")


_READERS: dict[str, Callable[[Any], Generation]] = {
    "jsonl": _plain,
    "run": _stored,
    "results": _published,
    "vlmevalkit": _vlmevalkit,
    "lmms-eval": _lmms_eval,
}
