"""The nouns: Sample, Generation, Answer, Score, Run. Read this file first.

A *sample* is an image, a description and a target. A model answers it with a *generation*, one
raw reply. What the generation says is its *answer*: a box, a rejection, or nothing readable. A
protocol turns answer and target into a *score*. A *run* is one model on one data set under one
setting. Inside the package every box is float64 `x1, y1, x2, y2` in pixels of the original image
after EXIF orientation; other conventions live in `geometry.CoordFormat`.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

Box = tuple[float, float, float, float]
"""`x1, y1, x2, y2` in pixels of the original image after EXIF orientation."""

Outcome = Literal["box", "rejected", "unparsed", "failed"]
"""What became of a sample. `failed`: there is no generation to read."""


class ImageSource(Protocol):
    """Where one image's encoded bytes can be had, without holding them."""

    @property
    def name(self) -> str:
        """A path or row that a person can find."""

    def read(self) -> bytes:
        """The encoded bytes, exactly as stored.

        Raises:
            ImageError: The bytes cannot be had.
        """


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One question: an image, a description, and what it should lead to.

    Attributes:
        id: Unique in its data set.
        description: The referring expression.
        target: The object's box, or None where nothing matches (rejection).
        width: Of the upright image, in pixels; 0 when unknown.
        height: Of the upright image, in pixels; 0 when unknown.
        image: Where the image is; None where the data set came without images.
        subtask_l1: A name of `taxonomy.L1`, or "".
        subtask_l2: A name of `taxonomy.L2`, or "".
        detection_type: Head noun of the target, or "".
        problem: Why this row cannot be asked, or "". Such a sample still counts, as failed.
        extra: Further columns of the data set, untouched.
    """

    id: str
    description: str
    target: Box | None
    width: int = 0
    height: int = 0
    image: ImageSource | None = None
    subtask_l1: str = ""
    subtask_l2: str = ""
    detection_type: str = ""
    problem: str = ""
    extra: dict[str, Any] = {}


class Generation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One raw reply of a model to one sample, or the reason why there is none.

    Attributes:
        id: The sample's id.
        trajectory: 0, or the index among several sampled replies.
        text: The reply, verbatim.
        reasoning: Reasoning that the server returned in a field of its own.
        finish_reason: As the server says it (`stop`, `length`, `content_filter`, ...).
        failure: "" when there is a reply; else a short stable word (`timeout`, `image`, ...).
        detail: One line on the failure.
        prompt_tokens: As counted by the server; None where it does not say. So are the others.
        completion_tokens: Including reasoning.
        reasoning_tokens: The part of the completion spent on reasoning.
        latency: Seconds from sending the last attempt to its full reply.
        attempts: Requests made for this line, the last one included.
        served_model: Model name as the server reports it.
        confidence: The model's own probability of its answer, in [0, 1]; None where it has none.
        coordinate_logprob: Mean log-probability of the tokens that write the box; None where the
            server gave none.
        cached: Whether it comes from the cache of replies, and cost nothing in this run.
        image_digest: `sha256:` and hex digits of the bytes that were sent; "" when none were.
        sent_width: Width of the image as sent, in pixels; 0 when none was.
        sent_height: Height of the image as sent, in pixels; 0 when none was.
        full_width: Width of the upright original where it was resized before it was sent; else 0.
        full_height: Height, likewise.
        time: When the line was written, ISO 8601, UTC.
    """

    id: str
    trajectory: int = 0
    text: str = ""
    reasoning: str = ""
    finish_reason: str = ""
    failure: str = ""
    detail: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    latency: float = 0.0
    attempts: int = 1
    served_model: str = ""
    confidence: float | None = None
    coordinate_logprob: float | None = None
    cached: bool = False
    image_digest: str = ""
    sent_width: int = 0
    sent_height: int = 0
    full_width: int = 0
    full_height: int = 0
    time: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What a generation says.

    Attributes:
        outcome: `box`, `rejected` or `unparsed`.
        reason: How it was read, in a short stable word (`json`, `box-tokens`, `null`, `words`,
            `empty`, `refusal`, ...).
        coords: The four numbers as written, in the reply's own order and space; None unless
            `outcome` is `box`. Finite.
        span: Start and end of the characters that the answer was read from; None for `unparsed`.
        source: The field that `span` indexes, `text` or `reasoning`.
    """

    outcome: Literal["box", "rejected", "unparsed"]
    reason: str
    coords: tuple[float, float, float, float] | None = None
    span: tuple[int, int] | None = None
    source: Literal["text", "reasoning"] = "text"


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """One sample under one protocol.

    Attributes:
        id: The sample's id.
        outcome: `box`, `rejected`, `unparsed` or `failed`.
        reason: Why, in a short stable word.
        box: The box that was scored, in pixels; None unless `outcome` is `box`.
        iou: In [0, 1]; 1 for a correct rejection, 0 where nothing usable was answered.
        center: Whether the box's centre lies in the target (a correct rejection counts).
        scored: Whether the sample is in the protocol's denominator.
    """

    id: str
    outcome: Outcome
    reason: str
    box: Box | None
    iou: float
    center: bool
    scored: bool = True


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of which model on which data: the manifest of a run folder.

    Attributes:
        model: `PROVIDER/NAME`.
        data: The data set as the user named it.
        data_name: The data set's own name.
        data_fingerprint: `sha256:` and hex digits over ids, descriptions and targets.
        samples: Number of samples in the run: the denominator.
        subset: `L1`, `L1/L2` or "".
        limit: First N samples, or None for all.
        prompt: The prompt template, with `{description}`.
        settings: Everything else that changes what the model is asked.
        coords: Name of the declared `geometry.CoordFormat`; read at scoring, so it can change.
        created: ISO 8601, UTC.
        versions: Of groundingme, Python and the libraries that touch the request.
    """

    model: str
    data: str
    data_name: str
    data_fingerprint: str
    samples: int
    subset: str = ""
    limit: int | None = None
    prompt: str = ""
    settings: dict[str, Any] = {}
    coords: str = "abs"
    created: str = ""
    versions: dict[str, str] = {}
