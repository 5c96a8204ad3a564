"""A multimodal LLM as a tagger: it is asked for the kinds of objects in a picture."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from groundingme.asking import resolve
from groundingme.build.taggers import TAGGERS, Tag, Tags
from groundingme.build.taggers.names import alike
from groundingme.errors import RequestError, UsageError
from groundingme.images import BytesImage
from groundingme.interrupting import Interrupted, run_to_end
from groundingme.models import load_model
from groundingme.models.options import whole
from groundingme.pacing import Pacer
from groundingme.runner import CONCURRENCY, RetryPolicy, ask
from groundingme.schema import Generation, Sample

if TYPE_CHECKING:
    from PIL import Image

PROMPT = (
    "Which kinds of objects are in this picture? The list goes to a detector that looks for each "
    "of them, so name every kind that somebody could draw a box around, also small and half-hidden "
    "ones, and none that you only suppose. Name each kind once, however many there are of it: a "
    "short English noun in the singular and in lower case, without number, colour, size or place. "
    "Leave out what has no outline of its own, such as sky, weather, light, text in general, "
    "actions and moods. Begin with what is most prominent; at most {most} names.\n"
    'Answer with one JSON list of strings, such as ["person", "traffic light"], and with nothing '
    "else. Where there is no object at all, answer []."
)

JPEG_QUALITY = 90

_READ = 2**16
"""Characters of a reply that are looked at: a list of 100 names has some 2,000."""
_STRING = re.compile(r'"((?:[^"\\\n]|\\.){1,200})"(\s*:)?')
_BULLET = re.compile(r"^[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]+(\S[^\n]{0,100})", re.MULTILINE)
_KEYS = ("name", "object", "label", "tag", "class", "category")
"""Under which an object of JSON has its name."""


class Mllm:
    """Any model that `eval` takes.

    Args:
        model: `PROVIDER/NAME`, such as `openai/Qwen/Qwen3-VL-8B-Instruct`.
        base_url: Of an OpenAI-compatible server, up to and with `/v1`.
        model_options: For the provider, such as `{"timeout": 120}`.
        names: Most names that are asked for; further ones are dropped.
        thinking: `on`, `off`, a budget in tokens, or "" for the model's own way.
        max_tokens: Most tokens of a reply, reasoning included.
        concurrency: Requests in flight at once; None finds out.
        attempts: Most requests for one picture, where a failure may pass.
        longest: Side of the picture as it is sent, in pixels; larger ones are made smaller.

    Raises:
        UsageError: The model or an option is unknown.
    """

    needs_image = True

    def __init__(
        self,
        *,
        model: str,
        base_url: str = "",
        model_options: Mapping[str, Any] | None = None,
        names: int | str = 50,
        thinking: str | int | bool = "",
        max_tokens: int | str = 4096,
        concurrency: int | str | None = None,
        attempts: int | str = 8,
        longest: int | str = 2048,
    ) -> None:
        given = {"base_url": base_url} if base_url else {}
        self._model = load_model(model, **given, **(model_options or {}))
        if not self._model.needs_image:
            raise UsageError(f"expected a model that looks at pictures, got {model}")
        self._most = whole("names", names, 1) or 1
        self._longest = whole("longest", longest, 28) or 28
        self._tokens = whole("max_tokens", max_tokens, 1) or 1
        self._retry = RetryPolicy(attempts=whole("attempts", attempts, 1) or 1)
        wanted = whole("concurrency", concurrency, 1)
        # One for all calls, so that what a server can take is found out once.
        self._pacer = Pacer(wanted or (None if self._model.paced else CONCURRENCY))
        self._how = resolve(
            self._model,
            coords="abs",
            prompt=f"{PROMPT.replace('{most}', str(self._most))}{{description}}",
            thinking=thinking or None,
        )

    def tag(self, pictures: Sequence[Image.Image]) -> list[Tags]:
        """The kinds that the model names, most prominent first, with score 1.

        A picture whose request failed, or whose reply holds no list, has a `RequestError` instead.

        Raises:
            FatalError: No request can succeed: a wrong key, an unknown model, no server.
            Interrupted: Ctrl-C.
        """
        samples = [
            Sample(
                id=str(number),
                description="",
                target=None,
                width=picture.width,
                height=picture.height,
                image=BytesImage(f"picture {number}", self._jpeg(picture)),
            )
            for number, picture in enumerate(pictures)
        ]
        replies: dict[str, Generation] = {}
        stopped = run_to_end(
            ask(
                self._model,
                samples,
                prompt=self._how.template,
                sink=lambda reply: replies.update({reply.id: reply}),
                retry=self._retry,
                max_tokens=self._tokens,
                system=self._how.system,
                extra=self._how.extra,
                thinking=self._how.thinking,
                image_rule=self._how.image,
                pacer=self._pacer,
            )
        )
        if stopped:
            raise Interrupted
        return [self._read(replies[sample.id]) for sample in samples]

    def _jpeg(self, picture: Image.Image) -> bytes:
        scale = self._longest / max(picture.size)
        if scale < 1:
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            picture = picture.resize(size)
        out = io.BytesIO()
        picture.convert("RGB").save(out, "JPEG", quality=JPEG_QUALITY)
        return out.getvalue()

    def _read(self, reply: Generation) -> Tags:
        if reply.failure:
            return RequestError(reply.failure, reply.detail or reply.failure)
        found = listed(reply.text)
        if found is None:
            start = " ".join(reply.text.split())[:80]
            return RequestError("unparsed", f"expected a JSON list of names, got {start!r}")
        return [Tag(name, 1.0) for name in alike(found, self._most)]


def listed(text: str) -> list[str] | None:
    """The names in a reply: a JSON list, what is left of one that was cut, or points of a list.

    Args:
        text: The reply; what comes after some 65,000 characters is not looked at.

    Returns:
        None where the reply has no list; empty where it says that there is nothing.

    Example:
        >>> listed('Here you are: ["cup", "spoon"]')
        ['cup', 'spoon']
        >>> listed('["cup", "spo')
        ['cup']
        >>> listed("I cannot help with that.")
    """
    text = text.rpartition("</think>")[2][:_READ]
    start = text.find("[")
    if start >= 0:
        end = text.rfind("]")
        if end > start:
            whole_list = _decoded(text[start : end + 1])
            if whole_list is not None:
                return whole_list
        strings = [string for string, colon in _STRING.findall(text, start) if not colon]
        if strings:
            return [string.replace("\\", "") for string in strings]
    return _BULLET.findall(text) or None


def _decoded(text: str) -> list[str] | None:
    try:
        values = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(values, list):
        return None
    names = []
    for value in values:
        if isinstance(value, dict):
            value = next((value[key] for key in _KEYS if key in value), None)
        if isinstance(value, str):
            names.append(value)
    return names if names or not values else None


TAGGERS.register("mllm", Mllm)
