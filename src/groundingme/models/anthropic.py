"""Claude, through Anthropic's own SDK (`pip install 'groundingme[anthropic]'`).

Claude writes pixels of the image that it sees, so the image is made that small before it is sent:
see the coordinate formats `abs-claude` and `abs-claude-4.7`.
"""

from __future__ import annotations

import base64
import importlib.util
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from groundingme.errors import FatalError, MissingDependencyError, RequestError, RetryableError
from groundingme.models import PROVIDERS, Request
from groundingme.models.hosted import HostedModel, seconds
from groundingme.models.wire import bound
from groundingme.registry import unknown
from groundingme.schema import Generation

if TYPE_CHECKING:
    import anthropic

EFFORTS = ("low", "medium", "high", "xhigh", "max")
LAST_WITH_TEMPERATURE = (4, 6)
"""Later models refuse `temperature`, even at its default."""
LAST_WITH_BUDGET = (4, 5)
"""Up to here thinking is switched on with a budget; later models decide by themselves."""
LEAST_BUDGET = 1024

_OLD_API = "2023-06-01"
"""The last version of the API that takes `temperature`; the SDK asks for a later one from 2.0."""


class Anthropic(HostedModel):
    """A Claude model.

    Thinking: `off`, `on` and a budget in tokens become the model's own switch; a model without it
    refuses, which ends the run with the API's words. Thinking blocks come back as `reasoning`.
    While a model thinks, and from Claude 4.7 on, the API takes no temperature, and none is sent;
    for the latter the run's settings say so.

    Args:
        name: As the API knows it, such as `claude-opus-4-6`.
        base_url: Of another server with the same protocol.
        api_key_env: Environment variable that holds the key.
        extra_body: Merged into every request's body, over what is there.
        headers: Sent with every request.
        timeout: Seconds to wait for one whole reply.
        effort: `low`, `medium`, `high`, `xhigh` or `max`; None for the model's default.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None = None,
        api_key_env: str = "ANTHROPIC_API_KEY",
        extra_body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | str = 600.0,
        effort: str | None = None,
    ) -> None:
        super().__init__(
            f"anthropic/{name}",
            base_url=base_url,
            key_names=(api_key_env,),
            extra_body=extra_body,
            headers=headers,
            timeout=timeout,
        )
        _sdk()
        if effort is not None and effort not in EFFORTS:
            raise unknown("effort", effort, EFFORTS)
        self._effort = effort
        self._version = version(name)
        self._client: anthropic.AsyncAnthropic | None = None

    def settings(self) -> dict[str, Any]:
        """Adds the effort, and that a later model is sent no temperature."""
        return {
            **super().settings(),
            **({"effort": self._effort} if self._effort else {}),
            **({} if self._takes_temperature else {"temperature": None}),
        }

    @property
    def _takes_temperature(self) -> bool:
        return self._version is not None and self._version <= LAST_WITH_TEMPERATURE

    async def generate(self, request: Request) -> Generation:
        import anthropic

        client = self._open()
        fields = self._fields(request)
        began = time.perf_counter()
        try:
            reply = await client.messages.create(**fields)
        except anthropic.APIStatusError as error:
            raise self._api_error(error) from None
        except anthropic.APIConnectionError as error:
            raise self._broken(error) from None
        except (anthropic.APIError, ValueError) as error:
            raise RetryableError(
                "bad-reply", f"{self._where} sent no message: {self._line(error, 200)}"
            ) from None
        return self._read(request, reply, time.perf_counter() - began)

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _open(self) -> anthropic.AsyncAnthropic:
        import anthropic

        if self._client is None:
            self._client = anthropic.AsyncAnthropic(
                api_key=self._needed_key(),
                base_url=self.base_url,
                timeout=self._timeout,
                # The runner asks again, and counts it; the SDK must not do so unseen.
                max_retries=0,
                # Not among a request's own headers, which the SDK writes into its log.
                default_headers={**self._old_key(), **self._headers},
                http_client=anthropic.DefaultAsyncHttpxClient(event_hooks={"response": [bound]}),
            )
        return self._client

    def _old_key(self) -> dict[str, str]:
        """The key as the old version of the API takes it."""
        return {"x-api-key": self._needed_key()} if self._takes_temperature else {}

    def _fields(self, request: Request) -> dict[str, Any]:
        """Arguments of `messages.create`."""
        content: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}]
        if request.image is not None:
            data = base64.b64encode(request.image.data).decode("ascii")
            source = {"type": "base64", "media_type": request.image.mime, "data": data}
            content.insert(int(request.text_first), {"type": "image", "source": source})
        fields: dict[str, Any] = {
            "model": self._served,
            "max_tokens": request.max_tokens,
            "messages": [{"role": "user", "content": content}],
            # Given here, it keeps the SDK from refusing replies that may take long.
            "timeout": self._timeout,
        }
        if request.system:
            fields["system"] = request.system
        if self._effort:
            fields["output_config"] = {"effort": self._effort}
        thinking = self._thinking(request)
        if thinking is not None:
            fields["thinking"] = thinking
        body = dict(self._extra)
        silent = thinking is None or thinking["type"] == "disabled"
        if silent and self._takes_temperature:
            body = {"temperature": request.temperature, **body}
            version = self._headers.get("anthropic-version", _OLD_API)
            fields["extra_headers"] = {"anthropic-version": version}
        if body:
            fields["extra_body"] = body
        return fields

    def _thinking(self, request: Request) -> dict[str, Any] | None:
        asked = request.thinking
        if asked is None:
            return None
        if asked == "off":
            # It calls it so, as its notes between tools remain; others have `disabled`, or refuse.
            lowest = "sonnet-5-5" in self._served
            return {"type": "between_tools" if lowest else "disabled"}
        if asked == "on":
            if self._version is None or self._version > LAST_WITH_BUDGET:
                return {"type": "adaptive", "display": "summarized"}
            budget = max(LEAST_BUDGET, request.max_tokens // 2)
        else:
            budget = int(asked)
        if not LEAST_BUDGET <= budget < request.max_tokens:
            raise FatalError(
                "bad-request",
                f"expected a thinking budget of {LEAST_BUDGET} or more and below max_tokens "
                f"({request.max_tokens}), got {budget}",
            )
        return {"type": "enabled", "budget_tokens": budget}

    def _read(self, request: Request, reply: Any, latency: float) -> Generation:
        blocks = getattr(reply, "content", None)
        if not isinstance(blocks, list):
            raise RetryableError(
                "bad-reply", f"{self._where} sent no message: {self._line(reply, 200)}"
            )
        text = "".join(block.text for block in blocks if block.type == "text")
        thoughts = "".join(block.thinking for block in blocks if block.type == "thinking")
        usage = reply.usage
        details = getattr(usage, "output_tokens_details", None) or {}
        if not isinstance(details, dict):  # as an SDK leaves a field that it does not know
            details = details.model_dump()
        cached = (
            getattr(usage, "cache_creation_input_tokens", None) or 0,
            getattr(usage, "cache_read_input_tokens", None) or 0,
        )
        return Generation(
            id=request.id,
            trajectory=request.trajectory,
            text=text,
            reasoning=thoughts,
            finish_reason=reply.stop_reason or "",
            prompt_tokens=usage.input_tokens + sum(cached) if usage else None,
            completion_tokens=usage.output_tokens if usage else None,
            reasoning_tokens=details.get("thinking_tokens"),
            latency=round(latency, 4),
            served_model=reply.model or "",
        )

    def _api_error(self, error: Any) -> RequestError:
        body = error.body if isinstance(error.body, dict) else {}
        inner = body.get("error", body)
        said = (isinstance(inner, dict) and inner.get("message")) or error.body or error.message
        words = self._line(said)
        if error.status_code == 400 and "credit balance" in words:
            return self._refused(402, words)
        headers = error.response.headers
        return self._refused(error.status_code, words, seconds(headers.get("retry-after")))


def version(name: str) -> tuple[int, int] | None:
    """Version of a Claude model by its name; None where the name has none of the known forms.

    Example:
        >>> [version(f"claude-{one}") for one in ("3-5-sonnet-20241022", "opus-4-20250514")]
        [(3, 5), (4, 0)]
        >>> [version(f"claude-{one}") for one in ("haiku-4-5-20251001", "opus-5", "fable-5-1")]
        [(4, 5), (5, 0), None]
    """
    found = re.search(r"claude-(\d)(?:-(\d))?-(?:opus|sonnet|haiku)", name) or re.search(
        r"claude-(?:opus|sonnet|haiku)-(\d{1,2})(?:-(\d{1,2}))?(?!\d)", name
    )
    return (int(found[1]), int(found[2] or 0)) if found else None


def _sdk() -> None:
    """Raises `MissingDependencyError` where the SDK is not installed."""
    if importlib.util.find_spec("anthropic") is None:
        raise MissingDependencyError(
            "expected Anthropic's SDK for anthropic/ models, got none; "
            "pip install 'groundingme[anthropic]'"
        )


PROVIDERS.register("anthropic", Anthropic)
