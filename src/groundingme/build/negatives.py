"""The stage that makes rejections: true descriptions with exactly one fact made wrong.

A target that was chosen for Rejection was described like any other; it becomes a rejection in its
place. With `share` or `per_kind` more of them are made from the other targets, which stay.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from groundingme.build import prompts, variants
from groundingme.build.contradictions import KINDS, contradict
from groundingme.build.questions import Asked, Question, Shown, ask_all, check, count_line
from groundingme.build.reading import answer_fields, read
from groundingme.build.records import Change, Target
from groundingme.build.stage import Context
from groundingme.comparison import MATCHED
from groundingme.errors import UsageError
from groundingme.schema import Generation
from groundingme.taxonomy import REJECTION

Kind = Literal["Appearance", "Component", "Text", "State"]


class NegativesOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many rejections are made, of which kinds, and by whom.

    Attributes:
        by: `rules` changes words by table; `model` asks one.
        model: `PROVIDER/NAME`, as `eval` takes it.
        options: For the provider.
        base_url: Of an OpenAI-compatible server.
        kinds: Second-level subtasks of Rejection.
        share: Rejections among all targets that go on, made in equal numbers of each kind; those
            that were chosen for Rejection count. None makes those alone, or a fifth where there
            are none.
        per_kind: The number of each kind instead.
        view: What the model sees: `outline`, `crop`, `none` (the description alone), or `auto`,
            which is `crop` for Small, else `outline`.
        spare: So many times as many are asked of the model as are wanted, since some are of no
            use.
        temperature: Of the model.
        max_tokens: Most tokens of a reply, reasoning included.
        thinking: `on`, `off`, a budget in tokens; "" for the model's own way.
        price: `PROMPT,COMPLETION` in US dollars per million tokens; "" looks it up.
        concurrency: Requests in flight at once; None finds out.
    """

    by: Literal["rules", "model"] = "rules"
    model: str = ""
    options: dict[str, Any] = {}
    base_url: str = ""
    kinds: list[Kind] = msgspec.field(
        default_factory=lambda: ["Appearance", "Component", "Text", "State"]
    )
    share: Annotated[float, Meta(ge=0, le=0.9)] | None = None
    per_kind: Annotated[int, Meta(ge=0)] | None = None
    view: Literal["auto", "outline", "crop", "none"] = "auto"
    spare: Annotated[float, Meta(ge=1, le=10)] = 1.3
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Meta(ge=1)] = 4096
    thinking: str = ""
    price: str = ""
    concurrency: Annotated[int, Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        if self.by == "model":
            if not self.model:
                raise UsageError(
                    "expected a model that writes rejections, got none; name it, or set "
                    'by = "rules"'
                )
            check(self.asked)
        if self.share is not None and self.per_kind is not None:
            raise UsageError("expected share or per_kind, got both; leave one out")
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise UsageError(f"expected different kinds, at least one, got {self.kinds}")

    @property
    def asked(self) -> Asked:
        """Who is asked, and how."""
        return Asked(
            model=self.model, options=self.options, base_url=self.base_url,
            temperature=self.temperature, max_tokens=self.max_tokens, thinking=self.thinking,
            price=self.price, concurrency=self.concurrency,
        )  # fmt: skip


def work(targets: list[Target], options: NegativesOptions, context: Context) -> list[Target]:
    """Makes rejections; each follows the target that it was made from, or is in its place.

    What is of no use has the problem as its `fate`: a word of `variants` or `reading`, `no-rule`
    where no rule found anything to change, `spare` where there were enough. A request that failed
    gives a rejection with `failure`.

    Raises:
        FatalError: The model cannot be asked at all.
        JobError: The budget is spent; what was said is kept.
        Interrupted: Ctrl-C.
    """
    neighbours = _Neighbours(targets)
    planned = [one for one in targets if _is_planned(one)]
    positives = [one for one in targets if _is_positive(one)]
    wanted = _wanted(options, planned, len(positives))
    if options.by == "rules":
        made = _by_rules(planned, positives, wanted, neighbours, context)
    else:
        made = _by_model(planned, positives, wanted, neighbours, options, context)
    lost = [one.fate or "failed" for one in made.values() if not one.goes_on]
    context.tell(count_line("negatives", len(made), lost))
    chosen = {one.id for one in planned}
    more = [one for one in made.values() if one.goes_on and one.id not in chosen]
    for kind, n in wanted.items():
        got = sum(one.subtask_l2 == kind for one in more)
        if got < n:
            context.tell(f"negatives: {got:,} of {n:,} of {kind}: no more of the targets suit it")
    return list(_in_order(targets, made))


def _is_planned(target: Target) -> bool:
    """Whether it was chosen for Rejection and has a true description so far."""
    ready = target.goes_on and bool(target.description)
    return ready and target.is_rejection and not target.changes


def _is_positive(target: Target) -> bool:
    return target.goes_on and bool(target.description) and not target.is_rejection


def _wanted(options: NegativesOptions, planned: Sequence[Target], positives: int) -> dict[str, int]:
    """How many more of each kind, beside those that were chosen for Rejection."""
    kinds = list(options.kinds)
    have = Counter(one.subtask_l2 for one in planned)
    if options.per_kind is not None:
        return {kind: max(0, options.per_kind - have[kind]) for kind in kinds}
    share = options.share
    if share is None:
        share = 0.0 if planned else 0.2
    total = round(share / (1 - share) * positives)
    parts = {kind: total // len(kinds) for kind in kinds}
    for kind in kinds[: total % len(kinds)]:
        parts[kind] += 1
    return {kind: max(0, n - have[kind]) for kind, n in parts.items()}


class _Neighbours:
    """What else is said of things in the same picture."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._by_picture: dict[str, list[Target]] = {}
        for one in targets:
            self._by_picture.setdefault(one.picture, []).append(one)

    def problem(self, target: Target, text: str, change: Change) -> str:
        """Why a contradiction is of no use, in a word of `variants`; "" where it is of use."""
        others = [one for one in self._by_picture[target.picture] if one.box != target.box]
        said = {one.description for one in others if one.description}
        if any(variants.alike(text, one) for one in said):
            return "duplicate"
        same = [one for one in others if one.label == target.label]
        elsewhere = [text for one in same for text in {one.description, *one.drafts} if text]
        true = variants.is_true_of_another(
            target.description, change, len(target.others), elsewhere
        )
        return "true" if true else ""

    def add(self, target: Target) -> None:
        """One more description in its picture."""
        self._by_picture[target.picture].append(target)


def _rejection(target: Target, kind: str, text: str, change: Change | None) -> Target:
    """A rejection made from a target, which keeps its id where it was chosen for that."""
    id = target.id if target.is_rejection else f"{target.id}-{kind}"
    return msgspec.structs.replace(
        target,
        id=id,
        subtask_l1=REJECTION,
        subtask_l2=kind,
        description=text,
        original=target.description,
        changes=[change] if change else [],
    )


def _lost(target: Target, kind: str, fate: str) -> Target:
    return msgspec.structs.replace(_rejection(target, kind, "", None), fate=fate)


def _by_rules(
    planned: Sequence[Target],
    positives: Sequence[Target],
    wanted: dict[str, int],
    neighbours: _Neighbours,
    context: Context,
) -> dict[str, Target]:
    made: dict[str, Target] = {}

    def try_one(target: Target, kind: str) -> Target:
        rng = random.Random(f"{context.seed}:{target.id}:{kind}")
        found = contradict(target.description, kind, rng)
        if found is None:
            return _lost(target, kind, "no-rule")
        text, change = found
        if problem := neighbours.problem(target, text, change):
            return _lost(target, kind, problem)
        one = _rejection(target, kind, text, change)
        neighbours.add(one)
        return one

    for target in planned:
        made[target.id] = try_one(target, target.subtask_l2)
    waiting = {kind: _candidates(positives, kind, context.seed) for kind in wanted}
    left, used = dict(wanted), set[str]()
    problems: Counter[str] = Counter()
    while any(left.values()):
        # The rarest kinds choose first, one at a time, so that no kind takes all.
        for kind in sorted(left, key=lambda kind: (len(waiting[kind]), kind)):
            while left[kind]:
                free = [one for one in waiting[kind] if one.id not in used]
                if not free:
                    left[kind] = 0
                    break
                target, waiting[kind] = free[0], free[1:]
                one = try_one(target, kind)
                if one.goes_on:
                    made[one.id] = one
                    used.add(target.id)
                    left[kind] -= 1
                    break
                problems[one.fate] += 1
    if problems:
        why = ", ".join(f"{n:,} {name}" for name, n in problems.most_common())
        context.tell(f"negatives: {problems.total():,} tries gave none ({why})")
    return made


def _candidates(positives: Sequence[Target], kind: str, seed: int) -> list[Target]:
    """Targets to make a kind of, in random order: the same subtask first, then its category.

    A description that picks by place says little of looks, and its error is soon overlooked.
    """
    drawn = list(positives)
    random.Random(f"{seed}:{kind}").shuffle(drawn)
    return sorted(drawn, key=lambda one: (one.subtask_l2 != kind, one.subtask_l1 != MATCHED))


def _by_model(
    planned: Sequence[Target],
    positives: Sequence[Target],
    wanted: dict[str, int],
    neighbours: _Neighbours,
    options: NegativesOptions,
    context: Context,
) -> dict[str, Target]:
    plan = [(one, one.subtask_l2) for one in planned]
    plan += list(_assigned(positives, wanted, options.spare, context.seed))
    questions = []
    for target, kind in plan:
        view = options.view
        if view == "auto":
            view = "crop" if target.subtask_l2 == "Small" else "outline"
        shown = None if view == "none" else Shown(target.where, target.box, view)
        prompt = prompts.render_negative(target, kind, view=view)
        questions.append(Question(f"{target.id} {kind}", prompt, shown))
    replies = ask_all(questions, options.asked, context, stage="negatives")
    made: dict[str, Target] = {}
    left = dict(wanted)
    for target, kind in plan:
        one = _answered(target, kind, replies[f"{target.id} {kind}"], neighbours, options)
        if one.goes_on and not target.is_rejection:
            if not left[kind]:
                one = msgspec.structs.replace(one, fate="spare")
            else:
                left[kind] -= 1
        if one.goes_on:
            neighbours.add(one)
        made[one.id] = one
    return made


def _assigned(
    positives: Sequence[Target], wanted: dict[str, int], spare: float, seed: int
) -> Iterator[tuple[Target, str]]:
    """Which kind is asked of which target, each of them once."""
    from groundingme.build.candidates import has_text

    used: set[str] = set()
    # Text comes first: it suits the fewest.
    for kind in sorted(wanted, key=lambda kind: (kind != "Text", kind)):
        suited = [
            one for one in _candidates(positives, kind, seed)
            if one.id not in used and (kind != "Text" or has_text(one.description))
        ]  # fmt: skip
        for one in suited[: math.ceil(spare * wanted[kind])]:
            used.add(one.id)
            yield one, kind


def _answered(
    target: Target,
    kind: str,
    reply: Generation,
    neighbours: _Neighbours,
    options: NegativesOptions,
) -> Target:
    if reply.failure:
        lost = _rejection(target, kind, "", None)
        return msgspec.structs.replace(lost, failure=f"{reply.failure}: {reply.detail}")
    answer = read(reply, words=(1, 10_000), english=False)
    if answer.problem:
        return _lost(target, kind, answer.problem)
    # Whether there was a full stop at the end is the model's habit and no change.
    text = variants.ended_like(answer.description, target.description)
    change = variants.change_of(target.description, text, kind, options.model, noun=target.label)
    if isinstance(change, str):
        return _lost(target, kind, change)
    if problem := neighbours.problem(target, text, change):
        return _lost(target, kind, problem)
    told = answer_fields(reply.text)
    one = _rejection(target, kind, text, change)
    if told and not _agrees(told, change):
        one.flags = [*one.flags, "says-otherwise"]
    return one


def _agrees(told: dict[str, str], change: Change) -> bool:
    """Whether what the model says it changed is, in part or with more around it, what it did."""
    pairs = ((told.get("before", ""), change.before), (told.get("after", ""), change.after))
    folded = [(said.lower(), done.lower()) for said, done in pairs]
    return all(said in done or done in said for said, done in folded)


def _in_order(targets: Sequence[Target], made: dict[str, Target]) -> Iterator[Target]:
    for one in targets:
        if one.id in made:
            yield made[one.id]
            continue
        yield one
        for kind in KINDS:
            if f"{one.id}-{kind}" in made:
                yield made[f"{one.id}-{kind}"]
