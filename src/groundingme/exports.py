"""Runs in the files of other tools.

====================  =============================================================================
`vlmevalkit-xlsx`     VLMEvalKit's predictions: `index`, `question`, `answer`, `prediction`, ...
`vlmevalkit-tsv`      the same as TSV, which cuts no reply
`lmms-eval`           lmms-eval's samples, one JSON object a line
`inspect`             an Inspect log (`.eval` or `.json`), through the library `inspect_ai`
`coco`                COCO results: one `bbox` as x, y, width, height for each sample with a box
`csv`, `parquet`      every sample with its target, reply and score (the columns of `frames`)
====================  =============================================================================

Replies are written as they came. What a format cannot hold is said in a note, never dropped in
silence.

Sources: VLMEvalKit's `smp/file.py`; lmms-eval's `loggers/evaluation_tracker.py`; the COCO results
format, https://cocodataset.org/#format-results.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from groundingme import frames, geometry, metrics, prompts
from groundingme.alignment import Entry
from groundingme.errors import MissingDependencyError, UsageError
from groundingme.predictions import XLSX_CELL
from groundingme.registry import unknown
from groundingme.schema import Generation, Sample, Score

FAILED = "Failed to obtain answer via API."
"""What VLMEvalKit writes where a call failed."""

Notes = list[str]


def export(entry: Entry, to: str, path: str | Path) -> Notes:
    """Writes one run.

    Args:
        entry: The run, scored; see `loading.load_entry`.
        to: A name in `FORMATS`.
        path: File to write; its folder is made.

    Returns:
        What the format could not hold, one line each.

    Raises:
        UsageError: An unknown format, or a file that cannot be written.
        MissingDependencyError: The format's library is not installed.
    """
    if to not in FORMATS:
        raise unknown("export format", to, FORMATS)
    place = Path(path)
    if place.is_dir():
        raise UsageError(f"expected a file to write, got the folder {place}; add a name to it")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        return FORMATS[to](entry, place)
    except OSError as error:
        raise UsageError(
            f"expected a file that can be written, got {place} ({error.strerror or error}); "
            "name another"
        ) from None


def _rows(entry: Entry) -> Iterator[tuple[Sample, Generation, Score]]:
    """Samples with what was replied; one that was not asked has failed."""
    for sample, score in zip(entry.samples, entry.scores, strict=True):
        reply = entry.generations.get(sample.id)
        yield sample, reply or Generation(id=sample.id, failure="not-asked"), score


def _answer(sample: Sample) -> str:
    """The target as text; `null` where nothing matches."""
    edges = None if sample.target is None else [_short(edge) for edge in sample.target]
    return json.dumps(edges)


def _short(value: float) -> int | float:
    return int(value) if float(value).is_integer() else float(value)


def _number(id: str) -> int | str:
    """An id as a number, where that is the same id."""
    return int(id) if id.isascii() and id.isdecimal() and str(int(id)) == id else id


_VLMEVALKIT = ("index", "question", "answer", "width", "height", "subtask_l1", "subtask_l2",
               "prediction", "thinking")  # fmt: skip


def _vlmevalkit_rows(entry: Entry) -> Iterator[list[Any]]:
    for sample, reply, _ in _rows(entry):
        prediction = f"{FAILED} {reply.failure}: {reply.detail}" if reply.failure else reply.text
        yield [
            _number(sample.id), sample.description, _answer(sample), sample.width, sample.height,
            sample.subtask_l1, sample.subtask_l2, prediction, reply.reasoning,
        ]  # fmt: skip


def _empty_note(entry: Entry) -> Notes:
    empty = sum(not (reply.text or reply.failure) for _, reply, _ in _rows(entry))
    if not empty:
        return []
    return [f"{empty} replies are empty, which VLMEvalKit takes for failed calls"]


def _vlmevalkit_tsv(entry: Entry, path: Path) -> Notes:
    with path.open("w", encoding="utf-8", newline="", errors="replace") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(_VLMEVALKIT)
        writer.writerows(_vlmevalkit_rows(entry))
    return _empty_note(entry)


# What XML 1.0, and so a workbook, cannot hold.
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def _vlmevalkit_xlsx(entry: Entry, path: Path) -> Notes:
    import openpyxl
    from openpyxl.cell import WriteOnlyCell

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")
    sheet.append(list(_VLMEVALKIT))
    cut = changed = 0
    for row in _vlmevalkit_rows(entry):
        cells = []
        for value in row:
            if not isinstance(value, str):
                cells.append(WriteOnlyCell(sheet, value))
                continue
            text = _NO_XML.sub("\ufffd", value)
            changed += text != value
            cut += len(text) > XLSX_CELL
            cell = WriteOnlyCell(sheet, text[:XLSX_CELL])
            # A reply that starts with an equals sign is text, not a formula.
            cell.data_type = "s"
            cells.append(cell)
        sheet.append(cells)
    book.save(path)
    notes = _empty_note(entry)
    if cut:
        notes.append(
            f"{cut} texts are cut to the {XLSX_CELL:,} characters of a cell; vlmevalkit-tsv cuts "
            "none"
        )
    if changed:
        notes.append(f"{changed} texts had signs that no workbook holds; they became \ufffd")
    return notes


def _lmms_eval(entry: Entry, path: Path) -> Notes:
    with path.open("w", encoding="utf-8") as file:
        for number, (sample, reply, score) in enumerate(_rows(entry)):
            text = None if reply.failure else reply.text
            row = {
                "doc_id": number,
                "doc": {
                    "id": sample.id,
                    "description": sample.description,
                    "bbox": json.loads(_answer(sample)),
                    "subtask_l1": sample.subtask_l1,
                    "subtask_l2": sample.subtask_l2,
                    "width": sample.width,
                    "height": sample.height,
                },
                "target": _answer(sample),
                "input": prompts.render(entry.run.prompt, sample.description),
                "resps": [[text]],
                "filtered_resps": [text],
                "groundingme_ACC@0.5": {
                    "ann_id": sample.id,
                    "pred": score.box,
                    "outcome": score.outcome,
                    "iou": score.iou if math.isfinite(score.iou) else None,
                },
            }
            # ASCII alone: whatever a reply holds, the line is whole.
            file.write(json.dumps(row) + "\n")
    return []


_STOPS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter"}


def _inspect(entry: Entry, path: Path) -> Notes:
    try:
        from inspect_ai import log as logs
    except ImportError:
        raise MissingDependencyError(
            "expected the package inspect_ai for an Inspect log, got none; "
            "pip install 'groundingme[inspect]'"
        ) from None
    if path.suffix not in (".eval", ".json"):
        raise UsageError(f"expected a name that ends in .eval or .json, got {path}; rename it")
    run = entry.run
    figures = {
        name: value
        for name, value in metrics.summarize(entry.scores).items()
        if not math.isnan(value)
    }
    samples = [_inspect_sample(entry, *row) for row in _rows(entry)]
    log = logs.EvalLog(
        status="success",
        eval=logs.EvalSpec(
            created=run.created or "1970-01-01T00:00:00+00:00",
            task=f"groundingme/{run.data_name}",
            dataset=logs.EvalDataset(
                name=run.data_name, location=run.data, samples=len(samples),
                sample_ids=[one.id for one in entry.samples],
            ),
            model=run.model,
            config=logs.EvalConfig(),
            packages=run.versions,
            metadata={"protocol": entry.scores.protocol, "coords": run.coords,
                      "prompt": run.prompt, "settings": run.settings,
                      "data_fingerprint": run.data_fingerprint},
        ),
        results=logs.EvalResults(
            total_samples=len(samples),
            completed_samples=sum(one.error is None for one in samples),
            scores=[
                logs.EvalScore(
                    name="ACC@0.5", scorer=f"groundingme/{entry.scores.protocol}",
                    metrics={name: logs.EvalMetric(name=name, value=value)
                             for name, value in figures.items()},
                )
            ],
        ),
        samples=samples,
    )  # fmt: skip
    logs.write_eval_log(log, str(path))
    return []


def _inspect_sample(entry: Entry, sample: Sample, reply: Generation, score: Score) -> Any:
    from inspect_ai.log import EvalError, EvalSample
    from inspect_ai.model import (
        ChatCompletionChoice,
        ChatMessageAssistant,
        ChatMessageUser,
        ContentReasoning,
        ContentText,
        ModelOutput,
        ModelUsage,
    )
    from inspect_ai.scorer import Score as InspectScore

    asked = ChatMessageUser(content=prompts.render(entry.run.prompt, sample.description))
    thought = [ContentReasoning(reasoning=reply.reasoning)] if reply.reasoning else []
    said = ChatMessageAssistant(
        content=[*thought, ContentText(text=reply.text)] if thought else reply.text,
        model=entry.run.model,
    )
    used, made = reply.prompt_tokens or 0, reply.completion_tokens or 0
    output = ModelOutput(
        model=entry.run.model,
        choices=[
            ChatCompletionChoice(
                message=said, stop_reason=_STOPS.get(reply.finish_reason, "unknown")
            )
        ],
        usage=ModelUsage(
            input_tokens=used, output_tokens=made, total_tokens=used + made,
            reasoning_tokens=reply.reasoning_tokens,
        ),
        time=reply.latency,
    )  # fmt: skip
    iou = score.iou if math.isfinite(score.iou) else 0.0
    error = None
    if reply.failure:
        error = EvalError(message=f"{reply.failure}: {reply.detail}", traceback="",
                          traceback_ansi="")  # fmt: skip
    return EvalSample(
        id=sample.id,
        epoch=1,
        input=[asked],
        target=_answer(sample),
        messages=[asked] if error else [asked, said],
        output=ModelOutput() if error else output,
        scores={
            "ACC@0.5": InspectScore(
                value=float(iou >= 0.5), answer=json.dumps(score.box), explanation=score.reason,
                metadata={"outcome": score.outcome, "iou": iou, "scored": score.scored},
            )
        },
        metadata={"subtask_l1": sample.subtask_l1, "subtask_l2": sample.subtask_l2,
                  "image": entry.images.get(sample.id, ""), "description": sample.description},
        error=error,
    )  # fmt: skip


def _coco(entry: Entry, path: Path) -> Notes:
    """Numbers images and categories as `datasets.export` does: by first appearance, from 1."""
    images: dict[str, int] = {}
    categories: dict[str, int] = {}
    for sample in entry.samples:
        if sample.target is not None:
            categories.setdefault(sample.detection_type or "object", len(categories) + 1)
    found = []
    for sample, reply, score in _rows(entry):
        name = sample.image.name if sample.image else entry.images.get(sample.id)
        image = images.setdefault(name or f"sample {sample.id}", len(images) + 1)
        kind = categories.setdefault(sample.detection_type or "object", len(categories) + 1)
        if score.box is None:
            continue
        sure = 1.0 if reply.confidence is None else float(reply.confidence)
        found.append(
            {"image_id": image, "category_id": kind,
             "bbox": geometry.to_xywh([score.box])[0].tolist(), "score": sure,
             "sample_id": sample.id}
        )  # fmt: skip
    path.write_text(json.dumps(found), encoding="utf-8")
    left = len(entry.samples) - len(found)
    return [f"{left} samples have no box, so COCO results do not show them"] if left else []


def _csv(entry: Entry, path: Path) -> Notes:
    columns = frames.columns(entry.samples, entry.scores, entry.generations, entry.images)
    with path.open("w", encoding="utf-8", newline="") as file:
        # Lines end as RFC 4180 has it, so that a lone carriage return in a reply is quoted.
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return []


def _parquet(entry: Entry, path: Path) -> Notes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = frames.columns(entry.samples, entry.scores, entry.generations, entry.images)
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in frames.KINDS.items()])
    pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")
    return []


FORMATS: dict[str, Callable[[Entry, Path], Notes]] = {
    "vlmevalkit-xlsx": _vlmevalkit_xlsx,
    "vlmevalkit-tsv": _vlmevalkit_tsv,
    "lmms-eval": _lmms_eval,
    "inspect": _inspect,
    "coco": _coco,
    "csv": _csv,
    "parquet": _parquet,
}
"""What writes each format."""

ENDINGS = {"vlmevalkit-xlsx": "xlsx", "vlmevalkit-tsv": "tsv", "lmms-eval": "jsonl",
           "inspect": "eval", "coco": "json", "csv": "csv", "parquet": "parquet"}  # fmt: skip
"""Usual end of a file's name, by format."""
