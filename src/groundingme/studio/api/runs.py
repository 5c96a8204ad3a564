"""Runs, their samples, comparisons and data sets: to look at."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response, StreamingResponse

from groundingme.evaluation import check_protocol
from groundingme.protocols import PROTOCOLS
from groundingme.schema import Sample
from groundingme.studio import comparing, sampled, sheets, shown
from groundingme.studio.board import PATIENCE, Board, Line
from groundingme.studio.context import Studio, studio
from groundingme.studio.desk import Desk, desk
from groundingme.studio.errors import not_found
from groundingme.studio.library import Opened
from groundingme.studio.live import Tail, is_running
from groundingme.studio.shown import Filter, Pictured

router = APIRouter(tags=["runs"])

Parts = Annotated[Studio, Depends(studio)]
Offset = Annotated[int, Query(ge=0, le=10**9)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Protocol = Annotated[str, Query(max_length=40, description=f"One of {', '.join(PROTOCOLS)}.")]
Text = Annotated[str, Query(max_length=300)]

EVERY = 1.0
"""Seconds between two events of a run in progress."""


OnDesk = Annotated[Desk, Depends(desk)]


def chosen(
    l1: Text = "",
    l2: Text = "",
    outcome: Text = "",
    right: Literal["", "true", "false"] = "",
    kind: Text = "",
    query: Text = "",
    order: Text = "id",
) -> Filter:
    """Which samples, and in which order."""
    wanted = right == "true" if right else None
    return Filter(l1=l1, l2=l2, outcome=outcome, right=wanted, kind=kind, query=query, order=order)


Chosen = Annotated[Filter, Depends(chosen)]


def reply(value: Any) -> Response:
    """JSON in which what is not a number is null."""
    return Response(msgspec.json.encode(value), media_type="application/json")


def sheet(name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Response:
    """CSV to download, written while it is sent."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    headers = {"Content-Disposition": f'attachment; filename="{safe}.csv"'}
    return StreamingResponse(
        sheets.lines(columns, rows), media_type="text/csv; charset=utf-8", headers=headers
    )


def _lines(
    board: Board, protocol: str, model: str, data: str, query: str, patience: float
) -> list[Line]:
    check_protocol(protocol)
    found = board.lines(protocol, patience=patience)
    wanted = query.casefold()
    return [
        one
        for one in found
        if model in ("", one.run.model)
        and data in ("", one.run.data_name)
        and wanted in f"{one.id} {one.run.model} {one.run.data_name}".casefold()
    ]


@router.get("/runs")
def list_of_runs(
    on: OnDesk,
    protocol: Protocol = "strict",
    model: Text = "",
    data: Text = "",
    query: Text = "",
    offset: Offset = 0,
    limit: Limit = 200,
) -> Response:
    """The runs, the newest first, with their figures as far as they are computed."""
    found = _lines(on.board, protocol, model, data, query, PATIENCE)
    return reply(
        {
            "items": [one.as_dict() for one in found[offset : offset + limit]],
            "total": len(found),
            "pending": sum(one.figures is None and not one.problem for one in found),
            "models": sorted({one.run.model for one in found}),
            "data": sorted({one.run.data_name for one in found}),
            "protocols": PROTOCOLS,
        }
    )


RUN_COLUMNS = (
    "id", "model", "data", "subset", "limit", "thinking", "created", "samples", "done", "failed",
    "unparsed", "running", "accuracy", "accuracy_low", "accuracy_high", "rejection",
    "rejection_low", "rejection_high", "best_rank", "worst_rank", "tokens", "usd",
)  # fmt: skip


def _flat(line: Line) -> dict[str, Any]:
    row = line.as_dict()
    for name in ("accuracy", "rejection"):
        figure = row[name]
        row |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    best, worst = line.rank or (None, None)
    return row | {"best_rank": best, "worst_rank": worst}


@router.get("/runs.csv", response_class=Response)
def sheet_of_runs(
    on: OnDesk,
    protocol: Protocol = "strict",
    model: Text = "",
    data: Text = "",
    query: Text = "",
) -> Response:
    """The same as CSV, all figures computed."""
    found = _lines(on.board, protocol, model, data, query, float("inf"))
    return sheet("runs", RUN_COLUMNS, map(_flat, found))


@router.get("/runs/{id}")
def page_of_run(id: str, parts: Parts, on: OnDesk, protocol: Protocol = "strict") -> Response:
    """A run: figures, settings, accuracy by category and subtask, notes."""
    opened = parts.library.open(id, protocol)
    line = on.board.line(id, protocol)
    return reply({**line.as_dict(), **on.page(opened)})


@router.get("/runs/{id}/rows.csv", response_class=Response)
def sheet_of_rows(id: str, parts: Parts, on: OnDesk, protocol: Protocol = "strict") -> Response:
    """Accuracy by category and subtask as CSV."""
    rows = on.page(parts.library.open(id, protocol))["rows"]
    return sheet(f"{id}-subtasks", shown.MATRIX_COLUMNS, rows)


@router.get("/runs/{id}/selectors")
def selectors_of_run(id: str, parts: Parts, on: OnDesk) -> Response:
    """What each way to choose among several trajectories is worth; empty in a run with one each."""
    found = on.ways(parts.library.open(id))
    return reply({"items": found, "total": len(found)})


@router.get("/runs/{id}/selectors.csv", response_class=Response)
def sheet_of_selectors(id: str, parts: Parts, on: OnDesk) -> Response:
    """The same as CSV."""
    found = on.ways(parts.library.open(id))
    return sheet(f"{id}-selectors", sampled.SELECTOR_COLUMNS, found)


def _pictured(parts: Studio, id: str) -> Pictured:
    return functools.partial(parts.pictures.key, "run", id)


@router.get("/runs/{id}/samples")
def samples_of_run(
    id: str,
    parts: Parts,
    on: OnDesk,
    which: Chosen,
    protocol: Protocol = "strict",
    offset: Offset = 0,
    limit: Limit = 200,
) -> Response:
    """Samples of a run that pass a filter."""
    opened = parts.library.open(id, protocol)
    rows = which.rows(opened)
    page = shown.sample_items(opened, rows[offset : offset + limit], _pictured(parts, id))
    return reply({"items": list(page), "total": len(rows)})


@router.get("/runs/{id}/samples.csv", response_class=Response)
def sheet_of_samples(
    id: str, parts: Parts, which: Chosen, protocol: Protocol = "strict"
) -> Response:
    """All of them as CSV."""
    opened = parts.library.open(id, protocol)
    items = shown.sample_items(opened, which.rows(opened), lambda sample: "")
    return sheet(f"{id}-samples", shown.SAMPLE_COLUMNS, items)


def _row(opened: Opened, sample: str) -> int:
    at = opened.places.get(sample)
    if at is None:
        raise not_found("a sample", sample)
    return at


@router.get("/runs/{id}/samples/{sample:path}")
def sample_of_run(
    id: str,
    sample: str,
    parts: Parts,
    on: OnDesk,
    which: Chosen,
    protocol: Protocol = "strict",
) -> Response:
    """A sample with its reply, trajectories, verdicts, and its neighbours in a filter."""
    opened = parts.library.open(id, protocol)
    row = _row(opened, sample)
    page = shown.sample_page(opened, row, _pictured(parts, id))
    return reply({**page, **shown.neighbours(opened, which, row)})


@router.get("/runs/{id}/events", response_class=Response)
def events_of_run(id: str, parts: Parts, protocol: Protocol = "strict") -> Response:
    """Server-sent events of a run in progress, one a second; the last one is named `end`."""
    opened = parts.library.open(id, protocol)
    tail = Tail(opened.path, opened.run, opened.samples, protocol)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(opened, tail), media_type="text/event-stream", headers=headers)


async def _events(opened: Opened, tail: Tail) -> AsyncIterator[bytes]:
    while True:
        running = is_running(opened.path)
        told = {**await asyncio.to_thread(tail.read), "running": running}
        name = b"" if running else b"event: end\n"
        yield name + b"data: " + msgspec.json.encode(told) + b"\n\n"
        if not running:
            return
        await asyncio.sleep(EVERY)


Runs = Annotated[list[str], Query(description="Two to four runs.", max_length=16)]


@router.get("/compare")
def comparison(
    on: OnDesk,
    run: Runs,
    protocol: Protocol = "strict",
    offset: Offset = 0,
    limit: Limit = 200,
) -> Response:
    """Two to four runs on the samples that all of them were asked; flips are paged."""
    found = on.comparisons.of(run, protocol)
    return reply(comparing.document(found, run, offset, limit))


@router.get("/compare.csv", response_class=Response)
def sheet_of_comparison(
    on: OnDesk, run: Runs, protocol: Protocol = "strict", table: Text = "pairs"
) -> Response:
    """A table of a comparison as CSV: `pairs` (with all groups), or `flips`."""
    found = on.comparisons.of(run, protocol)
    if table == "pairs":
        rows = comparing.pairs(found, run, every=True)
        return sheet("compare", comparing.PAIR_COLUMNS, rows)
    if table != "flips":
        raise not_found("a table (pairs or flips)", table)
    flips = (
        {
            "id": one.id,
            "description": found.samples[one.index].description,
            **dict(zip(run, one.right, strict=True)),
        }
        for one in found.flips
    )
    return sheet("flips", ("id", "description", *run), flips)


@router.get("/compare/samples/{sample:path}")
def compared_sample(
    sample: str, run: Runs, parts: Parts, on: OnDesk, protocol: Protocol = "strict"
) -> Response:
    """A sample as each run answered it."""
    found = []
    for id in run[: comparing.MOST]:
        opened = parts.library.open(id, protocol)
        page = shown.sample_page(opened, _row(opened, sample), _pictured(parts, id))
        found.append({"run": id, "model": opened.run.model, **page})
    return reply({"id": sample, "runs": found})


@router.get("/datasets")
def list_of_datasets(parts: Parts, offset: Offset = 0, limit: Limit = 200) -> Response:
    """Data sets under the roots, and the drawn one."""
    found = parts.library.data.places()
    page = [{"name": one.name} for one in found[offset : offset + limit]]
    return reply({"items": page, "total": len(found)})


def _found(parts: Studio, name: str, query: str) -> list[Sample]:
    wanted = query.casefold()
    dataset = parts.library.data.find(name)
    return [one for one in dataset if wanted in f"{one.id}\n{one.description}".casefold()]


def _sample(one: Sample, picture: str | None) -> dict[str, Any]:
    return {
        "id": one.id,
        "description": one.description,
        "l1": one.subtask_l1,
        "l2": one.subtask_l2,
        "target": one.target,
        "width": one.width or None,
        "height": one.height or None,
        "problem": one.problem,
        "picture": picture,
    }


@router.get("/datasets/{name:path}/samples")
def samples_of_dataset(
    name: str,
    parts: Parts,
    on: OnDesk,
    query: Text = "",
    offset: Offset = 0,
    limit: Limit = 200,
) -> Response:
    """Samples of a data set."""
    found = _found(parts, name, query)
    page = [
        _sample(one, parts.pictures.key("data", name, one.id) if one.image else None)
        for one in found[offset : offset + limit]
    ]
    return reply({"items": page, "total": len(found)})


@router.get("/datasets/{name:path}/samples.csv", response_class=Response)
def sheet_of_dataset(name: str, parts: Parts, query: Text = "") -> Response:
    """All of them as CSV."""
    columns = ("id", "description", "l1", "l2", "target:box", "width", "height", "problem")
    return sheet("samples", columns, (_sample(one, None) for one in _found(parts, name, query)))
