"""The stage that asks models and figures what a description is worth, before people look at it.

Each verifying model is evaluated on the targets as on any data set: does it find exactly this box
from the description, does it reject what nothing should match? Beside that stand checks that need
no model. Nothing is dropped for what a model said, unless `min_agree` asks for that: a model that
cannot find an object tells little of a hard description.

================  ====================================================================
flag              a person should know that
================  ====================================================================
``not-unique``    a verifier found another object of the class in its place
``not-found``     a verifier found nothing, or something else
``found``         a verifier found something that a rejection should fit nothing of
``unverified``    no verifier gave an answer that could be read
``only-one``      it is the only one of its class in the picture, so that the class is enough
``text-floor``    a classifier of words knows it for a rejection without the picture
``duplicate``     it is, but for little, another description in the set
``long``          the description is longer than all but a few (`very_long` words)
``language``      the description is not in English
================  ====================================================================

What people see first: a reviewer has hours, not weeks, and wants a set that is good and balanced
wherever the hours end. So subtasks take turns, and within each the likely good ones go before
the doubtful ones, whose yield an hour is lower. But a set of only what today's models find would
measure those models: so every fourth place goes to a target that the verifiers did not agree on
although nothing else speaks against it, which may be a hard one. `rank` is 1 for the first and
falls evenly to 0.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from groundingme import geometry, text_floor
from groundingme.asking import AUTO
from groundingme.build import questions, variants
from groundingme.build.questions import Asked, check
from groundingme.build.reading import is_english
from groundingme.build.records import Target, Verdict
from groundingme.build.stage import Context
from groundingme.cache import Cache
from groundingme.datasets import Dataset
from groundingme.errors import DataError, JobError, UsageError
from groundingme.evaluation import evaluate
from groundingme.interrupting import Interrupted
from groundingme.models import load_model
from groundingme.progress import Silent
from groundingme.result import Result
from groundingme.schema import Sample
from groundingme.store import kept, write_atomically

SUMMARY = "verify.json"
FLAGS = ("not-unique", "not-found", "found", "unverified", "only-one", "text-floor", "duplicate",
         "long", "language", "says-otherwise")  # fmt: skip
"""All that there are, but for those of drafts, which begin with `draft-`."""
_DOUBTFUL_EVERY = 4
_PENALTY = 0.25


class VerifyOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which models verify, and what counts.

    Attributes:
        models: `PROVIDER/NAME` each, as `eval` takes them; none makes the checks alone that need
            no model.
        options: For the providers, the same for all.
        base_url: Of an OpenAI-compatible server, the same for all.
        by_model: Options of single models, by the model's name; they win over `options`.
        min_iou: From which IoU with the target a box is on it.
        min_agree: Models that must agree, or the target goes no further (`not-verified`). Models
            that failed are not counted against it.
        near_duplicates: Whether descriptions that are alike are flagged.
        very_long: Words from which a description is flagged.
        language: `en` flags what is not in English.
        coords: Coordinate format of all models, or `auto`.
        thinking: `on`, `off`, a budget in tokens; "" for each model's own way.
        max_tokens: Most tokens of a reply, reasoning included.
        price: `PROMPT,COMPLETION` in US dollars per million tokens; "" looks it up.
        concurrency: Requests in flight at once; None finds out.
    """

    models: list[str] = []
    options: dict[str, Any] = {}
    base_url: str = ""
    by_model: dict[str, dict[str, Any]] = {}
    min_iou: Annotated[float, Meta(gt=0, le=1)] = 0.5
    min_agree: Annotated[int, Meta(ge=0)] = 0
    near_duplicates: bool = True
    very_long: Annotated[int, Meta(ge=1)] = 90
    language: Literal["en", "any"] = "en"
    coords: str = "auto"
    thinking: str = ""
    max_tokens: Annotated[int, Meta(ge=1)] = 20480
    price: str = ""
    concurrency: Annotated[int, Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        if self.coords != AUTO:
            geometry.coord_format(self.coords)
        for one in self.models:
            check(
                Asked(
                    model=one,
                    options={**self.options, **self.by_model.get(one, {})},
                    base_url=self.base_url,
                    thinking=self.thinking,
                    price=self.price,
                )
            )
        if len(set(self.models)) < len(self.models):
            raise UsageError(f"expected different models, got {self.models}")
        if self.min_agree > len(self.models):
            raise UsageError(
                f"expected min_agree of at most the number of models, {len(self.models)}, got "
                f"{self.min_agree}"
            )
        for name in self.by_model:
            if name not in self.models:
                raise UsageError(f"expected options of one of {self.models}, got {name!r}")


def work(targets: list[Target], options: VerifyOptions, context: Context) -> list[Target]:
    """Gives every target that goes on its verdicts, flags and rank.

    Replies lie in run folders under `verify` in the stage's folder, where `groundingme report`
    and `compare` read them.

    Raises:
        FatalError: A verifying model cannot be asked at all.
        JobError: The budget is spent; what was said is kept.
        Interrupted: Ctrl-C.
    """
    waiting = [one for one in targets if one.goes_on and one.description]
    if not waiting:
        return targets
    results: list[Result] = []
    for model in options.models:
        spent = sum(one.spending.dollars for one in results)
        results.append(_asked(model, waiting, options, context, spent))
    done = [_judged(one, results, at, options) for at, one in enumerate(waiting)]
    suspicion = _suspicion(done, context)
    twins = _twins(done) if options.near_duplicates else set[str]()
    for one in done:
        one.flags = list(
            dict.fromkeys([*one.flags, *_flags(one, options, suspicion.get(one.id), twins)])
        )
    done = [_dropped(one, options) for one in done]
    by_id = {one.id: one for one in done}
    for id, rank in ranks([one for one in done if one.goes_on]).items():
        by_id[id].rank = rank
    _tell(done, options, context)
    return [by_id.get(one.id, one) for one in targets]


# ---- models


class _Notes(Silent):
    """Passes on what a person should know of an evaluation."""

    def __init__(self, context: Context, model: str) -> None:
        self._context, self._model = context, model

    def note(self, line: str) -> None:
        self._context.tell(f"verify, {self._model}: {line}")


def _asked(
    model: str,
    targets: Sequence[Target],
    options: VerifyOptions,
    context: Context,
    spent: float,
) -> Result:
    """One model's answers to all targets; `spent` is what the models before it cost."""
    budget = None if context.budget is None else context.budget - spent
    if budget is not None and budget <= 0:
        raise JobError(
            f"expected a budget that is left for {model}, got ${context.budget:g}, which the "
            "models before it spent; the same command with a larger --budget goes on"
        )
    given = {"base_url": options.base_url} if options.base_url else {}
    made = load_model(model, **{**given, **options.options, **options.by_model.get(model, {})})
    # A set with one target more is another data set: what was paid for is not asked again.
    cache = context.cache or Cache(context.folder / "verify.sqlite")
    try:
        result = evaluate(
            made,
            dataset(targets, name="verify", source=str(context.folder)),
            coords=options.coords,
            thinking=options.thinking or None,
            concurrency=options.concurrency,
            max_tokens=options.max_tokens,
            max_failed=1.0,
            price=options.price or None,
            budget=budget,
            cache=cache,
            out=context.folder / "verify",
            progress=_Notes(context, model),
        )
    finally:
        if cache is not context.cache:
            cache.close()
    if result.interrupted:
        raise Interrupted
    if result.stopped:
        raise JobError(f"verify, {model}: {result.stopped}")
    for line in result.notes:
        context.tell(f"verify, {model}: {line}")
    return result


def dataset(targets: Sequence[Target], *, name: str, source: str) -> Dataset:
    """Targets as samples, with their pictures."""
    return Dataset(
        name=name,
        source=source,
        samples=[
            Sample(
                id=one.id,
                description=one.description,
                target=None if one.is_rejection else one.box,
                width=one.width,
                height=one.height,
                image=questions.Shown(one.where, one.box, "plain"),
                subtask_l1=one.subtask_l1,
                subtask_l2=one.subtask_l2,
                detection_type=one.label,
            )
            for one in targets
        ],
    )


def _judged(target: Target, results: Sequence[Result], at: int, options: VerifyOptions) -> Target:
    verdicts = []
    for result in results:
        score = result.scores[at]
        assert score.id == target.id
        on_it = score.outcome == "box" and score.iou >= options.min_iou
        verdicts.append(
            Verdict(
                model=result.run.model,
                outcome=score.outcome,
                box=score.box,
                iou=0.0 if target.is_rejection else round(score.iou, 6),
                agrees=score.outcome == "rejected" if target.is_rejection else on_it,
            )
        )
    return msgspec.structs.replace(target, verdicts=verdicts, flags=list(target.flags))


def usable(target: Target) -> list[Verdict]:
    """The verdicts that say something: a model that failed is no evidence."""
    return [one for one in target.verdicts if one.outcome in ("box", "rejected")]


def _dropped(target: Target, options: VerifyOptions) -> Target:
    heard = usable(target)
    needed = min(options.min_agree, len(heard))
    if sum(one.agrees for one in heard) >= needed:
        return target
    return msgspec.structs.replace(target, fate="not-verified")


# ---- flags


def _flags(
    target: Target, options: VerifyOptions, suspicion: float | None, twins: set[str]
) -> Iterator[str]:
    heard = usable(target)
    wrong = [one for one in heard if not one.agrees]
    if target.verdicts and not heard:
        yield "unverified"
    if target.is_rejection and wrong:
        yield "found"
    elif wrong:
        on_another = any(_is_on(one, target.others, options.min_iou) for one in wrong)
        yield "not-unique" if on_another else "not-found"
    if not target.others and not target.is_rejection:
        yield "only-one"
    if target.is_rejection and suspicion is not None and suspicion > _SURE:
        yield "text-floor"
    if target.id in twins:
        yield "duplicate"
    if len(target.description.split()) >= options.very_long:
        yield "long"
    if options.language == "en" and not is_english(target.description):
        yield "language"


_SURE = math.log(9)
"""Log-odds from which the words alone give a rejection away: nine to one."""


def _is_on(verdict: Verdict, others: Sequence[Any], min_iou: float) -> bool:
    if verdict.box is None or not others:
        return False
    found = geometry.iou_matrix([verdict.box], np.asarray(others, float).reshape(-1, 4))
    return bool((found >= min_iou).any())


def _suspicion(targets: Sequence[Target], context: Context) -> dict[str, float]:
    """Log-odds of each target, from its words alone, that nothing matches."""
    samples = list(dataset(targets, name="verify", source=""))
    try:
        found = text_floor.guess(samples, [one.picture for one in targets], seed=context.seed)
    except DataError:
        return {}
    return {
        one.id: value
        for one, value in zip(targets, found.tolist(), strict=True)
        if not math.isnan(value)
    }


def _twins(targets: Sequence[Target]) -> set[str]:
    """Ids of those whose description is another's but for little.

    A rejection is meant to be like its original, so within one object it does not count; across
    pictures only the same words do, for short ones are often alike.
    """
    found: set[str] = set()
    by_words: dict[str, list[Target]] = {}
    by_picture: dict[str, list[Target]] = {}
    for one in targets:
        by_words.setdefault(" ".join(one.description.lower().split()).rstrip("."), []).append(one)
        by_picture.setdefault(one.picture, []).append(one)
    for group in by_words.values():
        if len({one.picture for one in group}) > 1 and len(group[0].description.split()) >= 8:
            found |= {one.id for one in group}
    for group in by_picture.values():
        for at, one in enumerate(group):
            for other in group[at + 1 :]:
                apart = one.box != other.box
                if apart and variants.alike(one.description, other.description):
                    found |= {one.id, other.id}
    return found


# ---- what people see first

_HARMLESS = ("not-found", "not-unique", "found", "unverified")
"""Flags that the verifiers gave: the score has them in it already."""


def quality(target: Target) -> float:
    """How likely a target is good, in [0, 1]: who agrees, less a quarter for each other flag.

    Without a verdict it is 0.5.
    """
    heard = usable(target)
    agreed = sum(one.agrees for one in heard) / len(heard) if heard else 0.5
    other = [one for one in target.flags if one not in _HARMLESS and not one.startswith("draft-")]
    return max(0.0, agreed - _PENALTY * len(other))


def ranks(targets: Sequence[Target]) -> dict[str, float]:
    """The rank of each target, by its id: see the top of this file.

    Returns:
        1 for what is seen first, 0 for the last, evenly spaced.
    """
    lines: dict[str, list[Target]] = {}
    for one in targets:
        lines.setdefault(f"{one.subtask_l1}/{one.subtask_l2}", []).append(one)
    queues = [list(_queue(lines[name])) for name in sorted(lines)]
    order = [
        queue[turn]
        for turn in range(max(map(len, queues), default=0))
        for queue in queues
        if turn < len(queue)
    ]
    last = max(1, len(order) - 1)
    return {one.id: round(1 - at / last, 6) for at, one in enumerate(order)}


def _queue(targets: Iterable[Target]) -> Iterator[Target]:
    """One subtask's targets, the good ones first, every fourth one a doubtful one."""
    best = sorted(targets, key=lambda one: (-quality(one), one.id))
    good = [one for one in best if quality(one) >= 0.5]
    hard = [one for one in best if quality(one) < 0.5 and _is_only_hard(one)]
    rest = [one for one in best if quality(one) < 0.5 and not _is_only_hard(one)]
    turn = 0
    while good or hard:
        turn += 1
        take = hard if hard and (turn % _DOUBTFUL_EVERY == 0 or not good) else good
        yield take.pop(0)
    yield from rest


def _is_only_hard(target: Target) -> bool:
    """Whether nothing but the verifiers' failing to find it speaks against a target."""
    against = [one for one in target.flags if not one.startswith("draft-")]
    return all(one == "not-found" for one in against)


# ---- figures


def _tell(targets: Sequence[Target], options: VerifyOptions, context: Context) -> None:
    figures = summary(targets, options, context.seed)
    with kept(context.folder / SUMMARY):
        written = msgspec.json.format(msgspec.json.encode(figures)) + b"\n"
        write_atomically(context.folder / SUMMARY, written)
    for model in figures["models"]:
        failed = f", {model['failed']:,} not answered" if model["failed"] else ""
        context.tell(
            f"verify, {model['model']}: finds {model['found']:,} of {model['positives']:,}, "
            f"rejects {model['rejected']:,} of {model['rejections']:,}{failed}"
        )
    flags = ", ".join(f"{n:,} {name}" for name, n in figures["flags"].items())
    context.tell(f"verify: {len(targets):,} targets" + (f"; flagged: {flags}" if flags else ""))
    if figures["text_floor"]:
        floor = figures["text_floor"]
        context.tell(
            f"verify: from the words alone rejections are told at an AUROC of "
            f"{100 * floor['auroc']:.1f} ({100 * floor['auroc_low']:.1f} to "
            f"{100 * floor['auroc_high']:.1f}); 50 is a coin"
        )


def summary(targets: Sequence[Target], options: VerifyOptions, seed: int) -> Mapping[str, Any]:
    """Figures of a verified set, JSON-ready.

    Returns:
        `models`: of each what it found and rejected of what it answered, and what it did not
        answer; `flags`: how many of each; `words`: quartiles of the lengths of descriptions;
        `text_floor`: None where there are too few of either kind.
    """
    lengths = sorted(len(one.description.split()) for one in targets)
    quartiles = statistics.quantiles(lengths, n=4) if len(lengths) > 1 else lengths * 3
    floor = None
    try:
        found = text_floor.text_floor(
            list(dataset(targets, name="verify", source="")),
            [one.picture for one in targets],
            seed=seed,
        )
        floor = text_floor.as_dict(found)
    except DataError:
        pass
    return {
        "targets": len(targets),
        "rejections": sum(one.is_rejection for one in targets),
        "models": [_of_model(targets, at) for at in range(len(options.models))],
        "flags": dict(Counter(flag for one in targets for flag in one.flags).most_common()),
        "words": {"quartiles": quartiles, "least": lengths[0], "most": lengths[-1]},
        "text_floor": floor,
    }


def _of_model(targets: Sequence[Target], at: int) -> dict[str, Any]:
    heard = {False: [0, 0], True: [0, 0]}
    failed = 0
    for one in targets:
        verdict = one.verdicts[at]
        if verdict.outcome not in ("box", "rejected"):
            failed += 1
            continue
        heard[one.is_rejection][0] += verdict.agrees
        heard[one.is_rejection][1] += 1
    return {
        "model": targets[0].verdicts[at].model,
        "found": heard[False][0],
        "positives": heard[False][1],
        "rejected": heard[True][0],
        "rejections": heard[True][1],
        "failed": failed,
    }
