"""Asks a model about targets: what was said is kept, so nothing is asked twice.

Replies lie in a run folder inside the stage's own folder, as those of an evaluation do, each under
a digest of what was asked. So a run that was killed goes on where it was, a question that failed
is asked again by the next run, and a changed prompt asks anew only where it changed something.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from groundingme import images
from groundingme.asking import resolve
from groundingme.build.stage import Context
from groundingme.cache import Cached
from groundingme.costs import parse_price
from groundingme.drawing import outline
from groundingme.errors import DataError, FatalError, ImageError, JobError, UsageError
from groundingme.evaluation import spending_for
from groundingme.interrupting import Interrupted, run_to_end
from groundingme.judges.pictures import crop
from groundingme.models import PROVIDERS, Model, Request, load_model
from groundingme.models.families import parse_thinking
from groundingme.runner import HOPELESS, ask
from groundingme.schema import Box, Generation, ImageSource, Run, Sample
from groundingme.store import RunFolder

if TYPE_CHECKING:
    from PIL import Image

RED = "#ff0000"
CROP_ROOM = 0.1
"""Of the box's longer side, left around a crop on each side."""
CROP_SIDES = (336, 1024)
"""Smallest and largest longer side of a crop as it is sent, in pixels."""
WHOLE_SIDE = 2048
"""Longest side of a whole picture as it is sent, in pixels."""
_TELL_EVERY = 30.0


def locate(where: str) -> ImageSource:
    """The picture that a target names."""
    from groundingme.build import sources

    return sources.locate(where)


class Shown(msgspec.Struct, frozen=True):
    """A picture as a model sees it: drawn or cut out when its bytes are asked for.

    Attributes:
        where: The picture, or where it is; see `sources.locate`.
        box: The object, in pixels of the upright picture.
        view: `outline`: the whole picture, at most `WHOLE_SIDE` pixels a side, with a red line
            around the object; `crop`: the object alone; `plain`: the whole picture as it is.
    """

    where: str | ImageSource
    box: Box
    view: str

    @property
    def name(self) -> str:
        """What tells it apart from any other."""
        where = self.where if isinstance(self.where, str) else self.where.name
        return where if self.view == "plain" else f"{where}#{self.view}={self.box}"

    def read(self) -> bytes:
        """A JPEG file; the original bytes of a `plain` one.

        Raises:
            ImageError: The picture cannot be read.
        """
        try:
            source = locate(self.where) if isinstance(self.where, str) else self.where
            data = source.read()
        except DataError as error:
            raise ImageError("missing", str(error)) from None
        if self.view == "plain":
            return data
        full = images.open_upright(data)
        out = io.BytesIO()
        drawn = _cut(full, self.box) if self.view == "crop" else _outlined(full, self.box)
        drawn.save(out, "JPEG", quality=90)
        return out.getvalue()


def _cut(full: Image.Image, box: Box) -> Image.Image:
    least, most = CROP_SIDES
    longest = (1 + 2 * CROP_ROOM) * max(box[2] - box[0], box[3] - box[1])
    return crop(full, box, room=CROP_ROOM, side=round(min(max(longest, least), most)))


def _outlined(full: Image.Image, box: Box) -> Image.Image:
    from PIL import Image, ImageDraw

    scale = min(1.0, WHOLE_SIDE / max(full.size))
    if scale < 1:
        size = (max(1, round(full.width * scale)), max(1, round(full.height * scale)))
        full = full.resize(size, Image.Resampling.LANCZOS)
    stroke = max(2, round(max(full.size) / 300))
    outline(ImageDraw.Draw(full), full, box, scale, RED, stroke)
    return full


class Question(msgspec.Struct, frozen=True):
    """One question to a model.

    Attributes:
        id: By which its reply is given back.
        prompt: The whole text.
        picture: Shown before it; None for none.
        trajectory: Which of several replies to the same question.
    """

    id: str
    prompt: str
    picture: Shown | None = None
    trajectory: int = 0

    @property
    def key(self) -> str:
        """The same for the same words about the same picture."""
        shown = self.picture.name if self.picture else ""
        return hashlib.sha256(f"{self.prompt}\0{shown}".encode()).hexdigest()[:32]


_HOSTED = ("anthropic", "google", "openai")
"""Providers whose models cost nothing to make."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asked, and how.

    Attributes:
        model: `PROVIDER/NAME`.
        options: For the provider, such as `timeout`.
        base_url: Of an OpenAI-compatible server; "" for the provider's own.
        temperature: 0 is greedy.
        max_tokens: Most tokens of a reply, reasoning included.
        thinking: `on`, `off`, a budget in tokens; "" for the model's own way.
        price: `PROMPT,COMPLETION` in US dollars per million tokens; "" looks it up.
        concurrency: Requests in flight at once; None finds out.
    """

    model: str
    options: dict[str, Any] = {}
    base_url: str = ""
    temperature: float = 0.0
    max_tokens: int = 4096
    thinking: str = ""
    price: str = ""
    concurrency: int | None = None

    def load(self) -> Model:
        """The model.

        Raises:
            UsageError: Its name or an option is unknown.
        """
        given = {"base_url": self.base_url} if self.base_url else {}
        return load_model(self.model, **given, **self.options)


def check_model(spec: str) -> None:
    """Raises `UsageError` where `spec` names no model of any provider."""
    provider, slash, rest = spec.partition("/")
    PROVIDERS.get(provider)
    if not slash or not rest:
        raise UsageError(f"expected a model as PROVIDER/NAME, got {spec!r}")


def check(asked: Asked) -> None:
    """Whether a model can be asked so. No weights are loaded, and nothing is sent.

    Raises:
        UsageError: There is no such provider, or a setting cannot be used.
    """
    check_model(asked.model)
    parse_thinking(asked.thinking or None)
    if asked.price:
        parse_price(asked.price)
    if asked.model.partition("/")[0] in _HOSTED:
        asked.load()


def ask_all(
    questions: Sequence[Question], asked: Asked, context: Context, *, stage: str
) -> dict[str, Generation]:
    """The reply to each question, those of earlier runs included, by the question's id.

    What failed has `failure` set and is asked again by the next run.

    Args:
        questions: Of equal words and picture, one is asked for all.
        asked: Who is asked.
        context: Of the stage.
        stage: Its name, for people.

    Raises:
        FatalError: The model cannot be asked at all; what it said is kept.
        JobError: The budget is spent; likewise.
        Interrupted: Ctrl-C; likewise.
    """
    if not questions:
        return {}
    model = asked.load()
    how = resolve(model, coords="abs", prompt="{description}", thinking=asked.thinking or None)
    spending = spending_for(model.name, asked.price or None, context.budget)
    settings = {
        "temperature": asked.temperature,
        "max_tokens": asked.max_tokens,
        **how.settings(),
        **model.settings(),
    }
    folder = RunFolder.find_or_create(
        context.folder / "asked",
        Run(
            model=model.name,
            data=f"build/{stage}",
            data_name=stage,
            data_fingerprint="",
            samples=0,
            prompt=how.template,
            settings=settings,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )
    with folder.lock():
        replies = folder.trajectories()
        known = {key for key, one in replies.items() if not one.failure}
        spending.add_all(replies.values())
        # Of a prompt that was changed there may be replies that this call has no question to.
        wanted = {(one.key, one.trajectory): one for one in questions}
        left = {at: one for at, one in wanted.items() if at not in known}
        context.tell(_begin(stage, asked.model, len(wanted), len(left)))
        told = _Told(context.tell, stage, len(left))

        def sink(generation: Generation) -> None:
            folder.append(generation)
            replies[generation.id, generation.trajectory] = generation
            spending.add(generation)
            told.count(generation)

        for trajectory in sorted({at for _, at in left}):
            mine = [one for (_, at), one in left.items() if at == trajectory]
            try:
                stopped = run_to_end(
                    ask(
                        _for(model, mine[0], context),
                        [_sample(one) for one in mine],
                        prompt=how.template,
                        sink=sink,
                        concurrency=asked.concurrency,
                        temperature=asked.temperature,
                        max_tokens=asked.max_tokens,
                        trajectory=trajectory,
                        system=how.system,
                        extra=how.extra,
                        thinking=how.thinking,
                        image_rule=how.image,
                        affords=None if context.budget is None else spending.affords,
                        hopeless=None if known or told.answered else HOPELESS,
                        tell=context.tell,
                    )
                )
            except FatalError as error:
                raise FatalError(
                    error.kind,
                    f"{stage}: {error}; what was said is kept, and the same command continues",
                    status=error.status,
                ) from error
            if stopped:
                raise Interrupted
    if line := spending.line():
        context.tell(f"{stage}: {line}")
    if line := spending.stopped(sum(at not in replies for at in wanted)):
        raise JobError(f"{stage}: {line}")
    return {one.id: replies[one.key, one.trajectory] for one in questions}


def _begin(stage: str, model: str, wanted: int, left: int) -> str:
    known = f", {wanted - left:,} of them answered already" if left < wanted else ""
    return f"{stage}: {wanted:,} questions to {model}{known}"


def _sample(question: Question) -> Sample:
    return Sample(id=question.key, description=question.prompt, target=None, image=question.picture)


def _for(model: Model, question: Question, context: Context) -> Model:
    shown = model if question.picture else _Text(model)
    return Cached(shown, context.cache) if context.cache else shown


class _Text(Model):
    """A model that is asked without a picture."""

    needs_image = False

    def __init__(self, model: Model) -> None:
        self.name, self.server, self.paced = model.name, model.server, model.paced
        self.switches_thinking = model.switches_thinking
        self._model = model

    def settings(self) -> dict[str, Any]:
        return self._model.settings()

    async def generate(self, request: Request) -> Generation:
        return await self._model.generate(request)

    async def aclose(self) -> None:
        await self._model.aclose()


class _Told:
    """Says now and then how far the asking is."""

    def __init__(self, tell: Callable[[str], None], stage: str, total: int) -> None:
        self._tell, self._stage, self._total = tell, stage, total
        self._done = self._failed = 0
        self._last = time.monotonic()

    @property
    def answered(self) -> bool:
        """Whether there was a reply."""
        return self._done > self._failed

    def count(self, generation: Generation) -> None:
        self._done += 1
        self._failed += bool(generation.failure)
        if time.monotonic() - self._last >= _TELL_EVERY and self._done < self._total:
            self._last = time.monotonic()
            failed = f", {self._failed:,} failed" if self._failed else ""
            self._tell(f"{self._stage}: {self._done:,} of {self._total:,} asked{failed}")


def count_line(stage: str, total: int, reasons: Iterable[str]) -> str:
    """How many came through, and why the others did not, in one line.

    Args:
        stage: Its name.
        total: Targets that were tried.
        reasons: One for each that did not come through.

    Example:
        >>> count_line("describe", 10, ["refused", "long", "refused"])
        'describe: 7 of 10 (2 refused, 1 long)'
    """
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    lost = sum(counts.values())
    why = ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items(), key=lambda x: -x[1]))
    return f"{stage}: {total - lost:,} of {total:,}" + (f" ({why})" if why else "")
