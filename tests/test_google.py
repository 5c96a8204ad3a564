"""Gemini's protocol on the wire, through Google's own SDK against a server of ours."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import io
import json
import math
import re
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

pytest.importorskip("google.genai", reason="needs Google's SDK: groundingme[google]")
# The SDK makes a class out of aiohttp's session, which aiohttp dislikes.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class Aiohttp:DeprecationWarning")

KEY = "AIzaSyTest-0123456789_secret"
JPEG = Encoded(b"\xff\xd8\xff\xfb\xff\xbf not decoded by anybody \xff\xd9", "image/jpeg", 30, 20)
BOX = '{"box_2d": [100, 200, 300, 400]}'


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)


def reply(*parts: dict[str, Any], finish: str = "STOP", **usage: int) -> Answer:
    """A whole answer of `generateContent`, as the API's reference shows it."""
    return Answer(
        {
            "candidates": [
                {
                    "content": {"parts": list(parts), "role": "model"},
                    "finishReason": finish,
                    "index": 0,
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 1306,
                "totalTokenCount": 1306 + sum(usage.values()),
                "promptTokensDetails": [
                    {"modality": "IMAGE", "tokenCount": 1290},
                    {"modality": "TEXT", "tokenCount": 16},
                ],
                **usage,
            },
            "modelVersion": "gemini-2.5-pro-002",
            "responseId": "k2FsaGFzaGtk",
        }
    )


def refusal(code: int, status: str, message: str, *details: dict[str, Any], **more: Any) -> Answer:
    """An error of Google's APIs."""
    error = {"code": code, "message": message, "status": status, "details": list(details)}
    return Answer({"error": error}, status=code, **more)


def ask(
    server: VendorServer | str,
    name: str = "gemini-2.5-flash",
    /,
    thinking: Any = None,
    **options: Any,
) -> Generation:
    base_url = server if isinstance(server, str) else server.origin
    model = load_model(f"google/{name}", base_url=base_url, **options)

    async def one() -> Generation:
        try:
            return await model.generate(
                Request(
                    id="a", prompt="Where?", image=JPEG, temperature=0.5, max_tokens=99,
                    thinking=thinking, system="Be brief.",
                )
            )  # fmt: skip
        finally:
            await model.aclose()

    return asyncio.run(one())


def sent(got: Got) -> Any:
    """The body of a request; names of fields may also come with underscores."""

    def camel(value: Any) -> Any:
        if isinstance(value, list):
            return [camel(one) for one in value]
        if isinstance(value, dict):
            return {
                re.sub(r"_(.)", lambda found: found[1].upper(), field): camel(one)
                for field, one in value.items()
            }
        return value

    return camel(got.body)


def picture(got: Got) -> tuple[str, bytes]:
    """Type and bytes of the image that arrived."""
    blob = sent(got)["contents"][0]["parts"][0]["inlineData"]
    return blob["mimeType"], base64.urlsafe_b64decode(blob["data"])


def test_confidence_from_log_probabilities() -> None:
    """As the API writes them; a log-probability of 0 is left out."""
    texts = ['{"', "box", '_2d": ', "[", "100", ", ", "200", ", 300, 400", "]}"]
    chosen: list[dict[str, Any]] = [{"token": text, "tokenId": 7} for text in texts]
    chosen[3]["logProbability"] = -0.25
    chosen[4]["logProbability"] = -0.5
    others = [[one] for one in chosen]
    others[3].append({"token": "null", "tokenId": 8, "logProbability": -1.25})
    answer = reply({"text": BOX})
    answer.body["candidates"][0]["logprobsResult"] = {
        "chosenCandidates": chosen,
        "topCandidates": [{"candidates": one} for one in others],
    }
    with VendorServer(answer) as server:
        found = ask(server, logprobs="true")
        plain = ask(server)
    asked, unasked = (sent(got)["generationConfig"] for got in server.got)
    assert (asked["responseLogprobs"], asked["logprobs"]) == (True, 10)
    assert "responseLogprobs" not in unasked
    assert found.confidence == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert found.coordinate_logprob == pytest.approx(-0.5 / 3)
    assert plain.confidence == found.confidence
    assert answered(reply({"text": BOX})).confidence is None


def answered(answer: Answer, **options: Any) -> Generation:
    with VendorServer(answer) as server:
        return ask(server, **options)


def test_what_is_sent() -> None:
    with VendorServer(reply({"text": BOX})) as server:
        ask(server, "gemini-2.5-pro", headers={"X-Team": "blue"})
    (got,) = server.got
    assert re.fullmatch(r"/v1(beta)?/models/gemini-2\.5-pro:generateContent", got.path)
    assert got.headers["x-goog-api-key"] == KEY
    assert got.headers["X-Team"] == "blue"
    body = sent(got)
    (turn,) = body["contents"]
    assert turn["role"] == "user"
    assert turn["parts"][1:] == [{"text": "Where?"}]
    assert picture(got) == ("image/jpeg", JPEG.data)
    assert body["generationConfig"] == {"temperature": 0.5, "maxOutputTokens": 99}
    assert body["systemInstruction"]["parts"] == [{"text": "Be brief."}]


def test_extra_body_goes_into_the_request() -> None:
    with VendorServer(reply({"text": BOX})) as server:
        ask(server, extra_body={"generationConfig": {"topP": 0.9, "temperature": 1}})
    assert sent(server.got[0])["generationConfig"] == {
        "temperature": 1, "maxOutputTokens": 99, "topP": 0.9,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options", "switch"),
    [
        ("gemini-2.5-flash", {}, None),
        ("gemini-2.5-flash", {"thinking": "off"}, {"thinkingBudget": 0, "includeThoughts": False}),
        ("gemini-2.5-flash", {"thinking": "on"}, {"includeThoughts": True}),
        ("gemini-2.5-pro", {"thinking": 512}, {"thinkingBudget": 512, "includeThoughts": True}),
        (
            "gemini-2.5-pro",
            {"thinking": "on", "thinking_budget": "-1"},
            {"thinkingBudget": -1, "includeThoughts": True},
        ),
        (
            "gemini-3-pro-preview",
            {"thinking": "off", "thinking_level": "low"},
            {"thinkingLevel": "LOW", "includeThoughts": True},
        ),
    ],
)
def test_thinking_is_switched(
    name: str, options: dict[str, Any], switch: dict[str, Any] | None
) -> None:
    with VendorServer(reply({"text": BOX})) as server:
        ask(server, name, **options)
    assert sent(server.got[0])["generationConfig"].get("thinkingConfig") == switch


@pytest.mark.parametrize("name", ["gemini-2.5-pro", "gemini-3-pro-preview", "gemini-3.5-flash"])
def test_a_model_that_cannot_stop_thinking_is_not_asked(name: str) -> None:
    with VendorServer(reply({"text": BOX})) as server:
        with pytest.raises(FatalError, match="can stop thinking"):
            ask(server, name, thinking="off")
        assert not server.got


def test_what_is_recorded() -> None:
    began = time.perf_counter()
    one = answered(
        reply(
            {"text": "I see a dog. ", "thought": True},
            {"text": "It is on the left.", "thought": True},
            {"text": BOX[:10], "thoughtSignature": "c2ln"},
            {"text": BOX[10:]},
            candidatesTokenCount=21,
            thoughtsTokenCount=300,
        )
    )
    assert one.text == BOX
    assert one.reasoning == "I see a dog. It is on the left."
    assert one.finish_reason == "STOP"
    assert (one.prompt_tokens, one.completion_tokens, one.reasoning_tokens) == (1306, 321, 300)
    assert one.served_model == "gemini-2.5-pro-002"
    assert 0 < one.latency < time.perf_counter() - began + 0.001


def test_all_tokens_spent_on_thinking() -> None:
    body = reply(finish="MAX_TOKENS", thoughtsTokenCount=99).body
    del body["candidates"][0]["content"]
    one = answered(Answer(body))
    assert (one.text, one.finish_reason, one.completion_tokens) == ("", "MAX_TOKENS", 99)


@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION"])
def test_a_stopped_reply_is_kept(reason: str) -> None:
    body = reply(finish=reason).body
    del body["candidates"][0]["content"]
    one = answered(Answer(body))
    assert (one.text, one.finish_reason, one.failure) == ("", reason, "")


def test_a_blocked_prompt_is_a_reply_without_words() -> None:
    body = {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": 1306, "totalTokenCount": 1306},
        "modelVersion": "gemini-2.5-pro",
    }
    one = answered(Answer(body))
    assert (one.text, one.finish_reason, one.prompt_tokens) == ("", "PROHIBITED_CONTENT", 1306)
    assert one.completion_tokens is None


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}


def quota(period: str) -> dict[str, Any]:
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
        "quotaId": f"GenerateRequestsPer{period}PerProjectPerModel",
    }
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(500, "INTERNAL", "An internal error has occurred."), "server"),
        (refusal(503, "UNAVAILABLE", "The model is overloaded."), "server"),
        (refusal(504, "DEADLINE_EXCEEDED", "Deadline expired."), "server"),
        (Answer("<html>bad gateway</html>", status=502), "server"),
        (refusal(429, "RESOURCE_EXHAUSTED", "Too fast.", quota("Minute"), RETRY), "rate-limit"),
        (Answer(drop=True), "connection"),
        (Answer("<html>a proxy</html>"), "bad-reply"),
        (Answer({}), "bad-reply"),
        (reply(), "bad-reply"),
    ],
)
def test_failures_worth_asking_again(answer: Answer, kind: str) -> None:
    with VendorServer(answer) as server, pytest.raises(RetryableError) as caught:
        ask(server)
    assert caught.value.kind == kind
    assert "\n" not in str(caught.value)
    assert len(server.got) == 1, "the SDK must not ask again by itself"


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (refusal(429, "RESOURCE_EXHAUSTED", "Too fast.", RETRY), 17.0),
        (refusal(429, "RESOURCE_EXHAUSTED", "", RETRY, headers={"Retry-After": "7"}), 7.0),
        (refusal(429, "RESOURCE_EXHAUSTED", "Too fast."), None),
    ],
)
def test_retry_after(answer: Answer, wait: float | None) -> None:
    with pytest.raises(RetryableError) as caught:
        answered(answer)
    assert caught.value.retry_after == wait


def test_retry_after_as_a_date() -> None:
    until = email.utils.formatdate(time.time() + 600, usegmt=True)
    with pytest.raises(RetryableError) as caught:
        answered(refusal(503, "UNAVAILABLE", "", headers={"Retry-After": until}))
    assert 500 < (caught.value.retry_after or 0) <= 600


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (
            refusal(
                400,
                "INVALID_ARGUMENT",
                "API key not valid. Please pass a valid API key.",
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "API_KEY_INVALID",
                    "domain": "googleapis.com",
                },
            ),
            "auth",
            "GEMINI_API_KEY",
        ),
        (refusal(403, "PERMISSION_DENIED", "The API is disabled."), "auth", "disabled"),
        (refusal(404, "NOT_FOUND", "no such model"), "not-found", "'gemini-2.5-flash'"),
        (refusal(429, "RESOURCE_EXHAUSTED", "Enough.", quota("Day"), RETRY), "quota", "Enough"),
        (
            refusal(400, "FAILED_PRECONDITION", "User location is not supported."),
            "account",
            "location",
        ),
        (
            refusal(400, "INVALID_ARGUMENT", "Thinking budget is out of range."),
            "bad-request",
            "out of range",
        ),
    ],
)
def test_failures_that_every_request_would_share(answer: Answer, kind: str, said: str) -> None:
    with pytest.raises(FatalError, match=said) as caught:
        answered(answer)
    assert caught.value.kind == kind


def test_an_image_that_the_api_refuses_fails_alone() -> None:
    with pytest.raises(RequestError, match="Unable to process input image") as caught:
        answered(refusal(400, "INVALID_ARGUMENT", "Unable to process input image."))
    assert not isinstance(caught.value, FatalError | RetryableError)


def test_a_server_that_does_not_answer_in_time() -> None:
    with pytest.raises(RetryableError, match=r"no reply within 0\.3 s") as caught:
        answered(Answer(reply().body, delay=5), timeout="0.3")
    assert caught.value.kind == "timeout"


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RetryableError, match="connection refused") as caught:
            ask(origin)
    assert caught.value.kind == "unreachable"


def test_without_a_key_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    with VendorServer(reply({"text": BOX})) as server:
        with pytest.raises(FatalError, match="GEMINI_API_KEY or GOOGLE_API_KEY, got none"):
            ask(server)
        monkeypatch.setenv("GOOGLE_API_KEY", "another-key")
        ask(server)
    assert [got.headers["x-goog-api-key"] for got in server.got] == ["another-key"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": "localhost"}, "'localhost'"),
        ({"timeout": "0"}, "more than 0"),
        ({"thinking_level": "huge"}, "'huge'"),
        ({"thinking_budget": "some"}, "'some'"),
        ({"thinking_budget": -2}, "-1 or more"),
        ({"thinking_budget": 5, "thinking_level": "low"}, "got both"),
        ({"headers": {"X": "a\nEvil: b"}}, "NAME=VALUE"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_model("google/gemini-2.5-pro", **options)


def test_a_broken_key_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "one line\nand another")
    with pytest.raises(UsageError, match="variable GEMINI_API_KEY") as caught:
        load_model("google/gemini-2.5-pro")
    assert "another" not in str(caught.value)


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, list[bytes]]:
    """A data set of three real JPEGs, and their bytes."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows, stored = [], []
    for number in range(3):
        buffer = io.BytesIO()
        Image.effect_noise((640, 480), 60 + number).convert("RGB").save(buffer, "JPEG")
        (folder / f"{number}.jpg").write_bytes(buffer.getvalue())
        stored.append(buffer.getvalue())
        box = [128, 48, 256, 144] if number else None
        rows.append(
            {"id": str(number), "image": f"{number}.jpg", "description": f"thing {number}",
             "bbox": box, "width": 640, "height": 480}
        )  # fmt: skip
    lines = "\n".join(json.dumps(row) for row in rows)
    (folder / "samples.jsonl").write_text(lines + "\n", encoding="utf-8")
    return folder, stored


def test_a_whole_run(pictures: tuple[Path, list[bytes]], tmp_path: Path) -> None:
    folder, stored = pictures
    body = refusal(500, "INTERNAL", f"broken for x-goog-api-key: {KEY}")
    with VendorServer(body, reply({"text": '{"box_2d": [100, 200, 300, 400]}'})) as server:
        result = evaluate(
            "google/gemini-2.5-flash", str(folder), base_url=server.origin, out=tmp_path / "runs",
            coords="n1000-yxyx", prompt="unified-yxyx", concurrency=1,
            retry=RetryPolicy(attempts=1),
        )  # fmt: skip
    assert [picture(got)[1] for got in server.got] == stored, "the original bytes arrive"
    assert [score.iou for score in result.scores] == [0.0, 1.0, 1.0]
    assert result.path is not None
    files = [file for file in result.path.rglob("*") if file.is_file()]
    assert len(files) >= 4
    for file in files:
        assert KEY.encode() not in file.read_bytes(), file
    assert b"broken for x-goog-api-key: ***" in (result.path / "generations.jsonl").read_bytes()
