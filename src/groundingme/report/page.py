"""The report: one HTML file that needs nothing else, neither a network nor a server.

A strict content policy lets only this page's own script and style run, by their digests, and
forbids every connection; model text is data that the script shows as text.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import msgspec

import groundingme
from groundingme.alignment import Entry
from groundingme.comparison import ALL
from groundingme.datasets import Dataset
from groundingme.errors import UsageError
from groundingme.report import charts, commands, tables, trajectories
from groundingme.report.contents import PICTURED, Contents, gather
from groundingme.report.document import head, static
from groundingme.report.findings import Finding, findings, limits, next_steps
from groundingme.report.gallery import MOST, Gallery, gallery
from groundingme.report.marks import box_legend, breakable, legend
from groundingme.report.markup import Html, join, tag
from groundingme.report.svg import patterns
from groundingme.store import write_atomically
from groundingme.terminal import cell

MAX_BYTES = 15_000_000
"""Of the whole page, with as many samples as `MOST`."""
RESERVED, RESERVED_A_RUN = 200_000, 40_000
"""Bytes for everything but samples, style and script; 8 runs took 123,000 in all."""

SIDE_BY_SIDE = 3
"""Most runs whose table of subtasks leaves room for the radar beside it."""

TRAJECTORIES = "trajectories"
SECTIONS = (
    ("summary", "Summary"), ("leaderboard", "Leaderboard"), ("subtasks", "Subtasks"),
    ("curves", "Curves"), (TRAJECTORIES, "Trajectories"), ("mistakes", "Mistakes"),
    ("settings", "Settings"), ("again", "Reproduce"), ("samples", "Samples"),
)  # fmt: skip


def save(
    entries: Sequence[Entry],
    path: Path,
    *,
    dataset: Dataset | None = None,
    lead: str = "",
    most: int = MOST,
    max_bytes: int = MAX_BYTES,
    workers: int | None = None,
    tick: Callable[[int, int], None] | None = None,
    csv_folder: Path | None = None,
) -> Contents:
    """Writes the report of one run or more.

    Args:
        entries: Runs, scored under one protocol.
        path: HTML file to write; its folder is made.
        dataset: Where the pictures are; None looks where the runs say that their data are.
        lead: A sentence of the caller's own for the summary.
        most: Most samples in the gallery.
        max_bytes: Most bytes of the page; pictures become smaller for it.
        workers: Processes that decode images; one a core by default.
        tick: Called with the number of images that are done, and of all.
        csv_folder: Folder for the tables as CSV, too; made where it is missing.

    Returns:
        What the report was made of.

    Raises:
        UsageError: The runs share no sample, or a file cannot be written.
    """
    contents = gather(entries, dataset=dataset, lead=lead)
    text = page(contents, most=most, max_bytes=max_bytes, workers=workers, tick=tick)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
        for name, rows in csv_tables(contents).items() if csv_folder else ():
            assert csv_folder
            csv_folder.mkdir(parents=True, exist_ok=True)
            write_atomically(csv_folder / name, _csv(rows).encode())
    except OSError as error:
        raise UsageError(
            f"expected a place that can be written, got {error.filename or path} "
            f"({error.strerror}); name another"
        ) from None
    return contents


def page(
    contents: Contents,
    *,
    most: int = MOST,
    max_bytes: int = MAX_BYTES,
    workers: int | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> str:
    """The report as HTML text.

    Args:
        contents: Of `gather`.
        most: Most samples in the gallery.
        max_bytes: Most bytes of the page; pictures become smaller for it.
        workers: Processes that decode images; one a core by default.
        tick: Called with the number of images that are done, and of all.
    """
    style, script = static("report.css"), static("report.js")
    rest = len((style + script).encode()) + RESERVED + RESERVED_A_RUN * len(contents.entries)
    trials: dict[str, Html] = {}
    if contents.sampled:
        trials[TRAJECTORIES], size = trajectories.sections(contents.sampled, workers=workers)
        rest += size
    # Most of the pictures' work is done by other processes, and the sections take this one.
    with ThreadPoolExecutor(1) as beside:
        later = beside.submit(_sections, contents)
        samples = gallery(contents, max_bytes - rest, most=most, workers=workers, tick=tick)
        sections = {**later.result(), **trials}
    sections["samples"] = _samples(contents, samples)
    run = contents.entries[0].run
    title = f"{run.data_name}: {', '.join(one.label for one in contents.marks[:3])}"
    if len(contents.marks) > 3:
        title += f" and {len(contents.marks) - 3} more"
    body = tag(
        "body",
        tag("a", "Skip to the summary", href="#summary", class_="skip"),
        _top(contents),
        tag("main", *(
            tag("section", tag("h2", name), sections[id], id=id, aria_label=name)
            for id, name in _named(contents)
        )),
        _foot(),
        tag("script", _json(samples.data), type="application/json", id="data"),
        tag("script", Html("\n".join(samples.pictures)), type="text/plain", id="pictures"),
        tag("script", Html(script)),
    )  # fmt: skip
    return f"<!doctype html>\n{tag('html', head(title, script), body, lang='en')}\n"


def _named(contents: Contents) -> list[tuple[str, str]]:
    """Id and name of every section that there is something for."""
    return [one for one in SECTIONS if one[0] != TRAJECTORIES or contents.sampled]


def _json(data: object) -> Html:
    """JSON that no text in it can end: `<` is written as an escape, so there is no `</script>`."""
    return Html(msgspec.json.encode(data).decode().replace("<", "\\u003c"))


def _top(contents: Contents) -> Html:
    links = (tag("a", name, href=f"#{id}") for id, name in _named(contents))
    return tag(
        "header",
        tag("nav", tag("div", *links, class_="links"),
            tag("button", "Theme", id="theme", type="button", hidden=True,
                aria_label="Switch between light, dark and the system's colours"),
            aria_label="Sections"),
        tag("div", tag("p", "Visual grounding report", class_="kicker"),
            tag("h1", breakable(contents.entries[0].run.data_name)),
            tag("p", _facts(contents), class_="facts"),
            class_="title"),
    )  # fmt: skip


def _facts(contents: Contents) -> str:
    total, negatives = len(contents.samples), int(contents.negatives.sum())
    runs = len(contents.entries)
    parts = [
        f"{runs} run" + ("s" if runs > 1 else ""),
        f"{total:,} samples" + (f", {negatives:,} of them match nothing" if negatives else ""),
        f"{contents.images:,} images",
        f"protocol {contents.entries[0].scores.protocol}",
        datetime.now(UTC).strftime("%d %B %Y").lstrip("0"),
    ]
    return " · ".join(parts)


def _foot() -> Html:
    return tag(
        "footer",
        f"Made by groundingme {groundingme.__version__}. The page works offline and sends nothing.",
    )


def _sections(contents: Contents) -> dict[str, Html]:
    """Every section but the samples."""
    return {
        "summary": _summary(contents),
        "leaderboard": _leaderboard(contents),
        "subtasks": _subtasks(contents),
        "curves": join([charts.curves(contents), tables.confidence(contents)]),
        "mistakes": _mistakes(contents),
        "settings": _settings(contents),
        "again": _again(contents),
    }


def _finding(one: Finding) -> Html:
    more = [Html(" "), tables.show_link(one.link, one.show)] if one.show else []
    return tag("p", one.text, *more)


def _item(text: str) -> Html:
    return tag("li", text)


def _findings(found: Sequence[Finding]) -> Html:
    """Sentences by topic."""
    topics: dict[str, list[Html]] = {}
    for one in found:
        topics.setdefault(one.topic, []).append(_finding(one))
    pairs = (join([tag("dt", topic), tag("dd", *said)]) for topic, said in topics.items())
    return tag("dl", *pairs, class_="findings")


def _summary(contents: Contents) -> Html:
    first, *others = findings(contents)
    parts = [tag("p", first.text, class_="headline"), _findings(others)]
    if contents.notes:
        notes = (tag("li", one) for one in contents.notes)
        parts.append(tag("div", tag("h3", "Mind"), tag("ul", *notes), class_="box warning"))
    cannot = tag("div", tag("h3", "What these data cannot tell"),
                 tag("ul", *map(_item, limits(contents))), class_="box")  # fmt: skip
    steps = [tag("li", _finding(one)) for one in next_steps(contents)]
    following = tag("div", tag("h3", "What to do next"), tag("ul", *steps), class_="box")
    parts.append(tag("div", cannot, following if steps else "", class_="boxes"))
    return join(parts)


def _leaderboard(contents: Contents) -> Html:
    said = ["Share of samples that are right, in %, with 95 % intervals."]
    if len(contents.entries) > 1:
        said.append(
            "Ranks are those that the data allow: runs whose ranks overlap are not told apart by "
            "these samples."
        )
    if contents.standings[0].rejection:
        said.append(
            "Found: Acc@0.5 where something matches. N-acc: rejections where nothing does. "
            "False rejections: the price, lower is better. Balanced: the mean of found and N-acc."
        )
    return join(
        [tag("p", " ".join(said), class_="explain"), tables.leaderboard(contents),
         _downloads(contents)]
    )  # fmt: skip


def _downloads(contents: Contents) -> Html:
    links = []
    for name, rows in csv_tables(contents).items():
        if name == "samples.csv":
            continue
        encoded = base64.b64encode(_csv(rows).encode()).decode()
        links.append(
            tag("a", name, href=f"data:text/csv;charset=utf-8;base64,{encoded}", download=name)
        )
    return tag("p", "As tables: ", join(links, " · "), class_="downloads")


def _subtasks(contents: Contents) -> Html:
    text = "Acc@0.5 in %: the stronger the shade, the better. Subtasks have exact 95 % intervals."
    if len(contents.entries) > PICTURED:
        text += f" The radar draws the {PICTURED} best runs."
    layout = "split" if len(contents.entries) <= SIDE_BY_SIDE else "stacked"
    drawn = tables.subtask_radar(contents)
    shape = tag("figure", drawn, legend(contents.charted), class_="plain") if drawn else Html("")
    return join(
        [tag("p", text, class_="explain"),
         tag("div", tables.subtasks(contents), shape, class_=layout)]
    )  # fmt: skip


def _mistakes(contents: Contents) -> Html:
    parts = [
        patterns(),
        tables.mistakes(contents),
        tag("h3", "What was answered"),
        tables.outcomes(contents),
    ]
    if len(contents.entries) > 1:
        parts += [tag("h3", "Where runs disagree"), tables.agreement(contents)]
    return join(parts)


def _settings(contents: Contents) -> Html:
    prompts = dict.fromkeys(one.run.prompt for one in contents.entries if one.run.prompt)
    shown = []
    for prompt in prompts:
        marks = [m for m in contents.marks if contents.entries[m.at].run.prompt == prompt]
        names = "" if len(prompts) == 1 else join((one.chip() for one in marks), " ")
        shown.append(tag("div", names, tag("pre", prompt), class_="prompt"))
    return join(
        [tag("h3", "Prompt"), *shown, tag("h3", "Seconds and tokens"), tables.effort(contents),
         tag("h3", "Settings"), tables.settings(contents)]
    )  # fmt: skip


def _again(contents: Contents) -> Html:
    blocks = []
    several = {one.mark.at: one.run.t.n for one in contents.sampled}
    for mark in contents.marks:
        entry = contents.entries[mark.at]
        command, hidden = commands.eval_command(entry.run, entry.path, several.get(mark.at))
        more = f"Set by the model's family or its provider: {', '.join(hidden)}." if hidden else ""
        blocks.append(
            tag("div", tag("h4", mark.name()), tag("pre", command),
                tag("p", more, class_="note") if more else "")
        )  # fmt: skip
    protocol = contents.entries[0].scores.protocol
    again = commands.report_command(contents.entries, protocol)
    versions = contents.entries[0].run.versions.get("groundingme", groundingme.__version__)
    return join(
        [tag("p", f"With groundingme {versions}. Asking needs the model; scores and this page are "
             "made from the kept replies alone.", class_="explain"),
         *blocks, tag("h4", "This page"), tag("pre", again)]
    )  # fmt: skip


def _samples(contents: Contents, shown: Gallery) -> Html:
    note = tag("p", shown.note, class_="note") if shown.note else ""
    return join(
        [note, box_legend(contents.marks),
         tag("div", id="filters"), tag("div", id="gallery"),
         tag("noscript", "The samples need JavaScript; everything else on this page does not.")]
    )  # fmt: skip


def csv_tables(contents: Contents) -> dict[str, list[list[object]]]:
    """Leaderboard, subtasks, mistakes, samples and ways to choose; shares in [0, 1]."""
    standings = contents.standings
    measures = list(standings[0].rejection)
    board: list[list[object]] = [
        ["run", "best_rank", "worst_rank", "acc", "acc_low", "acc_high",
         *(f"{name}{end}" for name in measures for end in ("", " low", " high"))]
    ]  # fmt: skip
    cells: list[list[object]] = [["run", "group", "acc", "low", "high"]]
    kinds: list[list[object]] = [["run", *standings[0].mistakes]]
    for one in standings:
        whole = one.accuracy[ALL]
        values = [v for name in measures for v in msgspec.structs.astuple(one.rejection[name])]
        board.append([one.label, *one.rank, whole.value, whole.low, whole.high, *values])
        cells += [
            [one.label, name, cell.value, cell.low, cell.high]
            for name, cell in one.accuracy.items()
        ]
        kinds.append([one.label, *one.mistakes.values()])
    rows: list[list[object]] = [["id", "subtask_l1", "subtask_l2"]]
    for mark in contents.marks:
        rows[0] += [f"{mark.label} {name}" for name in ("right", "outcome", "iou")]
    scores = [one.scores for one in contents.entries]
    for at, sample in enumerate(contents.samples):
        row: list[object] = [sample.id, sample.subtask_l1, sample.subtask_l2]
        for run, column in enumerate(scores):
            score = column[at]
            row += [int(contents.right[run, at]), score.outcome, round(score.iou, 4)]
        rows.append(row)
    trials = {"trajectories.csv": _ways(contents)} if contents.sampled else {}
    return {"leaderboard.csv": board, "subtasks.csv": cells, "mistakes.csv": kinds, **trials,
            "samples.csv": rows}  # fmt: skip


def _ways(contents: Contents) -> list[list[object]]:
    """Ways to choose of several trajectories; shares in [0, 1]."""
    names = ("name", "score", "low", "high", "gain", "gain_low", "gain_high", "p", "trajectories",
             "tokens", "dollars")  # fmt: skip
    rows: list[list[object]] = [["run", *names]]
    for one in contents.sampled:
        for row in one.rows:
            cells = [getattr(row, name) for name in names]
            rows.append([one.mark.label, *("" if cell is None else cell for cell in cells)])
    return rows


def _csv(rows: Sequence[Sequence[object]]) -> str:
    """As text; cells of undefined figures are empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([["" if one != one else cell(one) for one in row] for row in rows])
    return buffer.getvalue()
