"""Questions answered in batches by one thread, and vLLM behind its documented interface."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from groundingme.errors import (
    FatalError,
    GroundingMEError,
    MissingDependencyError,
    RequestError,
    UsageError,
)
from groundingme.images import Encoded
from groundingme.models import Model, Request, load_model
from groundingme.models.batching import Batches
from groundingme.models.options import flag, mapping, share, spelled_for_template, whole
from groundingme.runner import ask
from groundingme.schema import Generation, Sample

JPEG = Encoded(b"\xff\xd8\xff not decoded by anybody \xff\xd9", "image/jpeg", 30, 20)


class Worker:
    """Answers with the id, and keeps the batches that it was given."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()
        self.busy = 0

    def __call__(self, requests: Sequence[Request]) -> list[Generation | GroundingMEError]:
        self.busy += 1
        assert self.busy == 1, "never twice at a time"
        self.threads.add(threading.get_ident())
        self.batches.append([one.id for one in requests])
        self.busy -= 1
        if any(one.id == "poison" for one in requests):
            raise FatalError("load", "no such model")
        return [
            RequestError("image", "a bad one")
            if one.id == "bad"
            else Generation(id=one.id, text=f"reply to {one.id}")
            for one in requests
        ]


def run(worker: Worker, ids: Sequence[str], size: int, **options: Any) -> list[Any]:
    batches = Batches(worker, size, **options)

    async def all() -> list[Any]:
        asked = (batches.ask(Request(id=id, prompt=id)) for id in ids)
        try:
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await batches.aclose()

    return asyncio.run(all())


def test_batches_are_full_and_in_order() -> None:
    worker = Worker()
    replies = run(worker, list("abcdefg"), 3)
    assert worker.batches == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert [one.text for one in replies] == [f"reply to {id}" for id in "abcdefg"]
    assert len(worker.threads) == 1
    assert threading.get_ident() not in worker.threads


def test_a_lone_question_does_not_wait_for_others() -> None:
    began = time.monotonic()
    assert run(Worker(), ["a"], 100)[0].text == "reply to a"
    assert time.monotonic() - began < 5


def test_only_questions_that_are_alike_share_a_batch() -> None:
    worker = Worker()
    replies = run(worker, ["a1", "b1", "a2", "b2", "a3"], 2, alike=lambda one: one.id[0])
    assert worker.batches == [["a1", "a2"], ["b1", "b2"], ["a3"]]
    assert [one.id for one in replies] == ["a1", "b1", "a2", "b2", "a3"]


def test_one_bad_question_fails_alone_and_a_broken_batch_as_a_whole() -> None:
    first, bad, last = run(Worker(), ["a", "bad", "c"], 3)
    assert (first.text, last.text) == ("reply to a", "reply to c")
    assert isinstance(bad, RequestError)
    replies = run(Worker(), ["a", "poison", "c"], 2)
    assert [type(one) for one in replies] == [FatalError, FatalError, Generation]


FAKE = '''
"""Stands in for vLLM: the arguments that its documentation names, and no others."""
import types

calls = []


class SamplingParams:
    def __init__(self, *, temperature=1.0, max_tokens=16, seed=None, top_p=1.0, top_k=0,
                 presence_penalty=0.0, skip_special_tokens=True, stop=None,
                 logprobs=None):
        self.fields = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed,
                       "top_p": top_p, "skip_special_tokens": skip_special_tokens}
        self.fields |= {} if logprobs is None else {"logprobs": logprobs}


class LLM:
    def __init__(self, model, *, limit_mm_per_prompt=None, dtype="auto",
                 tensor_parallel_size=1, max_model_len=None):
        if model == "broken":
            raise ValueError("No model was\\nfound")
        self.made = {"model": model, "images": limit_mm_per_prompt, "length": max_model_len}

    def chat(self, messages, sampling_params=None, use_tqdm=True, lora_request=None,
             chat_template=None, chat_template_content_format="auto", add_generation_prompt=True,
             continue_final_message=False, tools=None, chat_template_kwargs=None,
             mm_processor_kwargs=None):
        assert len(messages) == len(sampling_params)
        calls.append((self.made, messages, [one.fields for one in sampling_params], use_tqdm,
                      chat_template_kwargs))
        return [self.reply(turns) for turns in messages]

    def reply(self, turns):
        text = turns[-1]["content"][-1]["text"]
        best = types.SimpleNamespace(text=f"to {text}", token_ids=[5, 6, 7], finish_reason="stop",
                                     logprobs=None)
        if calls[-1][2][0].get("logprobs"):
            best.text, best.token_ids = '{"bbox_2d": null}', [0, 1, 2, 3]
            sure = lambda id: types.SimpleNamespace(logprob=0.0, rank=1, decoded_token=WORDS[id])
            best.logprobs = [{id: sure(id)} for id in best.token_ids]
            best.logprobs[1][1].logprob = -0.25
            best.logprobs[1][4] = types.SimpleNamespace(logprob=-1.25, rank=2, decoded_token="[")
        return types.SimpleNamespace(outputs=[best], prompt_token_ids=[1] * 40)

    def get_tokenizer(self):
        return types.SimpleNamespace(decode=lambda ids: "".join(WORDS[id] for id in ids))


WORDS = ['{"bbox_2d": ', "null", "}", "<eos>", "["]
'''


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    (tmp_path / "vllm.py").write_text(FAKE)
    monkeypatch.syspath_prepend(str(tmp_path))
    # So that it goes again with the test, whether there is a real one or none.
    monkeypatch.setitem(sys.modules, "vllm", types.ModuleType("vllm"))
    del sys.modules["vllm"]
    import vllm  # type: ignore[import-not-found]

    return vllm  # type: ignore[no-any-return]


def chat(model: Any, requests: Sequence[Request]) -> list[Generation]:
    async def all() -> list[Generation]:
        try:
            return list(await asyncio.gather(*map(model.generate, requests)))
        finally:
            await model.aclose()

    return asyncio.run(all())


def test_what_vllm_is_given(fake: Any) -> None:
    model = load_model("vllm/org/name", engine='{"max_model_len": 4096}', extra_body={"top_p": 0.9})
    extra = {"chat_template_kwargs": {"enable_thinking": False}}
    requests = [
        Request(id="a", prompt="one", image=JPEG, system="Be brief.", max_tokens=9, extra=extra),
        Request(id="b", prompt="two", image=JPEG, temperature=0.7, max_tokens=9, extra=extra),
        Request(id="b", prompt="two", temperature=0.7, trajectory=1, max_tokens=9, extra=extra),
    ]
    replies = chat(model, requests)
    ((made, messages, sampling, bar, template),) = fake.calls
    assert made == {"model": "org/name", "images": {"image": 1}, "length": 4096}
    assert not bar
    assert template == {"enable_thinking": False}
    assert messages[0][0] == {"role": "system", "content": "Be brief."}
    image, text = messages[0][1]["content"]
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/")
    assert text == {"type": "text", "text": "one"}
    assert messages[2] == [{"role": "user", "content": [{"type": "text", "text": "two"}]}]
    assert sampling[0] == {
        "temperature": 0.0, "max_tokens": 9, "seed": None, "top_p": 0.9,
        "skip_special_tokens": False,
    }  # fmt: skip
    assert sampling[1]["seed"] != sampling[2]["seed"], "each trajectory has a seed of its own"
    assert [one.text for one in replies] == ["to one", "to two", "to two"]
    one = replies[0]
    assert (one.finish_reason, one.prompt_tokens, one.completion_tokens) == ("stop", 40, 3)
    assert model.settings() == {"engine": {"max_model_len": 4096}, "extra_body": {"top_p": 0.9}}


def test_confidence_from_vllm(fake: Any) -> None:
    model = load_model("vllm/org/name", logprobs="yes")
    (reply,) = chat(model, [Request(id="a", prompt="one", image=JPEG)])
    assert fake.calls[0][2][0]["logprobs"] == 10
    assert reply.text == '{"bbox_2d": null}'
    assert reply.confidence == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert "logprobs" not in model.settings()


@pytest.mark.usefixtures("fake")
def test_what_vllm_refuses_is_said_in_one_line() -> None:
    with pytest.raises(FatalError, match="vLLM says of broken: No model was found"):
        chat(load_model("vllm/broken"), [Request(id="a", prompt="x")])
    with pytest.raises(FatalError, match="got 'logit_bias'"):
        chat(load_model("vllm/x"), [Request(id="a", prompt="x", extra={"logit_bias": {}})])
    with pytest.raises(UsageError, match="got 'n'"):
        load_model("vllm/x", extra_body={"n": 2})


@pytest.mark.parametrize(
    ("name", "package", "said"),
    [
        ("google/gemini-2.5-pro", "google.genai", r"pip install 'groundingme\[google\]'"),
        ("anthropic/claude-opus-4-6", "anthropic", r"pip install 'groundingme\[anthropic\]'"),
        ("transformers/x", "transformers", r"pip install 'groundingme\[transformers\]'"),
        ("detector/x", "torch", r"pip install 'groundingme\[transformers\]'"),
        ("vllm/x", "vllm", "pip install vllm"),
    ],
)
def test_a_missing_package_names_its_pip_line(
    name: str, package: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    found = importlib.util.find_spec

    def without(wanted: str, *more: Any) -> Any:
        if wanted == package:
            return None
        return types.SimpleNamespace() if wanted in ("torch", "transformers") else found(wanted)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(MissingDependencyError, match=said):
        load_model(name)


def test_options_from_the_command_line() -> None:
    assert (whole("n", "8", 1), whole("n", None, 1)) == (8, None)
    assert (share("t", "0.25"), share("t", 1), share("t", None)) == (0.25, 1.0, None)
    assert (flag("f", "Yes"), flag("f", False), flag("f", "0")) == (True, False, False)
    assert mapping("m", '{"a": 1}') == mapping("m", {"a": 1}) == {"a": 1}
    for parse, value in ((whole, "8.5"), (whole, "0"), (share, "-1"), (share, "nan")):
        with pytest.raises(UsageError, match="expected n as a"):
            parse("n", value, *([1] if parse is whole else []))  # type: ignore[operator]
    for text in ("[1]", "{", '"a"'):
        with pytest.raises(UsageError, match="JSON object"):
            mapping("m", text)


def test_fields_of_a_request_become_variables_of_the_template_and_sampling() -> None:
    extra = {"reasoning_effort": "low", "top_p": 0.8, "thinking": {"type": "enabled"}}
    assert spelled_for_template(extra, ("top_p",), "m") == (
        {"reasoning_effort": "low"},
        {"top_p": 0.8},
    )
    with pytest.raises(UsageError, match="got 'top_k'"):
        spelled_for_template({"top_k": 1}, ("top_p",), "m")


class Steps:
    """A device whose batches last until they are told to end, and what is prepared beside it."""

    def __init__(self) -> None:
        self.prepared: list[list[str]] = []
        self.answered: list[list[str]] = []
        self.go = threading.Semaphore(0)

    def prepare(self, requests: Sequence[Request]) -> list[str]:
        self.prepared.append([one.id for one in requests])
        return self.prepared[-1]

    def work(self, ids: list[str]) -> list[Generation]:
        assert self.go.acquire(timeout=90)
        self.answered.append(ids)
        return [Generation(id=id, text="null") for id in ids]


async def until(holds: Any) -> None:
    for _ in range(6000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never holds")


def test_questions_that_nobody_waits_for_are_not_asked() -> None:
    steps = Steps()
    batches = Batches(steps.work, 1, prepare=steps.prepare)

    async def impatient() -> None:
        asked = [asyncio.create_task(batches.ask(Request(id=id, prompt=""))) for id in "abc"]
        await until(lambda: steps.prepared == [["a"], ["b"]])
        asked[1].cancel()
        for _ in "ac":
            steps.go.release()
        await asked[0]
        assert (await asked[2]).id == "c"
        await batches.aclose()

    asyncio.run(impatient())
    assert steps.answered == [["a"], ["c"]]


def test_closing_drops_what_waits_and_leaves_it_usable() -> None:
    steps = Steps()
    batches = Batches(steps.work, 1, prepare=steps.prepare)

    async def closed() -> None:
        asked = [asyncio.create_task(batches.ask(Request(id=id, prompt=""))) for id in "abc"]
        await until(lambda: steps.prepared == [["a"], ["b"]])
        closing = asyncio.create_task(batches.aclose())
        await asyncio.sleep(0)
        steps.go.release()
        await closing
        replies = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(replies[0], Generation)
        assert [type(one) for one in replies[1:]] == [asyncio.CancelledError] * 2
        steps.go.release()
        assert (await batches.ask(Request(id="d", prompt=""))).id == "d"
        await batches.aclose()

    asyncio.run(closed())
    assert steps.answered == [["a"], ["d"]]


def test_the_next_batch_is_prepared_while_the_device_works() -> None:
    """It is whole and ready before the one on the device ends; and no third one is held."""
    steps = Steps()
    batches = Batches(steps.work, 3, prepare=steps.prepare)

    async def all() -> None:
        asked = [asyncio.create_task(batches.ask(Request(id=id, prompt=""))) for id in "abcdefghi"]
        await until(lambda: len(steps.prepared) == 2)
        assert steps.answered == []
        await asyncio.sleep(0.2)
        assert steps.prepared == [list("abc"), list("def")]
        for number in range(1, 4):
            steps.go.release()
            await until(lambda number=number: len(steps.answered) == number)
        await asyncio.gather(*asked)
        await batches.aclose()

    asyncio.run(all())
    assert steps.answered == steps.prepared == [list("abc"), list("def"), list("ghi")]


def test_a_batch_that_fills_slowly_waits_as_long_as_the_device_is_busy() -> None:
    steps = Steps()
    batches = Batches(steps.work, 3, prepare=steps.prepare, moment=0.02)

    async def all() -> None:
        asked = [asyncio.create_task(batches.ask(Request(id=id, prompt=""))) for id in "abc"]
        await until(lambda: len(steps.prepared) == 1)
        for id in "def":
            await asyncio.sleep(0.1)
            asked.append(asyncio.create_task(batches.ask(Request(id=id, prompt=""))))
        await until(lambda: len(steps.prepared) == 2)
        for _ in range(2):
            steps.go.release()
        await asyncio.gather(*asked)
        await batches.aclose()

    asyncio.run(all())
    assert steps.answered == [list("abc"), list("def")]


def test_a_run_has_two_batches_in_hand() -> None:
    """So the client reads the samples of the next batch while the device has one."""
    steps = Steps()

    class Engine(Model):
        name = "bench/engine"
        needs_image = False
        in_hand = 8

        def __init__(self) -> None:
            # Long enough for a sample to be read on a busy machine, so that batches are full.
            self.batches = Batches(steps.work, 4, prepare=steps.prepare, moment=2)

        async def generate(self, request: Request) -> Generation:
            return await self.batches.ask(request)

        async def aclose(self) -> None:
            await self.batches.aclose()

    async def all() -> None:
        samples = [Sample(id=str(n), description="d", target=None) for n in range(20)]
        got: list[Generation] = []
        run = asyncio.create_task(ask(Engine(), samples, prompt="{description}", sink=got.append))
        for number in range(1, 6):
            await until(lambda number=number: len(steps.prepared) == min(number + 1, 5))
            assert len(steps.answered) == number - 1
            steps.go.release()
            await until(lambda number=number: len(steps.answered) == number)
        await run
        assert len(got) == 20

    asyncio.run(all())
    assert [len(one) for one in steps.answered] == [4] * 5


def test_what_preparing_raises_belongs_to_its_batch() -> None:
    def prepare(requests: Sequence[Request]) -> Sequence[Request]:
        if any(one.id == "b" for one in requests):
            raise FatalError("load", "no such processor")
        return requests

    worker = Worker()
    replies = run(worker, list("abcd"), 2, prepare=prepare)
    assert [str(one) for one in replies[:2]] == ["no such processor"] * 2
    assert [one.text for one in replies[2:]] == ["reply to c", "reply to d"]
    assert worker.batches == [["c", "d"]]
