"""The OpenAI protocol on the wire: a real server, real connections, every way it can go wrong."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json
import math
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from chat import ChatServer, Reply
from groundingme import evaluate
from groundingme.errors import FatalError, RequestError, RetryableError, UsageError
from groundingme.images import Encoded
from groundingme.models import Request, load_model
from groundingme.models.openai import OpenAI
from groundingme.schema import Generation

JPEG = Encoded(b"\xff\xd8\xff not decoded by anybody \xff\xd9", "image/jpeg", 30, 20)


def ask(base_url: str, *, image: Encoded | None = JPEG, **options: Any) -> Generation:
    """One question through a model that is opened and closed around it."""
    model = OpenAI("org/served", base_url=base_url, **options)

    async def one() -> Generation:
        try:
            return await model.generate(
                Request(id="a", prompt="Where?", image=image, temperature=0.5, max_tokens=99)
            )
        finally:
            await model.aclose()

    return asyncio.run(one())


def answered(*replies: Reply, **options: Any) -> Generation:
    with ChatServer({"Where?": replies}) as server:
        return ask(server.base_url, **options)


def test_what_is_sent() -> None:
    with ChatServer() as server:
        ask(server.base_url)
    (body,) = server.requests
    url = "data:image/jpeg;base64," + base64.b64encode(JPEG.data).decode()
    assert body == {
        "model": "org/served",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": url}},
                    {"type": "text", "text": "Where?"},
                ],
            }
        ],
        "temperature": 0.5,
        "max_completion_tokens": 99,
    }
    assert server.headers[0]["Content-Type"] == "application/json"
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 3 * 2**16 - 1, 3 * 2**16, 3 * 2**16 + 1, 3_000_000])
def test_images_of_any_size_arrive_whole(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    with ChatServer() as server:
        ask(server.base_url, image=Encoded(data[:size], "image/png", 1, 1))
    url = server.requests[0]["messages"][0]["content"][0]["image_url"]["url"]
    assert base64.b64decode(url.removeprefix("data:image/png;base64,")) == data[:size]


def test_log_probabilities_become_a_confidence() -> None:
    content = [
        {"token": '{"bbox_2d": ', "logprob": 0.0, "top_logprobs": []},
        {"token": "null", "logprob": -0.5, "top_logprobs": [{"token": "[", "logprob": -1.5}]},
        {"token": "}", "logprob": 0.0},
    ]
    reply = {
        "choices": [
            {
                "message": {"content": '{"bbox_2d": null}'},
                "finish_reason": "stop",
                "logprobs": {"content": content},
            }
        ]
    }
    with ChatServer({"Where?": [Reply(body=json.dumps(reply).encode())]}) as server:
        found = ask(server.base_url, logprobs=True)
        assert server.requests[0]["logprobs"] is True
        assert server.requests[0]["top_logprobs"] == 10
    assert found.confidence == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert found.coordinate_logprob is None
    assert answered(Reply(body=json.dumps(reply).encode())).confidence == found.confidence


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_key_in_a_servers_error_is_masked(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789")
    said = json.dumps({"error": {"message": "bad key sk-secret-0123456789, token abcdefghij"}})
    with pytest.raises(RequestError) as caught:
        answered(Reply(status=status, body=said.encode()), headers={"X-Token": "abcdefghij"})
    assert "bad key ***, token ***" in str(caught.value)


def test_without_an_image_the_text_alone_is_sent() -> None:
    with ChatServer() as server:
        ask(server.base_url, image=None)
    assert server.requests[0]["messages"][0]["content"] == [{"type": "text", "text": "Where?"}]


def test_a_moved_server_gets_the_whole_body_again() -> None:
    with ChatServer() as server:
        generation = ask(f"{server.origin}/moved")
    assert generation.text == '{"bbox_2d": [10, 10, 50, 50]}'
    assert len(server.requests) == 1


def test_extra_body_headers_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    with ChatServer() as server:
        ask(
            server.base_url,
            api_key_env="MY_KEY",
            extra_body={"temperature": 0.9, "chat_template_kwargs": {"enable_thinking": False}},
            headers={"X-Team": "blue"},
            max_tokens_field="max_tokens",
        )
    (body,), (headers,) = server.requests, server.headers
    assert body["temperature"] == 0.9
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["max_tokens"] == 99
    assert "max_completion_tokens" not in body
    assert headers["Authorization"] == "Bearer secret"
    assert headers["X-Team"] == "blue"


def test_the_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with ChatServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url + "/")
        assert OpenAI("x").base_url == server.base_url


def test_what_is_recorded() -> None:
    began = time.perf_counter()
    one = answered(Reply("hm", message={"reasoning_content": "so"}, finish_reason="length"))
    assert (one.text, one.reasoning, one.finish_reason) == ("hm", "so", "length")
    assert (one.prompt_tokens, one.completion_tokens, one.reasoning_tokens) == (11, 7, 3)
    assert one.served_model == "served-name"
    assert 0 < one.latency < time.perf_counter() - began + 0.001


@pytest.mark.parametrize(
    ("reply", "text", "reasoning"),
    [
        (Reply("a", message={"reasoning": "b"}), "a", "b"),
        (Reply(None, message={"content": [{"type": "text", "text": "a"}]}), "a", ""),
        (Reply(None, message={"refusal": "I will not."}), "I will not.", ""),
        (Reply("", message={"reasoning_content": "b"}), "", "b"),
        (Reply(None, finish_reason="length"), "", ""),
        (Reply(None, finish_reason="content_filter"), "", ""),
        (Reply("half a pair: \ud83d"), "half a pair: �", ""),
        (Reply("a whole one: \U0001f600"), "a whole one: \U0001f600", ""),
        (Reply(body=b'{"choices": [{"message": {"content": "cut \xe2\x82"}}]}'), "cut �", ""),
        (Reply(body='{"choices": [{"message": {"content": "no usage"}}]}'), "no usage", ""),
    ],
)
def test_shapes_of_a_reply(reply: Reply, text: str, reasoning: str) -> None:
    one = answered(reply)
    assert (one.text, one.reasoning) == (text, reasoning)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(status=500), "server"),
        (Reply(status=503), "server"),
        (Reply(status=408), "server"),
        (Reply(status=429), "rate-limit"),
        (Reply(drop=True), "connection"),
        (Reply(body="<html>proxy</html>"), "bad-reply"),
        (Reply(body='{"error": {"message": "overloaded"}}'), "bad-reply"),
        (Reply(body='{"choices": []}'), "bad-reply"),
        (Reply(body="{"), "bad-reply"),
        (Reply(body="[1]"), "bad-reply"),
        (Reply(body="[" * 100_000), "bad-reply"),
        (Reply(None), "bad-reply"),
    ],
)
def test_failures_worth_asking_again(reply: Reply, kind: str) -> None:
    with pytest.raises(RetryableError) as caught:
        answered(reply)
    assert caught.value.kind == kind
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (Reply(status=401), "auth", "OPENAI_API_KEY"),
        (Reply(status=403), "auth", "OPENAI_API_KEY"),
        (Reply(status=404), "not-found", "'org/served'"),
        (Reply(status=429, body='{"error": {"code": "insufficient_quota"}}'), "quota", "quota"),
        (Reply(status=400, body="org/served is not a multimodal model"), "no-images", "sees"),
        (Reply(status=500, body="image input is not supported"), "no-images", "sees"),
    ],
)
def test_failures_that_every_request_would_share(reply: Reply, kind: str, said: str) -> None:
    with pytest.raises(FatalError, match=said) as caught:
        answered(reply)
    assert caught.value.kind == kind
    assert caught.value.status == reply.status


def test_a_request_that_the_server_refuses_fails_alone() -> None:
    with pytest.raises(RequestError, match="answered 400: the server says no") as caught:
        answered(Reply(status=400))
    assert not isinstance(caught.value, FatalError | RetryableError)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        ("0.5", 0.5, 0.5),
        ("-3", 0, 0),
        ("in 30 s", 1, 31),
        ("soon", None, None),
    ],
)
def test_retry_after(header: str, least: float | None, most: float | None) -> None:
    if header == "in 30 s":
        header = email.utils.formatdate(time.time() + 30, usegmt=True)
    with pytest.raises(RetryableError) as caught:
        answered(Reply(status=429, headers={"Retry-After": header}))
    waits = caught.value.retry_after
    assert waits is least is None or (least is not None and least <= (waits or 0) <= (most or 0))


def test_a_server_that_does_not_answer_in_time() -> None:
    with pytest.raises(RetryableError, match=r"no reply within 0\.2 s") as caught:
        answered(Reply(delay=5), timeout=0.2)
    assert caught.value.kind == "timeout"


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(RetryableError, match=str(port)) as caught:
            ask(f"http://127.0.0.1:{port}/v1")
    assert caught.value.kind == "unreachable"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": "localhost:8000"}, "'localhost:8000'"),
        ({"base_url": "http://"}, "'http://'"),
        ({"base_url": "http:///v1"}, "'http:///v1'"),
        ({"base_url": "ftp://here/v1"}, "'ftp://here/v1'"),
        ({"timeout": 0}, "more than 0"),
        ({"timeout": "nan"}, "more than 0"),
        ({"headers": {"bad name": "1"}}, "'bad name'"),
        ({"headers": {"X": "a\nEvil: b"}}, "NAME=VALUE"),
        ({"api_key_env": "BROKEN_KEY"}, "variable BROKEN_KEY"),
    ],
)
def test_settings_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("BROKEN_KEY", "one line\nand another")
    with pytest.raises(UsageError, match=said):
        load_model("openai/x", **options)


def test_the_vendor_is_not_asked_without_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("GROUNDINGME_CONFIG", str(tmp_path / "config"))
    with pytest.raises(FatalError, match="groundingme keys set OPENAI_API_KEY, or name your own"):
        evaluate("openai/gpt-4o", "scenes:n=2", out=tmp_path / "runs")
