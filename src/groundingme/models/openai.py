"""Any server that speaks the OpenAI chat-completions protocol: vLLM, SGLang, llama.cpp, hosted.

The body is written piece by piece, with the image turned into base64 on the way, so that a request
in flight costs no memory beyond the image itself. It is posted with aiohttp over one pool of
kept-alive connections.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from groundingme import keys
from groundingme.errors import (
    FatalError,
    RequestError,
    RetryableError,
    UsageError,
    json_problem,
)
from groundingme.models import PROVIDERS, Model, Request
from groundingme.models.confidence import Token, from_tokens
from groundingme.models.hosted import NO_QUOTA, seconds
from groundingme.models.options import address, sent_headers
from groundingme.models.wire import bounded_response
from groundingme.schema import Generation

if TYPE_CHECKING:
    import aiohttp

DEFAULT_BASE_URL = "https://api.openai.com/v1"

_ALTERNATIVES = 10
"""Likeliest tokens that are asked for at each place, for the confidence."""

_PIECE = 3 * 2**16
"""Bytes of an image that are turned into base64 and written at once; a multiple of 3."""


class OpenAI(Model):
    """A model behind an OpenAI-compatible server.

    Args:
        name: Model name as the server knows it.
        base_url: Up to and with `/v1`; the default is the environment's OPENAI_BASE_URL, or else
            OpenAI's own address.
        api_key_env: Name of the key, a variable or kept (see `keys`); a local server needs none.
        extra_body: Merged into every request's body, over what is there.
        headers: Sent with every request.
        timeout: Seconds to wait for one whole reply.
        max_tokens_field: `max_completion_tokens`, or `max_tokens` for servers that want that.
        logprobs: Ask for log-probabilities, from which the confidence comes: see `confidence`.
            Servers that have none refuse or ignore it.
    """

    paced = True

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        extra_body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | str = 600.0,
        max_tokens_field: str = "max_completion_tokens",
        logprobs: bool | str = False,
    ) -> None:
        url = base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL
        if not float(timeout) > 0:
            raise UsageError(f"expected a timeout of more than 0 seconds, got {timeout}")
        keys.find(api_key_env)
        self.name = f"openai/{name}"
        self.base_url = address(url, "http://localhost:8000/v1")
        self.server = "" if self.base_url == DEFAULT_BASE_URL else self.base_url
        self._served = name
        self._key_env = api_key_env
        self._extra = dict(extra_body or {})
        self._shown = keys.without_secrets(self._extra)
        self._headers = sent_headers(headers)
        self._timeout = float(timeout)
        self._max_tokens_field = max_tokens_field
        self._logprobs = str(logprobs).lower() in ("true", "1", "yes", "on")
        self._session: aiohttp.ClientSession | None = None

    def settings(self) -> dict[str, Any]:
        """`extra_body` alone, without keys: they and the address do not change what is asked."""
        return {"extra_body": self._shown} if self._shown else {}

    async def generate(self, request: Request) -> Generation:
        return (await self._send(request))[0]

    async def choices(self, request: Request, n: int) -> list[Generation]:
        """N replies from one request, where the server can; else the one that it gives.

        The tokens that the server counts for all of them are shared out by the length of their
        text; those of the prompt go to the first.
        """
        if n == 1:
            return await self._send(request)
        return await self._send(msgspec.structs.replace(request, extra={**request.extra, "n": n}))

    async def _send(self, request: Request) -> list[Generation]:
        """The replies to one request; the first of them is the request's trajectory.

        Raises:
            RetryableError: See `generate`, as all others.
        """
        import aiohttp

        session = self._open()
        body = _payload()(self._body(request))
        began = time.perf_counter()
        try:
            async with session.post(f"{self.base_url}/chat/completions", data=body) as response:
                content = await response.read()
                status, headers = response.status, response.headers
        except TimeoutError:
            raise RetryableError(
                "timeout", f"no reply within {self._timeout:g} s from {self.base_url}"
            ) from None
        except aiohttp.InvalidURL as error:
            raise FatalError("not-found", f"expected a base URL, got {error}") from None
        except aiohttp.ClientConnectorError as error:
            refused = isinstance(error.os_error, ConnectionRefusedError)
            words = "connection refused" if refused else error.strerror or str(error.os_error)
            raise RetryableError(
                "unreachable", f"nobody answers at {self.base_url}: {words}"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            words = str(error) or type(error).__name__
            raise RetryableError("connection", f"{self.base_url}: {words}") from None
        if status != 200:
            raise self._refused(status, content, headers.get("Retry-After"))
        return self._read(request, content, time.perf_counter() - began)

    def preview(self, request: Request) -> dict[str, Any]:
        """Address and body of the request, without the image's base64."""
        body = self._body(request)
        return {
            "url": f"{self.base_url}/chat/completions",
            "body": msgspec.json.decode(body.head + b"..." * bool(body.image) + body.tail),
        }

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            key = keys.find(self._key_env)
            if not key and not self.server and "authorization" not in map(str.lower, self._headers):
                raise FatalError(
                    "auth",
                    f"expected a key in the variable {self._key_env} for {self.base_url}, got "
                    f"none; set it, keep one with groundingme keys set {self._key_env}, or name "
                    "your own server with --base-url",
                )
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                response_class=bounded_response(),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                headers={
                    "Content-Type": "application/json",
                    **({"Authorization": f"Bearer {key}"} if key else {}),
                    **self._headers,
                },
            )
        return self._session

    def _body(self, request: Request) -> _Body:
        fields = {
            "model": self._served,
            "temperature": request.temperature,
            self._max_tokens_field: request.max_tokens,
            **({"logprobs": True, "top_logprobs": _ALTERNATIVES} if self._logprobs else {}),
            **merged(request.extra, self._extra),
        }
        system = b""
        if request.system:
            system = msgspec.json.encode({"role": "system", "content": request.system}) + b","
        head, image = b'{"messages":[%b{"role":"user","content":[' % system, b""
        text = msgspec.json.encode({"type": "text", "text": request.prompt})
        tail = b"]}],%b" % msgspec.json.encode(fields)[1:]
        before, after = (text, b"") if request.text_first else (b"", text)
        if request.image is not None:
            image = request.image.data
            url = b'{"type":"image_url","image_url":{"url":"data:%b;base64,'
            before += b"," * bool(before) + url % request.image.mime.encode()
            after = b'"}}' + b"," * bool(after) + after
        head, tail = head + before, after + tail
        return _Body(head, image, tail)

    def _read(self, request: Request, content: bytes, latency: float) -> list[Generation]:
        reply = _decode(content)
        if reply.error:
            raise RetryableError("bad-reply", keys.masked(_words(reply.error)))
        if not reply.choices:
            raise RetryableError("bad-reply", "the reply has no choices")
        found = [
            self._generation(request, reply, choice, latency, number)
            for number, choice in enumerate(reply.choices)
        ]
        return found if len(found) == 1 else _shared(found)

    def _generation(
        self, request: Request, reply: _Reply, choice: _Choice, latency: float, number: int
    ) -> Generation:
        message = choice.message
        text = _text(message.content) or message.refusal or ""
        reasoning = message.reasoning_content or message.reasoning or ""
        if message.content is None and not text and choice.finish_reason in (None, "", "stop"):
            raise RetryableError("bad-reply", "the reply has no content")
        usage = reply.usage or _Usage()
        details = usage.completion_tokens_details or _Details()
        sure = from_tokens(text, _tokens(choice.logprobs)) if choice.logprobs else None
        return Generation(
            id=request.id,
            trajectory=request.trajectory + number,
            text=text,
            reasoning=reasoning,
            finish_reason=choice.finish_reason or "",
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            reasoning_tokens=details.reasoning_tokens,
            latency=round(latency, 4),
            served_model=reply.model or "",
            confidence=sure.answer if sure else None,
            coordinate_logprob=sure.coordinates if sure else None,
        )

    def _refused(self, status: int, content: bytes, retry_after: str | None) -> RequestError:
        try:
            said = _words(json.loads(content))
        except ValueError:
            said = " ".join(content[:200].decode(errors="replace").split())
        said = keys.masked(said)
        where = f"{self.base_url} answered {status}: {said or 'nothing'}"
        if _NO_EYES.search(said):
            return FatalError("no-images", f"{where}; serve a model that sees", status=status)
        if status == 401 or status == 403:
            return FatalError(
                "auth",
                f"{where}; put a valid key into {self._key_env}, or keep one with "
                f"groundingme keys set {self._key_env}",
                status=status,
            )
        if status == 404 or (status == 400 and _NO_MODEL.search(said)):
            return FatalError(
                "not-found", f"{where}; check the base URL and the name {self._served!r}",
                status=status,
            )  # fmt: skip
        if status == 402 or (status in (400, 429) and NO_QUOTA.search(said)):
            return FatalError("quota", where, status=status)
        if status == 429:
            wait = seconds(retry_after)
            return RetryableError("rate-limit", where, status=status, retry_after=wait)
        if status in (408, 409, 425) or status >= 500:
            wait = seconds(retry_after)
            return RetryableError("server", where, status=status, retry_after=wait)
        return RequestError("bad-request", where, status=status)


def _shared(found: list[Generation]) -> list[Generation]:
    """Replies of one request with the tokens shared out, as `OpenAI.choices` says."""
    sizes = [1 + len(one.reasoning) + len(one.text) for one in found]
    ends = [sum(sizes[:at]) / sum(sizes) for at in range(len(found) + 1)]

    def part(total: int | None, at: int) -> int | None:
        return None if total is None else round(total * ends[at + 1]) - round(total * ends[at])

    return [
        msgspec.structs.replace(
            one,
            prompt_tokens=one.prompt_tokens if at == 0 or one.prompt_tokens is None else 0,
            completion_tokens=part(one.completion_tokens, at),
            reasoning_tokens=part(one.reasoning_tokens, at),
        )
        for at, one in enumerate(found)
    ]


def _tokens(logprobs: _Logprobs) -> list[Token]:
    return [
        Token(one.token, one.logprob, tuple((o.token, o.logprob) for o in one.top_logprobs or ()))
        for one in logprobs.content or ()
    ]


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both objects in one; where both have a key, objects are merged and else `other` counts."""
    both = dict(one)
    for key, value in other.items():
        mine = both.get(key)
        inner = isinstance(mine, Mapping) and isinstance(value, Mapping)
        both[key] = merged(mine, value) if inner else value  # type: ignore[arg-type]
    return both


class _Body(msgspec.Struct, frozen=True):
    """A request's JSON: what stands before the image's base64, the image, and what stands behind.

    Attributes:
        head: JSON up to the base64.
        image: Encoded bytes; none where the request has no image.
        tail: JSON behind it.
    """

    head: bytes
    image: bytes
    tail: bytes

    def __len__(self) -> int:
        return len(self.head) + -(-len(self.image) // 3) * 4 + len(self.tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self.head
        view = memoryview(self.image)
        for start in range(0, len(view), _PIECE):
            yield base64.b64encode(view[start : start + _PIECE])
        yield self.tail


@functools.cache
def _payload() -> Callable[[_Body], aiohttp.Payload]:
    """A class that aiohttp can send; made on first use, as its base is imported then."""
    import aiohttp
    from aiohttp.abc import AbstractStreamWriter

    class Pieces(aiohttp.Payload):
        _autoclose = True

        def __init__(self, body: _Body) -> None:
            super().__init__(body, content_type="application/json")
            self._size = len(body)

        def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
            return b"".join(self._value).decode(encoding, errors)

        async def write(self, writer: AbstractStreamWriter) -> None:
            for piece in self._value:
                await writer.write(piece)

    return Pieces


class _Details(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_tokens_details: _Details | None = None


class _Message(msgspec.Struct):
    content: str | list[dict[str, Any]] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None


class _Alternative(msgspec.Struct):
    token: str
    logprob: float


class _Sampled(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_Alternative] | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Sampled] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Reply(msgspec.Struct):
    choices: list[_Choice] = []
    model: str | None = None
    usage: _Usage | None = None
    error: Any = None


def _decode(content: bytes) -> _Reply:
    """The body of a reply; halves of characters in it, as cut tokens leave them, become U+FFFD.

    Raises:
        RetryableError: It is no chat completion.
    """
    try:
        try:
            return msgspec.json.decode(content, type=_Reply)
        except (msgspec.DecodeError, UnicodeDecodeError):
            loose = json.loads(content.decode(errors="replace"))
            whole = json.dumps(loose, ensure_ascii=False).encode("utf-16", "surrogatepass")
            return msgspec.json.decode(whole.decode("utf-16", "replace"), type=_Reply)
    except (ValueError, RecursionError) as error:
        said = " ".join(json_problem(error).split())[:200]
        raise RetryableError("bad-reply", f"no chat completion: {said}") from None


def _text(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return content or ""


# llama.cpp says so with a status of 500, vLLM with 400.
_NO_EYES = re.compile(
    r"image input is not supported|not a multimodal model|does not support (?:image|vision)", re.I
)

_NO_MODEL = re.compile(r"model_not_found|invalid model name", re.I)


def _words(reply: Any) -> str:
    """What an error body says, in one line."""
    error = reply.get("error", reply) if isinstance(reply, dict) else reply
    if isinstance(error, dict):
        said = error.get("message") or error.get("detail") or error
        code = error.get("code")
        error = f"{said} ({code})" if code else said
    return " ".join(str(error).split())[:300]


PROVIDERS.register("openai", OpenAI)
