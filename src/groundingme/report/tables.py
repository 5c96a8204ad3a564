"""The tables of a report: leaderboard, subtasks, outcomes, mistakes, effort, settings."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from groundingme.comparison import ALL, Estimate, Standing
from groundingme.mistakes import KINDS
from groundingme.protocols import BOX, FAILED, REJECTED, UNPARSED
from groundingme.report.contents import PICTURED, Contents
from groundingme.report.findings import span
from groundingme.report.markup import Html, join, table, tag
from groundingme.report.svg import interval_strip, radar, stacked_bar

HEATS = 20
"""Steps of shading: classes `h0` to `h20` in the style sheet."""


def leaderboard(contents: Contents) -> Html:
    """Runs by accuracy, with intervals and the ranks that the data allow."""
    both = bool(contents.standings[0].rejection)
    head: list[object] = ["run", "rank", "Acc@0.5", Html(_SCALE), "mAcc"]
    if both:
        head += ["found", "N-acc", "false rejections", "balanced"]
    rows = []
    for one in contents.standings:
        mark = contents.marks[one.entry]
        whole = one.accuracy[ALL]
        scores = contents.entries[one.entry].scores
        row: list[object] = [
            mark.name(),
            rank(one),
            _interval_cell(whole, strong=True),
            interval_strip(mark, whole.value, whole.low, whole.high),
            _number(_mean_accuracy(scores.ious[scores.scored])),
        ]
        if both:
            names = ("Acc@0.5 of positives", "N-acc", "false rejections", "balanced")
            row += [_interval_cell(one.rejection[name]) for name in names]
        rows.append(row)
    return table(head, rows, class_="figures board", caption="Leaderboard, in %")


_SCALE = '<th scope="col" class="scale">0 <span>50</span> 100</th>'


def rank(one: Standing) -> str:
    """A rank, or the range that the data allow."""
    best, worst = one.rank
    return str(best) if best == worst else f"{best} to {worst}"


def _mean_accuracy(ious: Any) -> float:
    from groundingme.metrics import mean_accuracy

    return mean_accuracy(ious)


def _number(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


def _interval_cell(one: Estimate, *, strong: bool = False) -> Html:
    value = tag("strong" if strong else "span", _number(one.value))
    return join([value, tag("small", span(one).replace(" to ", "–"))] if span(one) else [value])


CONFIDENCE = ("AURC", "Brier", "ECE")


def confidence(contents: Contents) -> Html:
    """What confidences are worth, with intervals; nothing where no run gives any."""
    known = [one for one in contents.standings if not math.isnan(one.calibration["AURC"].value)]
    if not known:
        return Html("")
    said = (
        "In %, lower is better, with 95 % intervals. AURC: the mean share of wrong answers over "
        "all shares of samples answered, the surest first. Brier and ECE: of boxes, how far the "
        "confidence is from what comes true, squared and by bins."
    )
    rows = [
        [contents.marks[one.entry].name(),
         *(_interval_cell(one.calibration[name]) for name in CONFIDENCE)]
        for one in known
    ]  # fmt: skip
    made = table(["run", *CONFIDENCE], rows, class_="figures", caption="Confidence, in %")
    return join([tag("h3", "What the confidence is worth"), tag("p", said, class_="explain"), made])


def subtasks(contents: Contents) -> Html:
    """Accuracy by category and subtask, shaded."""
    order = [contents.marks[one.entry] for one in contents.standings]
    known = contents.standings[0].accuracy
    groups = [
        name
        for l1 in known
        if l1 != ALL and "/" not in l1
        for name in (l1, *(one for one in known if one.startswith(f"{l1}/")))
    ]
    narrow = len(order) > PICTURED
    sizes = _sizes(contents)
    rows = []
    for name in groups:
        l1, _, l2 = name.partition("/")
        title = tag("th", l2 or l1, class_="leaf" if l2 else "stem", scope="row")
        cells = [_heat(one.accuracy[name], bare=narrow, stem=not l2) for one in contents.standings]
        rows.append([title, tag("td", f"{sizes[name]:,}", class_="count"), *cells])
    heads: list[object] = ["", "samples"]
    heads += [
        tag("th", one.column() if narrow else one.name(), scope="col", class_="run",
            title=one.label)
        for one in order
    ]  # fmt: skip
    return table(
        heads,
        rows,
        class_=f"figures heat{' bare' if narrow else ''}",
        caption="Acc@0.5 by subtask, in %",
    )


def _heat(one: Estimate, *, bare: bool, stem: bool) -> Html:
    if math.isnan(one.value):
        return tag("td", "–", class_="h0")
    step = round(HEATS * one.value)
    inner = _interval_cell(one, strong=stem) if not bare else Html(_number(one.value))
    return tag("td", inner, class_=f"h{step}")


def _sizes(contents: Contents) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in contents.samples:
        if one.subtask_l1:
            found[one.subtask_l1] = found.get(one.subtask_l1, 0) + 1
            name = f"{one.subtask_l1}/{one.subtask_l2}"
            found[name] = found.get(name, 0) + 1
    return found


def subtask_radar(contents: Contents) -> Html:
    """The subtasks as a radar; "" where there are fewer than three."""
    accuracy = contents.standings[0].accuracy
    names = [name for name in accuracy if "/" in name] or [n for n in accuracy if n != ALL]
    if len(names) < 3:
        return Html("")
    by_entry = {one.entry: one for one in contents.standings}
    series = [
        (mark, [by_entry[mark.at].accuracy[name].value for name in names])
        for mark in contents.charted
    ]
    said = "; ".join(f"{m.label}: {', '.join(_number(v) for v in values)}" for m, values in series)
    return radar(f"Acc@0.5 by subtask ({', '.join(names)}). {said}", names, series)


def outcomes(contents: Contents) -> Html:
    """What each run answered, for descriptions that match something and for those that do not."""
    heads = ["", "right box", "wrong box", "rejected", "unparsed", "failed"]
    parts = []
    for one in contents.standings:
        scores = contents.entries[one.entry].scores
        right = contents.right[one.entry]
        rows = []
        for title, members in (
            ("something matches", ~contents.negatives),
            ("nothing matches", contents.negatives),
        ):
            total = int(members.sum())
            if not total:
                continue
            boxed = members & (scores.outcome == BOX)
            counts = [
                (boxed & right).sum(), (boxed & ~right).sum(),
                *((members & (scores.outcome == code)).sum()
                  for code in (REJECTED, UNPARSED, FAILED)),
            ]  # fmt: skip
            good = 2 if title.startswith("nothing") else 0
            cells = [
                _count_cell(int(count), total, good=at == good) for at, count in enumerate(counts)
            ]
            name = join([title, tag("small", f"{total:,} samples")])
            rows.append([name, *cells])
        mark = contents.marks[one.entry]
        parts.append(
            tag("div", tag("h4", mark.name()),
                table(heads, rows, class_="figures confusion", caption=f"Outcomes of {mark.label}"))
        )  # fmt: skip
    return tag("div", *parts, class_="pairs")


def _count_cell(count: int, total: int, *, good: bool) -> Html:
    step = round(HEATS * count / total)
    share = tag("small", f"{100 * count / total:.0f} %") if count else ""
    number = f"{count:,}" if count else "·"
    shown = tag("strong", number, " ✓") if good and count else tag("span", number)
    return tag("td", shown, share, class_=f"h{step}" if count else "none")


def agreement(contents: Contents) -> Html:
    """For each pair of runs, how many samples the one has right and the other wrong."""
    if len(contents.entries) < 2:
        return Html("")
    marks = [contents.marks[one.entry] for one in contents.standings]
    rows = []
    for row in marks:
        cells: list[object] = [row.name()]
        for column in marks:
            if row.at == column.at:
                cells.append(tag("td", f"{int(contents.right[row.at].sum()):,}", class_="diagonal"))
                continue
            count = int((contents.right[row.at] & ~contents.right[column.at]).sum())
            filters = {f"is{row.at}": "right", f"is{column.at}": "wrong"}
            cells.append(show_link(f"{count:,}", filters) if count else "0")
        rows.append(cells)
    heads: list[object] = ["right, while … is wrong"]
    heads += [tag("th", one.chip(), scope="col", title=one.label) for one in marks]
    return table(heads, rows, class_="figures matrix", caption="Samples that one run has right and "
                 "another wrong; in the diagonal, all that it has right")  # fmt: skip


def show_link(text: object, filters: dict[str, str]) -> Html:
    """A link that shows some samples in the gallery."""
    encoded = msgspec.json.encode(filters).decode()
    return tag("a", text, href="#samples", class_="show", data_show=encoded)


def mistakes(contents: Contents) -> Html:
    """A bar for each run, and every kind of mistake with its count."""
    total = len(contents.samples)
    bars = []
    for one in contents.standings:
        shares = [
            (f"k{code}", count / total, f"{name}: {count:,} ({100 * count / total:.1f} %)")
            for code, (name, count) in enumerate(one.mistakes.items())
        ]
        label = f"{one.label}: " + ", ".join(text for _, _, text in shares)
        bars.append(
            tag("div", contents.marks[one.entry].name(), stacked_bar(label, shares),
                class_="barrow")
        )  # fmt: skip
    order = [contents.marks[one.entry] for one in contents.standings]
    rows = []
    for code, kind in enumerate(KINDS):
        patch = tag("rect", width=22, height=14, class_=f"part k{code}")
        key = tag("svg", patch, viewBox="0 0 22 14", class_="key", aria_hidden="true")
        cells: list[object] = [tag("th", key, kind, tag("small", _MEANING[kind]), scope="row")]
        for one in contents.standings:
            count = one.mistakes[kind]
            text = f"{count:,}" if count else "·"
            share = tag("small", f"{100 * count / total:.1f} %") if count else ""
            filters = {f"is{one.entry}": kind}
            number = show_link(text, filters) if count and code else tag("span", text)
            cells.append(join([number, share]))
        rows.append(cells)
    heads: list[object] = ["", *(tag("th", one.name(), scope="col", class_="run") for one in order)]
    listing = table(heads, rows, class_="figures kinds", caption="What became of the samples")
    return join([tag("div", *bars, class_="bars"), listing])


_MEANING = {
    "right": "IoU of 0.5 or more, or a rejection where nothing matches",
    "sloppy box": "the right object, IoU from 0.05 up to 0.5",
    "wrong object": "IoU below 0.05, or more on another known object",
    "false rejection": "something matches, and the run says that nothing does",
    "missed rejection": "nothing matches, and the run gives a box",
    "unparsed": "a reply without a readable answer",
    "failed": "no reply",
}


def effort(contents: Contents) -> Html:
    """Seconds and tokens of a reply."""
    rows = []
    for one in contents.standings:
        whole = one.efforts[0]
        rows.append(
            [contents.marks[one.entry].name(), f"{whole.replies:,}", _decimal(whole.seconds, 2),
             _decimal(whole.seconds_p95, 2), _decimal(whole.prompt_tokens),
             _decimal(whole.completion_tokens), _decimal(whole.reasoning_tokens)]
        )  # fmt: skip
    heads = ["run", "replies", "median s", "95 % within s", "prompt tokens", "completion tokens",
             "of these reasoning"]  # fmt: skip
    return table(heads, rows, class_="figures", caption="Seconds and mean tokens of a reply")


def _decimal(value: float, digits: int = 0) -> str:
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"


def settings(contents: Contents) -> Html:
    """What was asked of each run; what differs is marked."""
    flat = [_flat(contents, at) for at in range(len(contents.entries))]
    names = list(dict.fromkeys(name for row in flat for name in row))
    rows = []
    for name in names:
        values = [row.get(name, "–") for row in flat]
        differs = len(set(values)) > 1 and name not in _ALWAYS_DIFFER
        title = join([name, tag("small", "differs")]) if differs else name
        rows.append([title, *(tag("td", value, class_="text") for value in values)])
    heads: list[object] = ["", *(tag("th", one.name(), scope="col") for one in contents.marks)]
    return table(heads, rows, class_="settings", caption="Settings of the runs")


_ALWAYS_DIFFER = ("model", "created", "folder", "served as")


def _flat(contents: Contents, at: int) -> dict[str, str]:
    entry = contents.entries[at]
    run = entry.run
    served = sorted({one.served_model for one in entry.generations.values() if one.served_model})
    found: dict[str, Any] = {
        "model": run.model,
        "served as": ", ".join(served[:3]),
        "data": run.data,
        "subset": run.subset,
        "limit": run.limit,
        "fingerprint of the data": run.data_fingerprint.removeprefix("sha256:")[:16],
        "coordinate format": run.coords,
        **run.settings,
        "created": run.created,
        "folder": str(entry.path) if entry.path else "",
        **{f"version of {name}": version for name, version in run.versions.items()},
    }
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in found.items()
        if value not in (None, "")
    }
