"""The stage that writes descriptions: a model drafts them, or rules make them from boxes alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from groundingme.build import prompts, rules
from groundingme.build.questions import Asked, Question, Shown, ask_all, check, count_line
from groundingme.build.reading import read
from groundingme.build.records import Target
from groundingme.build.stage import Context
from groundingme.errors import UsageError
from groundingme.schema import Box, Generation

SAMPLED = 0.7
"""Temperature of several drafts where none is given."""


class DescribeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who describes, and what counts as a description.

    Attributes:
        by: `model` asks one; `rules` needs none: see `rules`.
        model: `PROVIDER/NAME`, as `eval` takes it.
        options: For the provider.
        base_url: Of an OpenAI-compatible server.
        view: `outline` shows the whole picture with the object outlined in red, `crop` the object
            alone, of which only its looks are asked; `auto` is `crop` for Small, else `outline`.
        drafts: Descriptions that are asked for of each box; the first good one is taken, and all
            are kept.
        temperature: None is 0 for one draft and 0.7 for several.
        max_tokens: Most tokens of a reply, reasoning included.
        thinking: `on`, `off`, a budget in tokens; "" for the model's own way.
        prompt: File with a prompt of one's own: see `prompts`.
        min_words: Fewest of a description.
        max_words: Most of a description; half of it is asked for.
        language: `en` takes English descriptions only.
        price: `PROMPT,COMPLETION` in US dollars per million tokens; "" looks it up.
        concurrency: Requests in flight at once; None finds out.
    """

    by: Literal["model", "rules"] = "model"
    model: str = ""
    options: dict[str, Any] = {}
    base_url: str = ""
    view: Literal["auto", "outline", "crop"] = "auto"
    drafts: Annotated[int, Meta(ge=1, le=16)] = 1
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] = 4096
    thinking: str = ""
    prompt: str = ""
    min_words: Annotated[int, Meta(ge=1)] = 4
    max_words: Annotated[int, Meta(ge=1)] = 90
    language: Literal["en", "any"] = "en"
    price: str = ""
    concurrency: Annotated[int, Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        if self.by == "model":
            if not self.model:
                raise UsageError(
                    'expected a model that describes, got none; name it, or set by = "rules"'
                )
            check(self.asked)
        if self.min_words > self.max_words:
            raise UsageError(
                f"expected min_words of at most max_words, got {self.min_words} and "
                f"{self.max_words}"
            )
        if self.drafts > 1 and self.temperature == 0:
            raise UsageError(
                f"expected a temperature above 0 for {self.drafts} drafts, got 0, at which all "
                "are the same; leave it out, or ask for one"
            )
        if self.prompt:
            prompts.read_template(self.prompt)

    @property
    def asked(self) -> Asked:
        """Who is asked, and how."""
        temperature = self.temperature
        if temperature is None:
            temperature = SAMPLED if self.drafts > 1 else 0.0
        return Asked(
            model=self.model, options=self.options, base_url=self.base_url,
            temperature=temperature, max_tokens=self.max_tokens, thinking=self.thinking,
            price=self.price, concurrency=self.concurrency,
        )  # fmt: skip


def work(targets: list[Target], options: DescribeOptions, context: Context) -> list[Target]:
    """Describes every target that goes on and has no description yet.

    One that was chosen for Rejection gets a true description as well, which `negatives` changes.

    A target whose every request failed gets `failure`. One whose replies are of no use gets the
    problem of the first as its `fate` (see `reading`), or `no-rule`; for Text, `no-text` where no
    draft has writing in it.

    Raises:
        FatalError: The model cannot be asked at all.
        JobError: The budget is spent; what was said is kept.
        Interrupted: Ctrl-C.
    """
    waiting = [one for one in targets if one.goes_on and not one.description]
    if options.by == "rules":
        done = _by_rules(waiting, targets, context.seed)
    else:
        done = _by_model(waiting, options, context)
    lost = [one.fate or "failed" for one in done.values() if not one.goes_on]
    context.tell(count_line("describe", len(waiting), lost))
    return [done.get(one.id, one) for one in targets]


def _by_rules(waiting: Sequence[Target], targets: Sequence[Target], seed: int) -> dict[str, Target]:
    boxes: dict[str, dict[str, Sequence[Box]]] = {}
    for one in targets:
        boxes.setdefault(one.picture, {})[one.label] = [one.box, *one.others]
    done = {}
    for one in waiting:
        text = rules.describe(one, boxes[one.picture], random.Random(f"{seed}:{one.id}"))
        done[one.id] = (
            msgspec.structs.replace(one, description=text, drafts=[text])
            if text
            else msgspec.structs.replace(one, fate="no-rule")
        )
    return done


def _by_model(
    waiting: Sequence[Target], options: DescribeOptions, context: Context
) -> dict[str, Target]:
    questions = [
        Question(f"{one.id} {draft}", *_asked_of(one, options), trajectory=draft)
        for one in waiting
        for draft in range(options.drafts)
    ]
    replies = ask_all(questions, options.asked, context, stage="describe")
    return {
        one.id: _described(
            one, [replies[f"{one.id} {draft}"] for draft in range(options.drafts)], options
        )
        for one in waiting
    }


def _asked_of(target: Target, options: DescribeOptions) -> tuple[str, Shown]:
    """Prompt and picture."""
    view = options.view
    if view == "auto":
        view = "crop" if target.subtask_l2 == "Small" else "outline"
    template = prompts.CROP if view == "crop" else prompts.OUTLINE
    if options.prompt:
        template = prompts.read_template(options.prompt)
    most = max(options.min_words, options.max_words // 2)
    words = (min(max(options.min_words, 10), most), most)
    return prompts.render(template, target, words), Shown(target.where, target.box, view)


def _described(target: Target, replies: Sequence[Generation], options: DescribeOptions) -> Target:
    from groundingme.build.candidates import has_text

    failed = [one for one in replies if one.failure]
    words = (options.min_words, options.max_words)
    answers = [
        read(one, words=words, english=options.language == "en")
        for one in replies
        if not one.failure
    ]
    drafts = list(dict.fromkeys(one.description for one in answers if not one.problem))
    flags = [
        *target.flags,
        *dict.fromkeys(f"draft-{one.problem}" for one in answers if one.problem),
    ]
    good = [one for one in drafts if has_text(one)] if target.subtask_l2 == "Text" else drafts
    if good:
        return msgspec.structs.replace(target, drafts=drafts, description=good[0], flags=flags)
    if failed:
        first = failed[0]
        return msgspec.structs.replace(
            target, drafts=drafts, failure=f"{first.failure}: {first.detail}"
        )
    fate = "no-text" if drafts else answers[0].problem
    return msgspec.structs.replace(target, drafts=drafts, flags=flags, fate=fate)
