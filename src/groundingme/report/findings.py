"""What a report says in sentences: findings, what the data cannot tell, what to do next."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from groundingme import taxonomy
from groundingme.comparison import ALL, Estimate, Standing
from groundingme.mistakes import KINDS
from groundingme.report import floor
from groundingme.report.contents import Contents, boxed_confidences
from groundingme.report.sampled import Sampled
from groundingme.wording import points, sentence

SPOKEN_OF = 2
"""How many of the best runs have sentences of their own."""
MOST_PAIRS = 6
"""Most pairs of runs that the summary compares; the table has the ranks of all."""
SHARE_OF_MISTAKES = 0.25
"""A kind of mistake is named where it is at least this share of all mistakes of a run."""


class Finding(NamedTuple):
    """A sentence of the summary.

    Attributes:
        topic: What it is about, in a word.
        text: Without markup.
        show: What the gallery should show with it, as its filters take it; None for nothing.
        link: Words of the link that shows it.
    """

    topic: str
    text: str
    show: dict[str, str] | None = None
    link: str = "Show them"


def findings(contents: Contents) -> list[Finding]:
    """What the data show; the first one is the headline."""
    first = Finding("Overall", contents.lead or _best(contents))
    found = [first]
    if contents.lead:
        found.append(Finding("Overall", _best(contents)))
    if len(contents.entries) > 1:
        found += _differences(contents)
    for topic in (_rejecting, _weakest, _mistakes, _confidence):
        for standing in contents.standings[:SPOKEN_OF]:
            found += topic(contents, standing)
    for one in contents.sampled:
        found.append(_trajectories(contents, one))
    found += [Finding("Text floor", text) for text in floor.warnings(contents, most=SPOKEN_OF)]
    return found


def _differences(contents: Contents) -> list[Finding]:
    """One sentence a pair of runs, or of neighbours that differ where there are many runs."""
    found: list[Finding] = []
    order = [one.entry for one in contents.standings]
    pairs = list(combinations(order, 2))
    if len(pairs) > MOST_PAIRS:
        apart = {
            frozenset((one.a, one.b))
            for one in contents.comparison.contrasts
            if one.better is not None
        }
        pairs = [pair for pair in pairwise(order) if frozenset(pair) in apart]
    for a, b in pairs:
        labels = [contents.marks[at].label for at in (a, b)]
        text = sentence(contents.comparison, a, b)
        if len(order) > 2 and not all(one in text for one in labels):
            text = f"{' and '.join(labels)}: {text}"
        found.append(Finding("Differences", f"{text}."))
    return found[:MOST_PAIRS]


def percent(share: float) -> str:
    """A share in [0, 1] as percent with one decimal and a sign; a dash where it is undefined."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}\u00a0%"


def span(one: Estimate) -> str:
    """The ends of an interval in percent, without a sign; "" where there is none."""
    return "" if math.isnan(one.low) else f"{100 * one.low:.1f} to {100 * one.high:.1f}"


def estimate(one: Estimate) -> str:
    """A figure with its interval."""
    return f"{percent(one.value)} ({span(one)})" if span(one) else percent(one.value)


def _who(contents: Contents, standing: Standing) -> str:
    return standing.label if len(contents.entries) > 1 else "the model"


def _start(text: str) -> str:
    """With a capital, unless it starts with a name."""
    return text[:1].upper() + text[1:] if text.startswith("the model") else text


def _best(contents: Contents) -> str:
    first = contents.standings[0]
    accuracy = estimate(first.accuracy[ALL])
    said = f"{first.label} has {accuracy} of {len(contents.samples):,} samples right"
    tied = [one.label for one in contents.standings[1:] if one.rank[0] == 1]
    if len(contents.entries) == 1:
        return f"{said}. In brackets, here and below, stands the 95\u00a0% interval."
    if not tied:
        return f"{said}, more than {'the other' if len(contents.entries) == 2 else 'any other'}."
    others = tied[0] if len(tied) == 1 else f"{len(tied)} other runs"
    return (
        f"{said}, the most of all, but these samples do not show that it is better than {others}."
    )


def _rejecting(contents: Contents, standing: Standing) -> Iterator[Finding]:
    """How it treats descriptions that match nothing, and at what price."""
    if not standing.rejection:
        return
    who = _who(contents, standing)
    refused, lost = standing.rejection["N-acc"], standing.rejection["false rejections"]
    negatives = int(contents.negatives.sum())
    missed = standing.mistakes["missed rejection"]
    if refused.value == 0:
        text = f"{who} rejects none of the {negatives} descriptions that match nothing."
    else:
        text = (
            f"{who} rejects {estimate(refused)} of the {negatives} descriptions that match "
            f"nothing, and wrongly {estimate(lost)} of the others."
        )
    show = {f"is{standing.entry}": "missed rejection"} if missed else None
    yield Finding("Rejection", _start(text), show, f"Show the {missed} missed")


def _weakest(contents: Contents, standing: Standing) -> Iterator[Finding]:
    """The subtask with the lowest accuracy among those with targets, and which may be as low."""
    cells = {
        name: one
        for name, one in standing.accuracy.items()
        if "/" in name and not math.isnan(one.value)
        and not name.startswith(f"{taxonomy.REJECTION}/")
    }  # fmt: skip
    if len(cells) < 2:
        return
    worst = min(cells, key=lambda name: cells[name].value)
    as_low = [name for name in cells if name != worst and cells[name].low <= cells[worst].high]
    text = (
        f"Where something matches, {_who(contents, standing)} does worst on {worst}: "
        f"{estimate(cells[worst])}"
    )
    if as_low:
        count = "another subtask" if len(as_low) == 1 else f"{len(as_low)} other subtasks"
        text += f"; the interval overlaps that of {count}, so it need not be the weakest"
    show = {"subtask": worst, f"is{standing.entry}": "wrong"}
    wrong = cells[worst].value < 1
    yield Finding("Weakest", f"{text}.", show if wrong else None, "Show what is wrong")


_PHRASES = {
    "sloppy box": "boxes on the right object that are too loose or too tight",
    "wrong object": "boxes on another object",
    "false rejection": "rejections of what is there",
    "missed rejection": "boxes where nothing matches",
    "unparsed": "replies without a readable answer",
    "failed": "samples without a reply",
}


def _mistakes(contents: Contents, standing: Standing) -> Iterator[Finding]:
    """What most of its mistakes are, and what could not be read."""
    counts = {name: count for name, count in standing.mistakes.items() if name != KINDS[0]}
    total = sum(counts.values())
    kind = max(counts, key=lambda name: counts[name])
    if total > 1 and counts[kind] >= SHARE_OF_MISTAKES * total:
        text = (
            f"Of the {total} mistakes of {_who(contents, standing)}, {counts[kind]} are "
            f"{_PHRASES[kind]}."
        )
        yield Finding("Mistakes", text, {f"is{standing.entry}": kind})
    for name in ("unparsed", "failed"):
        if counts[name] and (name != kind or total == 1):
            text = f"{_start(_who(contents, standing))}: {_counted(counts[name], name)}."
            yield Finding("Mistakes", text, {f"is{standing.entry}": name})


def _counted(count: int, name: str) -> str:
    if count == 1:
        one = {"unparsed": "reply without a readable answer", "failed": "sample without a reply"}
        return f"1 {one[name]} counts as wrong"
    return f"{count} {_PHRASES[name]} count as wrong"


def _confidence(contents: Contents, standing: Standing) -> Iterator[Finding]:
    """What it states beside what comes true, where it gives boxes and a confidence."""
    sure = boxed_confidences(contents.entries[standing.entry])
    known = ~np.isnan(sure)
    if not known.any():
        return
    stated, right = float(sure[known].mean()), float(contents.right[standing.entry][known].mean())
    word = "too much by" if stated > right else "too little by"
    text = (
        f"{_who(contents, standing)} states {percent(stated)} confidence in its boxes on average, "
        f"and {percent(right)} of them are right: {word} {points(abs(stated - right))} points."
    )
    yield Finding("Confidence", _start(text))


def _trajectories(contents: Contents, one: Sampled) -> Finding:
    """What several answers are worth, and what the best judge could make of them."""
    rows = {row.name: row for row in one.rows}
    mean, majority, oracle = (rows[name] for name in ("mean", "majority", "oracle"))
    who = one.mark.label if len(contents.entries) > 1 else "the model"
    gained = "more" if majority.gain >= 0 else "less"
    ends = sorted(abs(100 * end) for end in (majority.gain_low, majority.gain_high))
    sure = majority.gain_low > 0 or majority.gain_high < 0
    by = (
        f"{points(abs(majority.gain))} points {gained} ({ends[0]:.1f} to {ends[1]:.1f})"
        if sure
        else "which these samples do not show to be another figure"
    )
    text = (
        f"Of {one.run.t.n} trajectories {who} has {percent(mean.score)} right on average, and the "
        f"majority of them {percent(majority.score)}, {by}; a judge that never errs would find "
        f"{percent(oracle.score)}."
    )
    return Finding("Trajectories", text)


def limits(contents: Contents) -> list[str]:
    """What the data cannot tell, and what a reader might take a figure for."""
    found = [*_constant(contents), *_small_groups(contents), *_open_pairs(contents)]
    if contents.images < len(contents.samples):
        found.append(
            f"The {len(contents.samples):,} samples show {contents.images:,} images. Samples of "
            "one image are alike, so the intervals draw whole images again, not single samples."
        )
    found.append(
        "Intervals say what another draw of samples like these could have given. They do not "
        "speak for other kinds of images, other prompts or another day of a hosted model."
    )
    return found


def _constant(contents: Contents) -> Iterator[str]:
    """What an answer that looks at nothing gets."""
    share = float(np.mean(contents.negatives))
    if share > 0:
        yield (
            f"Always to say that nothing matches would get {percent(share)} right without looking; "
            "so rejections are to be read beside what they cost, as the balanced score does."
        )


def _small_groups(contents: Contents) -> Iterator[str]:
    """How wide the interval of a subtask is."""
    cells = [
        one
        for name, one in contents.standings[0].accuracy.items()
        if "/" in name and not math.isnan(one.low)
    ]
    if cells:
        halves = [(one.high - one.low) / 2 for one in cells]
        yield (
            f"A subtask of {contents.standings[0].label} is known to within ±{points(min(halves))} "
            f"to ±{points(max(halves))} points. Smaller differences between subtasks may be chance."
        )


def _open_pairs(contents: Contents) -> Iterator[str]:
    pairs = [one for one in contents.comparison.contrasts if one.group == ALL]
    tied = sum(one.better is None for one in pairs)
    if tied and len(pairs) > 1:
        yield (
            f"{tied} of {len(pairs)} pairs of runs cannot be told apart on all samples; their "
            "ranks in the table overlap."
        )


def next_steps(contents: Contents) -> list[Finding]:
    """What to look at, or do, next."""
    found = []
    if contents.comparison.flips:
        count = len(contents.comparison.flips)
        text = f"Look at the {count} samples that some runs have right and others wrong."
        found.append(Finding("Next", text, {"agreement": "differ"}))
    nobody = int((~contents.right.any(axis=0)).sum())
    if nobody and len(contents.entries) > 1:
        text = (
            f"Look at the {nobody} samples that no run has right: they are hard, or their truth "
            "is wrong."
        )
        found.append(Finding("Next", text, {"agreement": "none"}))
    if len(contents.entries) == 1:
        if nobody:
            text = f"Look at the {nobody} samples that are wrong."
            found.append(Finding("Next", text, {"is0": "wrong"}))
        found.append(Finding("Next", "Set another run beside it: groundingme report RUN RUN"))
    return found
