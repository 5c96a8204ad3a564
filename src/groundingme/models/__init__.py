"""Models that answer grounding questions: one file a provider, named `PROVIDER/NAME`."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from groundingme.errors import UsageError
from groundingme.images import Encoded
from groundingme.registry import Registry, unknown
from groundingme.schema import Generation

Thinking = Literal["on", "off"] | int | None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a model.

    Attributes:
        id: The sample's id.
        prompt: The whole text.
        image: As it is sent; None where the model needs none.
        width: Of the upright original, in pixels; 0 when unknown.
        height: Of the upright original, in pixels; 0 when unknown.
        temperature: 0 is greedy.
        max_tokens: Most tokens of the completion, reasoning included.
        trajectory: Index among several sampled replies.
        system: System prompt; "" for none.
        extra: Further fields of the body of an OpenAI-compatible request, as the model's family
            wants them (`chat_template_kwargs`, `reasoning_effort`, ...).
        thinking: What was asked for, for providers that have a switch of their own: `on`, `off`, a
            budget in tokens, or None for the model's own way.
        text_first: Whether the text stands before the image; usually it stands behind it.
    """

    id: str
    prompt: str
    image: Encoded | None = None
    width: int = 0
    height: int = 0
    temperature: float = 0.0
    max_tokens: int = 20480
    trajectory: int = 0
    system: str = ""
    extra: dict[str, Any] = {}
    thinking: Thinking = None
    text_first: bool = False


class Model(abc.ABC):
    """Anything that replies to a `Request`.

    Attributes:
        name: `PROVIDER/NAME`.
        needs_image: Whether requests must carry the image's bytes.
        coords: Name of the coordinate format in which it answers, where that is known from the
            provider alone; "" where the model behind it decides.
        server: Address of who answers; "" for a vendor's own and in this process, None for any.
        paced: Whether a server answers that may be full, so that the number of requests in flight
            is found out where none is given.
        in_hand: Samples that a run has in hand at once where the model runs in this process, so
            that its next batch is there when one ends; 0 for the usual number.
        switches_thinking: Whether it has a switch of its own for `Request.thinking`; otherwise
            the model's family says how (`Request.extra`, `Request.system`).
    """

    name: str
    needs_image: bool = True
    coords: str = ""
    server: str | None = ""
    paced: bool = False
    in_hand: int = 0
    switches_thinking: bool = False

    def settings(self) -> dict[str, Any]:
        """What changes the question beyond prompt and sampling; part of a run's identity."""
        return {}

    @abc.abstractmethod
    async def generate(self, request: Request) -> Generation:
        """One reply.

        Raises:
            RetryableError: Worth asking again.
            FatalError: No request can succeed.
            RequestError: This one cannot.
        """

    async def choices(self, request: Request, n: int) -> list[Generation]:
        """Up to N replies to one question, at least one, numbered from the request's trajectory.

        Those that a provider cannot give at once are asked for one by one.

        Raises:
            RequestError: As `generate`.
        """
        return [await self.generate(request)]

    def preview(self, request: Request) -> dict[str, Any]:
        """What would be sent, for people; the image's bytes and the key are left out."""
        return {
            "system": request.system,
            "prompt": request.prompt,
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "thinking": request.thinking,
            **request.extra,
        }

    async def aclose(self) -> None:
        """Frees what the model holds; it can be used again afterwards."""
        return


class Wrapped(Model):
    """A model in front of another, known by its name and treated like it.

    Whoever asks it asks the other one in `generate`, and in `choices` where that has a way of its
    own.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.name = model.name
        self.needs_image = model.needs_image
        self.coords = model.coords
        self.server = model.server
        self.paced = model.paced
        self.in_hand = model.in_hand
        self.switches_thinking = model.switches_thinking

    def settings(self) -> dict[str, Any]:
        return self._model.settings()

    def preview(self, request: Request) -> dict[str, Any]:
        return self._model.preview(request)

    async def aclose(self) -> None:
        await self._model.aclose()


Factory = Callable[..., Model]
"""Takes the name behind `PROVIDER/` and the provider's options."""

PROVIDERS: Registry[Factory] = Registry("provider", "groundingme.models")


SAMPLING = ("samples", "sample_temperature")
POSING = ("system", "order")
"""Options that every provider has, and these."""


def load_model(name: str, **options: Any) -> Model:
    """A model by name.

    Args:
        name: `PROVIDER/NAME`, such as `openai/Qwen/Qwen3-VL-8B-Instruct` or `baseline/center`.
        **options: For the provider; and for any of them `system` and `order`, which put the
            question in another way (see `posed.Posed`), and `samples` and `sample_temperature`,
            which ask several times for a confidence (see `sampled.Sampled`).

    Raises:
        UsageError: The name or an option is unknown; the message lists the known ones.
    """
    sampling = {name: options.pop(name) for name in SAMPLING if name in options}
    posing = {name: options.pop(name) for name in POSING if name in options}
    provider, slash, rest = name.partition("/")
    factory = PROVIDERS.get(provider)
    if not slash or not rest:
        raise UsageError(
            f"expected a model as PROVIDER/NAME, got {name!r}; such as {provider}/NAME"
        )
    known = [
        parameter.name
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    for option in options:
        if not known:
            raise UsageError(
                f"the provider {provider} takes no options, got {option!r}; leave it out"
            )
        if option not in known:
            raise unknown(f"option of the provider {provider}", option, known)
    try:
        model = factory(rest, **options)
    except UsageError:
        raise
    except (TypeError, ValueError) as error:
        # Of headers the names alone are shown: their values may be secrets.
        given = ", ".join(
            f"{option}={list(value) if option == 'headers' else value!r}"
            for option, value in options.items()
        )
        raise UsageError(
            f"expected options that the provider {provider} can use, got {given}: {error}"
        ) from None
    if posing:
        from groundingme.models.posed import Posed

        model = Posed(model, **posing)
    if not sampling:
        return model
    from groundingme.models.sampled import Sampled

    return Sampled(model, **sampling)
