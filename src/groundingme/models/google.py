"""Gemini, through Google's own SDK (`pip install 'groundingme[google]'`).

Gemini writes boxes y first, in thousandths: see the coordinate format `n1000-yxyx` and the prompt
`unified-yxyx`.
"""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from groundingme.errors import (
    FatalError,
    MissingDependencyError,
    RequestError,
    RetryableError,
    UsageError,
)
from groundingme.models import PROVIDERS, Request
from groundingme.models.confidence import ALTERNATIVES, Token, with_confidence
from groundingme.models.hosted import HostedModel, seconds, transport_errors
from groundingme.models.options import flag, whole
from groundingme.models.wire import bounded_response
from groundingme.schema import Generation

if TYPE_CHECKING:
    from google import genai

LEVELS = ("minimal", "low", "medium", "high", "xhigh")
"""Thinking levels of Gemini 3, each model taking some of them."""


class Google(HostedModel):
    """A Gemini model.

    Thinking: `off` sends a budget of 0, `on` lets the model choose, a number is the budget. Where
    a model cannot stop thinking, `off` ends the run before it is asked. Thoughts come back as
    `reasoning`, in the summary that the API gives.

    Args:
        name: As the API knows it, such as `gemini-2.5-pro`.
        base_url: Of another server with the same protocol.
        api_key_env: Environment variable that holds the key; the default is GEMINI_API_KEY, or
            else GOOGLE_API_KEY.
        extra_body: Merged into every request's body, over what is there.
        headers: Sent with every request.
        timeout: Seconds to wait for one whole reply.
        thinking_budget: Most tokens of thinking: 0 for none, -1 for as many as the model likes;
            Gemini 2.5. It goes before what the run asks.
        thinking_level: `minimal`, `low`, `medium`, `high` or `xhigh`; Gemini 3. Likewise.
        logprobs: Ask for log-probabilities, from which the confidence comes: see `confidence`.
            Models that have none refuse.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None = None,
        api_key_env: str | None = None,
        extra_body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | str = 600.0,
        thinking_budget: int | str | None = None,
        thinking_level: str | None = None,
        logprobs: bool | str = False,
    ) -> None:
        super().__init__(
            f"google/{name}",
            base_url=base_url,
            key_names=(api_key_env,) if api_key_env else ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            extra_body=extra_body,
            headers=headers,
            timeout=timeout,
        )
        _sdk()
        self._budget = whole("thinking_budget", thinking_budget, -1)
        self._level = thinking_level.lower() if thinking_level else None
        if self._level not in (None, *LEVELS):
            raise UsageError(
                f"expected thinking_level as one of {', '.join(LEVELS)}, got {thinking_level!r}"
            )
        if self._budget is not None and self._level is not None:
            raise UsageError(
                "expected thinking_budget or thinking_level, got both; the API takes one"
            )
        self._logprobs = flag("logprobs", logprobs)
        self._client: genai.Client | None = None

    def settings(self) -> dict[str, Any]:
        """Adds the thinking options to those of every hosted model."""
        chosen = {"thinking_budget": self._budget, "thinking_level": self._level}
        return {
            **super().settings(),
            **{option: value for option, value in chosen.items() if value is not None},
        }

    async def generate(self, request: Request) -> Generation:
        from google.genai import errors, types

        client = self._open()
        parts = [types.Part(text=request.prompt)]
        if request.image is not None:
            blob = types.Blob(data=request.image.data, mime_type=request.image.mime)
            parts.insert(int(request.text_first), types.Part(inline_data=blob))
        thinking = self._thinking(request)
        config = types.GenerateContentConfig(
            temperature=request.temperature,
            max_output_tokens=request.max_tokens,
            system_instruction=request.system or None,
            thinking_config=None if thinking is None else types.ThinkingConfig(**thinking),
            response_logprobs=self._logprobs or None,
            logprobs=ALTERNATIVES if self._logprobs else None,
            http_options=types.HttpOptions(extra_body=self._extra) if self._extra else None,
        )
        began = time.perf_counter()
        try:
            reply = await client.aio.models.generate_content(
                model=self._served, contents=types.Content(role="user", parts=parts), config=config
            )
        except errors.APIError as error:
            raise self._api_error(error) from None
        except transport_errors() as error:
            raise self._broken(error) from None
        except ValueError as error:
            raise RetryableError(
                "bad-reply", f"{self._where} sent no reply of Gemini: {self._line(error, 200)}"
            ) from None
        return self._read(request, reply, time.perf_counter() - began)

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aio.aclose()
            await self._session.close()
            self._client.close()
            self._client = None

    def _open(self) -> genai.Client:
        from google import genai
        from google.genai import types

        if self._client is None:
            import aiohttp

            key = self._needed_key()
            self._session = aiohttp.ClientSession(response_class=bounded_response(), trust_env=True)
            self._client = genai.Client(
                api_key=key,
                http_options=types.HttpOptions(
                    base_url=self.base_url,
                    headers=self._headers or None,
                    timeout=int(self._timeout * 1000),
                    # The runner asks again, and counts it; the SDK must not do so unseen.
                    retry_options=types.HttpRetryOptions(attempts=1),
                    aiohttp_client=self._session,
                ),
            )
        return self._client

    def _thinking(self, request: Request) -> dict[str, Any] | None:
        """Fields of the thinking configuration; None to say nothing about it."""
        if self._level is not None:
            return {"thinking_level": self._level.upper(), "include_thoughts": True}
        budget = self._budget
        if budget is None:
            asked = request.thinking
            if asked is None:
                return None
            if asked == "on":
                return {"include_thoughts": True}
            if asked == "off" and re.search(r"2\.5-pro|gemini-(?:[3-9]|\d\d)", self._served):
                raise FatalError(
                    "bad-request",
                    f"expected a model that can stop thinking, got {self._served}; give a small "
                    "thinking_budget (2.5) or a low thinking_level (3) instead",
                )
            budget = 0 if asked == "off" else int(asked)
        return {"thinking_budget": budget, "include_thoughts": budget != 0}

    def _read(self, request: Request, reply: Any, latency: float) -> Generation:
        texts: list[str] = []
        thoughts: list[str] = []
        finish = ""
        if reply.candidates:
            candidate = reply.candidates[0]
            finish = _word(candidate.finish_reason)
            for part in (candidate.content and candidate.content.parts) or ():
                if part.text:
                    (thoughts if part.thought else texts).append(part.text)
        elif reply.prompt_feedback and reply.prompt_feedback.block_reason:
            finish = _word(reply.prompt_feedback.block_reason)
        if not texts and finish in ("", "STOP"):
            raise RetryableError("bad-reply", f"the reply of {self._where} has no content")
        usage = reply.usage_metadata
        answer = usage.candidates_token_count if usage else None
        thought = usage.thoughts_token_count if usage else None
        counted = answer is not None or thought is not None
        generation = Generation(
            id=request.id,
            trajectory=request.trajectory,
            text="".join(texts),
            reasoning="".join(thoughts),
            finish_reason=finish,
            prompt_tokens=usage.prompt_token_count if usage else None,
            completion_tokens=(answer or 0) + (thought or 0) if counted else None,
            reasoning_tokens=thought,
            latency=round(latency, 4),
            served_model=reply.model_version or "",
        )
        found = reply.candidates and reply.candidates[0].logprobs_result
        return with_confidence(generation, _tokens(found)) if found else generation

    def _api_error(self, error: Any) -> RequestError:
        body = error.details if isinstance(error.details, dict) else {}
        inner = body.get("error", body)
        details = [one for one in _items(inner.get("details")) if isinstance(one, Mapping)]
        reasons = {one.get("reason") for one in details}
        said = self._line(error.message or body)
        if "API_KEY_INVALID" in reasons or (error.code == 400 and "API key" in said):
            return self._refused(401, said)
        if error.status == "FAILED_PRECONDITION":
            return FatalError(
                "account", f"{self._where} answered {error.code}: {said}", status=error.code
            )
        daily = any(
            "PerDay" in str(violation.get("quotaId"))
            for one in details
            for violation in _items(one.get("violations"))
            if isinstance(violation, Mapping)
        )
        if error.code == 429 and daily:
            return FatalError("quota", f"{self._where} answered 429: {said}", status=429)
        waits = [seconds(str(one["retryDelay"])) for one in details if "retryDelay" in one]
        headers = getattr(error.response, "headers", None) or {}
        wait = seconds(headers.get("Retry-After")) or next(iter(waits), None)
        return self._refused(error.code, said, wait)


def _tokens(found: Any) -> list[Token]:
    chosen = found.chosen_candidates or []
    likeliest = [place.candidates or [] for place in found.top_candidates or []]
    likeliest += [[]] * (len(chosen) - len(likeliest))
    return [
        Token(*_logprob(one), tuple(map(_logprob, others)))
        for one, others in zip(chosen, likeliest, strict=False)
    ]


def _logprob(one: Any) -> tuple[str, float]:
    # Protocol buffers leave zeros out.
    return one.token or "", one.log_probability or 0.0


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else ()


def _word(reason: Any) -> str:
    """The name of a finish or block reason, which may be newer than the SDK."""
    return str(getattr(reason, "value", reason) or "")


def _sdk() -> None:
    """Raises `MissingDependencyError` where the SDK is not installed."""
    # `google` is shared by many packages: it may be there without the SDK.
    try:
        found = importlib.util.find_spec("google.genai") is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise MissingDependencyError(
            "expected Google's SDK for google/ models, got none; pip install 'groundingme[google]'"
        )


PROVIDERS.register("google", Google)
