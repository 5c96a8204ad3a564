"""Trajectories of samples side by side: their boxes, which agree, who chose them, what judges said.

Plain markup without a script: words fold out by themselves, and every tile shows the sample's one
picture again by a reference to it.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from groundingme.datasets import Dataset
from groundingme.protocols import BOX, OUTCOMES, REJECTED
from groundingme.report.document import head
from groundingme.report.marks import Mark
from groundingme.report.markup import Html, join, tag
from groundingme.report.pictures import Small, Wanted, shrink_all
from groundingme.report.sampled import Sampled, in_cluster, most_telling, of_run
from groundingme.report.scaling import curves, worth
from groundingme.report.svg import patterns
from groundingme.scale.court import Verdict
from groundingme.scale.kept import load_verdicts
from groundingme.scale.selection import Row, SampleRun, narrowed
from groundingme.scale.trajectories import clusters
from groundingme.schema import Box

MOST = 40
"""Most samples whose trajectories a report shows, of all its runs together."""
BYTES = 3_000_000
"""Of their pictures in a report."""
TEXT_BYTES = 1_200_000
"""Of what trajectories and judges say in it."""
ALONE = 3
"""How many times as much a page has that shows nothing else."""

_LENGTHS = (6_000, 3_000, 1_500, 800, 400, 200)
_REASON = 280
_OPEN = 6
"""Most verdicts that are not folded in."""
_TILE = 4 / 3


def sections(
    found: Sequence[Sampled], *, workers: int | None = None, scale: int = 1
) -> tuple[Html, int]:
    """What trajectories are worth, and samples with all of them.

    Args:
        found: Runs with several trajectories.
        workers: Processes that decode images.
        scale: How many times as many samples and bytes as a report has.

    Returns:
        The markup, and its bytes.
    """
    parts: list[Html] = []
    for one in found:
        if len(found) > 1:
            parts.append(tag("h3", one.mark.name()))
        parts += [worth(one), curves(one)]
    for one in found:
        parts.append(_samples(one, scale * MOST // len(found), scale / len(found), workers))
    made = join(parts)
    return made, len(made.encode())


def trajectory_page(run: SampleRun, dataset: Dataset, rows: Sequence[Row], *, seed: int = 0) -> str:
    """A page of one run alone, as HTML text that opens from disk.

    Args:
        run: Stored trajectories.
        dataset: The same samples, with images where they are to be had.
        rows: Of `select`, for the table.
        seed: Of the orders that curves are averaged over.
    """
    one = of_run(
        narrowed(run, dataset.samples), Mark(0, run.folder.run.model), rows=rows, seed=seed
    )
    model, data = run.folder.run.model, run.folder.run.data_name
    body = tag(
        "body",
        tag("main",
            tag("h1", f"{run.t.n} trajectories a sample"),
            tag("p", f"{model} on {data}, {len(run.t)} samples at a temperature of "
                     f"{run.folder.run.settings.get('temperature')}."),
            *(tag("p", note, class_="note") for note in run.notes),
            patterns(),
            tag("section", sections([one], scale=ALONE)[0]),
            class_="alone"),
    )  # fmt: skip
    title = f"{model}: {run.t.n} trajectories"
    return f"<!doctype html>\n{tag('html', head(title), body, lang='en')}\n"


def _samples(one: Sampled, most: int, scale: float, workers: int | None) -> Html:
    t = one.run.t
    rows = most_telling(one, most)
    verdicts = load_verdicts(one.run.folder.path)
    limit = _limit(one, rows, verdicts, int(scale * TEXT_BYTES))
    pictures = _pictures(one, rows, int(scale * BYTES), workers)
    leaders = {name: in_cluster(t, choice) for name, choice in one.choices.items()}
    label = clusters(t)
    cards = [
        _Card(one, at, label[at].tolist(), pictures.get(at), limit).made(
            {name: int(where[at]) for name, where in leaders.items()},
            verdicts.get(t.ids[at], []),
        )
        for at in rows
    ]
    said = f"{len(cards)} of {len(t):,} samples" if len(cards) < len(t) else f"All {len(t)} samples"
    order = (
        "those first that some ways of choosing have right and others wrong, then those where a "
        "right answer is there and the majority took another, then by how little they agree"
    )
    cut = f" Words are cut to {limit:,} characters." if limit < _LENGTHS[0] else ""
    key = (
        "Trajectories with the same numeral give the same answer: boxes with an IoU of 0.5, or all "
    )
    key += (
        "that say that nothing matches. Green is the truth. Each tile shows the same part of the "
    )
    key += "picture."
    return join(
        [tag("h3", "Side by side", *([": ", one.mark.label] if one.mark.at else [])),
         tag("p", f"{said}, {order}.{cut} {key}", class_="explain"), *cards]
    )  # fmt: skip


def _limit(
    one: Sampled,
    rows: Sequence[int],
    verdicts: Mapping[str, Sequence[tuple[str, Verdict]]],
    budget: int,
) -> int:
    """Most characters of a text, so that all fit."""
    ids = [one.run.t.ids[at] for at in rows]
    texts = [
        text
        for id in ids
        for k in range(one.run.t.n)
        if (said := one.run.generations.get((id, k)))
        for text in (said.reasoning, said.text)
    ]
    texts += [
        reply for id in ids for _, verdict in verdicts.get(id, ()) for reply in verdict.replies
    ]
    sizes = [len(text.encode(errors="replace")) for text in texts]
    fits = (limit for limit in _LENGTHS if sum(min(size, limit) for size in sizes) <= budget)
    return next(fits, _LENGTHS[-1])


def _pictures(
    one: Sampled, rows: Sequence[int], budget: int, workers: int | None
) -> dict[int, Small]:
    samples = one.run.dataset.samples
    seen = [at for at in rows if samples[at].image is not None]
    wanted = [
        Wanted(source=source, boxes=()) for at in seen if (source := samples[at].image) is not None
    ]
    # In base64 a picture takes a third more.
    return dict(zip(seen, shrink_all(wanted, budget * 3 // 4, workers=workers), strict=True))


class _Card:
    """One sample: its picture with all boxes, clusters, a tile a trajectory, verdicts."""

    def __init__(
        self, one: Sampled, at: int, label: Sequence[int], small: Small | None, limit: int
    ) -> None:
        self.t, self.run, self.at, self.label, self.limit = one.run.t, one.run, at, label, limit
        self.sample = one.run.dataset.samples[at]
        self.small = small if small and small.data else None
        self.problem = small.problem if small else "this run is shown without pictures"
        self.picture = f"seen-{one.mark.at}-{at}"
        sizes = {leader: label.count(leader) for leader in dict.fromkeys(label) if leader >= 0}
        self.sizes = dict(sorted(sizes.items(), key=lambda pair: -pair[1]))
        self.marks = {leader: Mark(turn, roman(turn + 1)) for turn, leader in enumerate(self.sizes)}
        self.right = self.t.right()[at].tolist()

    def made(self, chosen: Mapping[str, int], verdicts: Sequence[tuple[str, Verdict]]) -> Html:
        t, at = self.t, self.at
        truth = "nothing matches" if t.negatives[at] else "one object matches"
        where = " / ".join(filter(None, (t.subtask_l1[at], t.subtask_l2[at])))
        facts = " · ".join(filter(None, (where, truth)))
        top = [
            tag("h4", self.sample.description),
            tag("p", f"{self.sample.id} · {facts}", class_="facts"),
        ]
        whole = self._whole()
        return tag(
            "article",
            *top,
            tag("div", whole, self._clusters(chosen), class_="trial"),
            tag("ol", *map(self._tile, range(t.n)), class_="tiles"),
            self._verdicts(verdicts),
            class_="trajectories",
        )

    def _whole(self) -> Html:
        if self.small is None:
            return tag("p", f"No picture: {self.problem}", class_="note")
        w, h = self.small.width, self.small.height
        source = "data:image/webp;base64," + base64.b64encode(self.small.data).decode()
        drawn = tag(
            "svg", tag("image", href=source, width=w, height=h, id=self.picture),
            self._boxes(range(self.t.n)), viewBox=f"0 0 {w} {h}", role="img",
            aria_label="The image with every trajectory's box",
        )  # fmt: skip
        return tag("div", drawn, class_="picture")

    def _boxes(self, ks: Iterable[int]) -> Html:
        """The truth, and the boxes of some trajectories in the colours of their clusters."""
        t, at = self.t, self.at
        parts = [] if t.negatives[at] else [_outline(t.targets[at].tolist(), "true", None)]
        for k in ks:
            mark = self.marks.get(self.label[k])
            if t.outcome[at, k] == BOX and mark:
                parts.append(_outline(t.boxes[at, k].tolist(), mark.colour, mark.dash))
        return join(parts)

    def _clusters(self, chosen: Mapping[str, int]) -> Html:
        rows = []
        for leader, mark in self.marks.items():
            who = [name for name, taken in chosen.items() if taken == leader]
            rows.append(
                tag("li", _numeral(mark), " ", _sign(self.right[leader]),
                    f" {self.sizes[leader]} of {self.t.n}: {self._answer(leader)}",
                    tag("small", f"taken by {', '.join(who)}") if who else "")
            )  # fmt: skip
        own = [name for name, taken in chosen.items() if taken < 0]
        if own:
            rows.append(tag("li", tag("small", f"another answer: {', '.join(own)}")))
        return tag("ul", *rows, class_="clusters")

    def _answer(self, k: int) -> str:
        outcome = int(self.t.outcome[self.at, k])
        if outcome == BOX:
            return ", ".join(f"{edge:.0f}" for edge in self.t.boxes[self.at, k].tolist())
        return "nothing matches" if outcome == REJECTED else OUTCOMES[outcome]

    def _tile(self, k: int) -> Html:
        said = self.run.generations.get((self.t.ids[self.at], k))
        mark = self.marks.get(self.label[k])
        facts = [] if self.t.outcome[self.at, k] == BOX else [self._answer(k)]
        if said and said.completion_tokens is not None:
            facts.append(f"{said.completion_tokens:,} tokens")
        if said and said.confidence is not None:
            facts.append(f"sure to {100 * said.confidence:.0f} %")
        text = "" if said is None else "\n\n".join(filter(None, (said.reasoning, said.text)))
        if said and said.failure:
            text = f"{said.failure}: {said.detail}"
        head = [f"{k} ", _numeral(mark) if mark else "", " ", _sign(self.right[k])]
        return tag(
            "li",
            self._view(k),
            tag("div", *head, tag("small", " · ".join(facts)) if facts else "", class_="words"),
            _folded("what it says", text, self.limit) if text else "",
        )

    def _view(self, k: int) -> Html:
        """The part of the picture that all boxes are in, with this trajectory's own."""
        if self.small is None:
            return Html("")
        x1, y1, x2, y2 = self._window()
        part = tag(
            "svg", tag("use", href=f"#{self.picture}"), self._boxes([k]),
            viewBox=f"{x1:.0f} {y1:.0f} {x2 - x1:.0f} {y2 - y1:.0f}", role="img",
            aria_label=f"Trajectory {k}: {self._answer(k)}",
        )  # fmt: skip
        return tag("div", part, class_="picture")

    def _window(self) -> Box:
        assert self.small
        boxes = np.concatenate([self.t.boxes[self.at], self.t.targets[self.at][None]])
        boxes = boxes[np.isfinite(boxes).all(axis=1)]
        width, height = float(self.small.width), float(self.small.height)
        if not len(boxes):
            return 0.0, 0.0, width, height
        low = np.minimum(boxes[:, :2], boxes[:, 2:]).min(axis=0)
        high = np.maximum(boxes[:, :2], boxes[:, 2:]).max(axis=0)
        return window((*low.tolist(), *high.tolist()), width, height)

    def _verdicts(self, verdicts: Sequence[tuple[str, Verdict]]) -> Html:
        if not verdicts:
            return Html("")
        rows = []
        for judge, one in verdicts:
            reasons = [reason(reply) for reply in one.replies if reply]
            words = "\n\n".join(filter(None, one.replies))
            rows.append(
                tag("li", tag("strong", judge), ": ", *self._shown(one),
                    *(tag("q", said) for said in reasons if said),
                    _folded("its words", words, self.limit) if words else "")
            )  # fmt: skip
        if len(rows) > _OPEN:
            title = tag("summary", f"What judges said: {len(rows)} verdicts")
            return tag("details", title, tag("ul", *rows), class_="judges")
        return tag("div", tag("h4", "What judges said"), tag("ul", *rows), class_="judges")

    def _shown(self, one: Verdict) -> list[Html | str]:
        def name(k: int) -> Html:
            mark = self.marks.get(self.label[k]) if k < len(self.label) else None
            return join([f"trajectory {k}", *([" ", _numeral(mark)] if mark else [])])

        pair: list[Html | str] = ["A is ", name(one.first), ", B is ", name(one.second), "; "]
        if one.failure:
            return [*pair, f"no reply ({one.failure}). "]
        if one.winner is None:
            return [*pair, "undecided. "]
        return [*pair, f"trajectory {one.winner} wins. "]


def window(box: Sequence[float], width: float, height: float) -> Box:
    """The part of a picture to show around a box: with room, in the shape of a tile, inside.

    Args:
        box: xyxy pixels.
        width: Of the picture.
        height: Likewise.
    """
    x1, y1, x2, y2 = box
    room = 0.15 * max(x2 - x1, y2 - y1) + 0.02 * max(width, height)
    wide = max(x2 - x1 + 2 * room, _TILE * (y2 - y1 + 2 * room), 0.25 * width)
    wide, high = min(wide, width), min(wide / _TILE, height)
    left = min(max(0.0, (x1 + x2 - wide) / 2), width - wide)
    top = min(max(0.0, (y1 + y2 - high) / 2), height - high)
    return left, top, left + wide, top + high


def roman(number: int) -> str:
    """A numeral for an answer: letters stand for what a judge was shown, digits for trajectories.

    Example:
        >>> [roman(number) for number in (1, 4, 9, 14)]
        ['I', 'IV', 'IX', 'XIV']
    """
    steps = ((40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))
    said = ""
    for value, letters in steps:
        said += letters * (number // value)
        number %= value
    return said


def _numeral(mark: Mark) -> Html:
    return tag("span", mark.label, class_=f"chip {mark.colour}")


def reason(reply: str) -> str:
    """A judge's words without its letter; of long ones the end, where it says what decides.

    Example:
        >>> reason("<think>Hm.</think>A misses the hat.\\n\\\\boxed{B}")
        'A misses the hat.'
    """
    words = reply.rsplit("</think>", 1)[-1]
    text = " ".join(re.sub(r"\\boxed\s*\{[^{}]*\}", "", words).split())
    if len(text) <= _REASON:
        return text
    return f"… {text[-_REASON:].partition(' ')[2]}"


def _sign(right: bool) -> Html:
    word = "right" if right else "wrong"
    sign = tag("span", "✓" if right else "✗", class_="sign", aria_hidden="true")
    return tag("span", sign, tag("span", word, class_="unseen"), class_=f"verdict {word}")


def _outline(box: Sequence[float], class_: str, dash: str | None) -> Html:
    x1, y1, x2, y2 = box
    if not all(map(math.isfinite, box)):
        return Html("")
    place = {
        "x": f"{min(x1, x2):.1f}", "y": f"{min(y1, y2):.1f}",
        "width": f"{abs(x2 - x1):.1f}", "height": f"{abs(y2 - y1):.1f}",
    }  # fmt: skip
    return join(
        [tag("rect", **place, class_="halo"),
         tag("rect", **place, class_=f"box-line {class_}", stroke_dasharray=dash)]
    )  # fmt: skip


def _folded(title: str, text: str, limit: int) -> Html:
    if len(text) > limit:
        text = f"{text[:limit]}\n[... {len(text) - limit:,} characters left out]"
    return tag("details", tag("summary", title), tag("pre", text))
