"""Claude's protocol on the wire, through Anthropic's own SDK against a server of ours."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from groundingme import evaluate
from groundingme.errors import FatalError, RequestError, RetryableError, UsageError
from groundingme.images import Encoded
from groundingme.models import Request, load_model
from groundingme.runner import RetryPolicy
from groundingme.schema import Generation
from vendors import Answer, Got, VendorServer

pytest.importorskip("anthropic", reason="needs Anthropic's SDK: groundingme[anthropic]")

KEY = "sk-ant-api03-0123456789-secret_AA"
JPEG = Encoded(b"\xff\xd8\xff\xfb\xff\xbf not decoded by anybody \xff\xd9", "image/jpeg", 30, 20)
BOX = '{"bbox_2d": [10, 20, 30, 40]}'


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)


def message(*content: dict[str, Any], stop: str = "end_turn", **usage: Any) -> Answer:
    """A whole answer of the Messages API, as its reference shows it."""
    return Answer(
        {
            "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-4-6",
            "content": list(content),
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 1600,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": 21,
                "service_tier": "standard",
                **usage,
            },
        }
    )


def refusal(status: int, kind: str, words: str, **more: Any) -> Answer:
    """An error of the API."""
    body = {"type": "error", "error": {"type": kind, "message": words}, "request_id": "req_011C"}
    return Answer(body, status=status, **more)


def strict(got: Got) -> Answer | None:
    """Refuses what the API refuses of a temperature: under its later version, and from 4.7 on."""
    if "temperature" in got.body:
        words = "temperature: Extra inputs are not permitted"
        if got.headers["anthropic-version"] != "2023-06-01":
            return refusal(400, "invalid_request_error", words)
        if got.body["model"] != "claude-opus-4-6" or "thinking" in got.body:
            return refusal(400, "invalid_request_error", "`temperature` is deprecated")
    return None


TEXT = {"type": "text", "text": BOX, "citations": None}


def ask(
    server: VendorServer | str,
    name: str = "claude-opus-4-6",
    /,
    thinking: Any = None,
    max_tokens: int = 20480,
    **options: Any,
) -> Generation:
    base_url = server if isinstance(server, str) else server.origin
    model = load_model(f"anthropic/{name}", base_url=base_url, **options)

    async def one() -> Generation:
        try:
            return await model.generate(
                Request(
                    id="a",
                    prompt="Where?",
                    image=JPEG,
                    temperature=0.5,
                    max_tokens=max_tokens,
                    thinking=thinking,
                    system="Be brief.",
                )
            )
        finally:
            await model.aclose()

    return asyncio.run(one())


def answered(answer: Answer, **options: Any) -> Generation:
    with VendorServer(answer, judge=strict) as server:
        return ask(server, **options)


def test_what_is_sent() -> None:
    with VendorServer(message(TEXT), judge=strict) as server:
        ask(server, headers={"X-Team": "blue"}, effort="low")
    (got,) = server.got
    assert got.path == "/v1/messages"
    assert KEY in (got.headers.get("x-api-key"), got.headers.get("Authorization", "")[7:])
    assert got.headers["X-Team"] == "blue"
    assert got.body == {
        "model": "claude-opus-4-6",
        "max_tokens": 20480,
        "temperature": 0.5,
        "system": "Be brief.",
        "output_config": {"effort": "low"},
        "messages": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {
                            "type": "base64",
                            "media_type": "image/jpeg",
                            "data": base64.b64encode(JPEG.data).decode(),
                        },
                    },
                    {"type": "text", "text": "Where?"},
                ],
            }
        ],
    }


def test_extra_body_goes_into_the_request() -> None:
    with VendorServer(message(TEXT)) as server:
        ask(server, extra_body={"top_k": 5, "temperature": 1})
    assert server.got[0].body["top_k"] == 5
    assert server.got[0].body["temperature"] == 1


@pytest.mark.parametrize(
    ("name", "thinking", "switch"),
    [
        ("claude-opus-4-6", None, None),
        ("claude-opus-4-6", "off", {"type": "disabled"}),
        ("claude-opus-4-6", "on", {"type": "adaptive", "display": "summarized"}),
        ("claude-haiku-4-5", "on", {"type": "enabled", "budget_tokens": 10240}),
        ("claude-haiku-4-5", 2048, {"type": "enabled", "budget_tokens": 2048}),
        ("claude-opus-5-5", "on", {"type": "adaptive", "display": "summarized"}),
        ("claude-fable-5-1", "on", {"type": "adaptive", "display": "summarized"}),
        ("claude-sonnet-5-5", "off", {"type": "between_tools"}),
    ],
)
def test_thinking_is_switched(name: str, thinking: Any, switch: dict[str, Any] | None) -> None:
    with VendorServer(message(TEXT)) as server:
        ask(server, name, thinking=thinking)
    assert server.got[0].body.get("thinking") == switch


@pytest.mark.parametrize(
    ("name", "thinking", "sent"),
    [
        ("claude-opus-4-6", None, True),
        ("claude-opus-4-6", "on", False),
        ("claude-opus-4-7", None, False),
        ("claude-sonnet-5", None, False),
        ("claude-fable-5-1", None, False),
    ],
)
def test_temperature_only_where_the_api_takes_it(name: str, thinking: Any, sent: bool) -> None:
    with VendorServer(message(TEXT), judge=strict) as server:
        ask(server, name, thinking=thinking)
    assert ("temperature" in server.got[0].body) is sent
    recorded = load_model(f"anthropic/{name}").settings()
    assert ("temperature" in recorded) is (name != "claude-opus-4-6")


def test_long_replies_are_waited_for() -> None:
    with VendorServer(message(TEXT)) as server:
        ask(server, max_tokens=64_000)
    assert server.got[0].body["max_tokens"] == 64_000


def test_a_budget_that_leaves_no_room_is_not_sent() -> None:
    with VendorServer(message(TEXT)) as server:
        with pytest.raises(FatalError, match="below max_tokens"):
            ask(server, "claude-haiku-4-5", thinking=2048, max_tokens=2000)
        with pytest.raises(FatalError, match="1024 or more"):
            ask(server, "claude-haiku-4-5", thinking=100)
        assert not server.got


def test_what_is_recorded() -> None:
    began = time.perf_counter()
    one = answered(
        message(
            {"type": "thinking", "thinking": "I see a dog.", "signature": "EqQB"},
            {"type": "redacted_thinking", "data": "EmwKAhgB"},
            {"type": "text", "text": BOX[:9], "citations": None},
            {"type": "text", "text": BOX[9:], "citations": None},
            cache_read_input_tokens=400,
            output_tokens=321,
            output_tokens_details={"thinking_tokens": 300},
        )
    )
    assert (one.text, one.reasoning, one.finish_reason) == (BOX, "I see a dog.", "end_turn")
    assert (one.prompt_tokens, one.completion_tokens, one.reasoning_tokens) == (2000, 321, 300)
    assert one.served_model == "claude-opus-4-6"
    assert 0 < one.latency < time.perf_counter() - began + 0.001


def test_tokens_of_thinking_are_unknown_where_the_api_does_not_say() -> None:
    assert answered(message(TEXT)).reasoning_tokens is None


@pytest.mark.parametrize("stop", ["refusal", "max_tokens", "model_context_window_exceeded"])
def test_a_reply_without_words_is_kept(stop: str) -> None:
    one = answered(message(stop=stop))
    assert (one.text, one.finish_reason, one.failure) == ("", stop, "")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(500, "api_error", "Internal server error"), "server"),
        (refusal(529, "overloaded_error", "Overloaded"), "server"),
        (refusal(504, "timeout_error", "Timed out"), "server"),
        (Answer("<html>bad gateway</html>", status=502), "server"),
        (refusal(429, "rate_limit_error", "Too fast."), "rate-limit"),
        (Answer(drop=True), "connection"),
        (Answer("<html>a proxy</html>"), "bad-reply"),
        (Answer("{", headers={"X": "1"}), "bad-reply"),
        (Answer({}), "bad-reply"),
    ],
)
def test_failures_worth_asking_again(answer: Answer, kind: str) -> None:
    with VendorServer(answer) as server, pytest.raises(RetryableError) as caught:
        ask(server)
    assert caught.value.kind == kind
    assert "\n" not in str(caught.value)
    assert len(server.got) == 1, "the SDK must not ask again by itself"


@pytest.mark.parametrize(("header", "wait"), [("7", 7.0), ("0.5", 0.5), ("soon", None)])
def test_retry_after(header: str, wait: float | None) -> None:
    with pytest.raises(RetryableError) as caught:
        answered(refusal(429, "rate_limit_error", "Slower.", headers={"Retry-After": header}))
    assert caught.value.retry_after == wait


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (refusal(401, "authentication_error", "invalid x-api-key"), "auth", "ANTHROPIC_API_KEY"),
        (refusal(403, "permission_error", "not for you"), "auth", "not for you"),
        (refusal(404, "not_found_error", "model: x"), "not-found", "'claude-opus-4-6'"),
        (refusal(402, "billing_error", "pay first"), "quota", "pay first"),
        (
            refusal(400, "invalid_request_error", "Your credit balance is too low."),
            "quota",
            "balance",
        ),
        (
            refusal(
                400,
                "invalid_request_error",
                '"thinking.type.disabled" is not supported for this model. Use '
                '"thinking.type.adaptive" and "output_config.effort".',
            ),
            "bad-request",
            r"thinking\.type\.adaptive",
        ),
        (
            refusal(400, "invalid_request_error", "max_tokens: 99 > 64, which is the maximum"),
            "bad-request",
            "maximum",
        ),
    ],
)
def test_failures_that_every_request_would_share(answer: Answer, kind: str, said: str) -> None:
    with pytest.raises(FatalError, match=said) as caught:
        answered(answer)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (
            refusal(
                400,
                "invalid_request_error",
                "messages.0.content.0.image.source.base64: image exceeds 5 MB maximum: 6 > 5 bytes",
            ),
            "bad-request",
        ),
        (refusal(413, "request_too_large", "Request exceeds the maximum size"), "too-large"),
    ],
)
def test_an_image_that_the_api_refuses_fails_alone(answer: Answer, kind: str) -> None:
    with pytest.raises(RequestError, match="maximum") as caught:
        answered(answer)
    assert not isinstance(caught.value, FatalError | RetryableError)
    assert caught.value.kind == kind


def test_a_server_that_does_not_answer_in_time() -> None:
    with pytest.raises(RetryableError, match=r"no reply within 0\.3 s") as caught:
        answered(Answer(message(TEXT).body, delay=5), timeout="0.3")
    assert caught.value.kind == "timeout"


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RetryableError, match="nobody answers") as caught:
            ask(origin)
    assert caught.value.kind == "unreachable"


def test_without_a_key_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with VendorServer(message(TEXT)) as server:
        with pytest.raises(FatalError, match="variable ANTHROPIC_API_KEY, got none"):
            ask(server)
        assert not server.got


def test_settings_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="did you mean 'high'"):
        load_model("anthropic/claude-opus-4-6", effort="higher")
    with pytest.raises(UsageError, match="'localhost'"):
        load_model("anthropic/claude-opus-4-6", base_url="localhost")


def test_a_whole_run(tmp_path: Path) -> None:
    """The original bytes arrive, and the key stays out of the run, even where a server says it."""
    folder = tmp_path / "data"
    folder.mkdir()
    buffer = io.BytesIO()
    Image.effect_noise((640, 480), 60).convert("RGB").save(buffer, "JPEG")
    (folder / "0.jpg").write_bytes(buffer.getvalue())
    rows = [
        {"id": str(number), "image": "0.jpg", "description": f"thing {number}",
         "bbox": [10, 20, 30, 40], "width": 640, "height": 480}
        for number in range(2)
    ]  # fmt: skip
    lines = "\n".join(json.dumps(row) for row in rows)
    (folder / "samples.jsonl").write_text(lines + "\n", encoding="utf-8")
    broken = refusal(500, "api_error", f"broken for Authorization: Bearer {KEY}")
    with VendorServer(broken, message(TEXT)) as server:
        result = evaluate(
            "anthropic/claude-opus-4-6", str(folder), base_url=server.origin,
            out=tmp_path / "runs", coords="abs", concurrency=1, retry=RetryPolicy(attempts=1),
        )  # fmt: skip
    for got in server.got:
        data = got.body["messages"][0]["content"][0]["source"]["data"]
        assert base64.b64decode(data) == buffer.getvalue(), "the original bytes arrive"
    assert [score.iou for score in result.scores] == [0.0, 1.0]
    assert result.path is not None
    files = [file for file in result.path.rglob("*") if file.is_file()]
    assert len(files) >= 4
    for file in files:
        assert KEY.encode() not in file.read_bytes(), file
    assert b"Authorization: Bearer ***" in (result.path / "generations.jsonl").read_bytes()
