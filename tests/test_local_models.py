"""Models in this process: tiny ones of transformers' own classes, on real photographs."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import tiny
from groundingme import evaluate
from groundingme.datasets import Dataset, load_dataset
from groundingme.errors import FatalError, RequestError, UsageError
from groundingme.images import FileImage, open_upright, prepare
from groundingme.models import Model, Request, confidence, load_model
from groundingme.schema import Generation

torch = pytest.importorskip("torch", reason="needs torch: groundingme[transformers]")
transformers = pytest.importorskip("transformers", reason="needs groundingme[transformers]")
pytestmark = pytest.mark.slow

CHAIN = {
    "cup": '{"bbox_2d": [', '{"bbox_2d": [': "12, ", "12, ": "34, ", "34, ": "560, ",
    "560, ": "780", "780": "]}", "]}": "<eos>",
    "nothing": '{"bbox_2d": ', '{"bbox_2d": ': "null", "null": "}", "}": "<eos>",
    "forever": "forever", "loud": "LOUD", "LOUD": "<eos>",
}  # fmt: skip
"""What the scripted model writes, by the last word that it has read. No word holds a space inside
a token of the prompt, so only the last words of the prompts are ever among them."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def photos(shared: Path) -> Dataset:
    return load_dataset(str(shared / "assets" / "coco")).select(limit=4)


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build_llava(tmp_path_factory.mktemp("scripted"), CHAIN)


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build_llava(tmp_path_factory.mktemp("random"))


def ask(model: Model, requests: Sequence[Request]) -> list[Generation]:
    """All at once."""

    async def all() -> list[Generation]:
        try:
            return list(await asyncio.gather(*(model.generate(one) for one in requests)))
        finally:
            await model.aclose()

    return asyncio.run(all())


def question(photos: Dataset, which: int, prompt: str, **more: Any) -> Request:
    image = photos[which].image
    assert image is not None
    return Request(
        id=f"{which}", prompt=prompt, image=prepare(image.read()), **{"max_tokens": 12, **more}
    )


def test_a_whole_run(photos: Dataset, scripted: Path, tmp_path: Path) -> None:
    result = evaluate(
        f"transformers/{scripted}", photos, out=tmp_path, max_tokens=12, coords="n1000",
        prompt="{description} cup", batch_size="4",
    )  # fmt: skip
    assert [score.outcome for score in result.scores] == ["box"] * 4
    lines = (result.path / "generations.jsonl").read_text().splitlines()  # type: ignore[operator]
    replies = [json.loads(line) for line in lines]
    for reply in replies:
        assert reply["text"] == '{"bbox_2d": [12, 34, 560, 780]}'
        assert reply["finish_reason"] == "stop"
        assert reply["completion_tokens"] == 7
        assert reply["prompt_tokens"] >= 4 + 2
    run = json.loads((result.path / "run.json").read_text())  # type: ignore[operator]
    assert run["settings"]["weights"].startswith("sha256:")
    again = evaluate(
        f"transformers/{scripted}", photos, out=tmp_path, max_tokens=12, coords="n1000",
        prompt="{description} cup", batch_size=2,
    )  # fmt: skip
    assert again.path == result.path, "the size of a batch makes no other run"


def test_each_question_of_a_batch_gets_its_own_reply(photos: Dataset, scripted: Path) -> None:
    model = load_model(f"transformers/{scripted}", batch_size=8)
    prompts = ["cup", "a b c d e f g h nothing", "x cup", "nothing", "forever"]
    replies = ask(model, [question(photos, n % 4, prompt) for n, prompt in enumerate(prompts)])
    box, null = '{"bbox_2d": [12, 34, 560, 780]}', '{"bbox_2d": null}'
    assert [one.text for one in replies] == [box, null, box, null, "forever" * 12]
    assert [one.finish_reason for one in replies] == [*["stop"] * 4, "length"]
    assert [one.completion_tokens for one in replies] == [7, 4, 7, 4, 12]
    assert [one.prompt_tokens for one in replies] == [4 + 1, 4 + 9, 4 + 2, 4 + 1, 4 + 1]
    assert [one.id for one in replies] == ["0", "1", "2", "3", "0"]


def test_a_batch_says_what_each_question_alone_would(photos: Dataset, random: Path) -> None:
    prompts = ["w1 w2", "w3 w4 w5 w6 w7 w8", "w9", "w1 w2"]
    requests = [question(photos, n, prompt) for n, prompt in enumerate(prompts)]
    together = ask(load_model(f"transformers/{random}", batch_size=4), requests)
    alone = ask(load_model(f"transformers/{random}", batch_size=1), requests)
    assert [one.text for one in together] == [one.text for one in alone]
    assert together[0].text != together[3].text, "the same words about another photo"
    assert len({one.latency for one in together}) == 1, "one batch"


def test_greedy_replies_repeat_and_sampled_ones_differ(photos: Dataset, random: Path) -> None:
    model = load_model(f"transformers/{random}")
    greedy = [question(photos, 0, "w1") for _ in range(3)]
    hot = [question(photos, 0, "w1", temperature=50.0, trajectory=n) for n in range(3)]
    assert len({one.text for one in ask(model, greedy)}) == 1
    assert len({one.text for one in ask(model, hot)}) == 3


def test_confidence_against_the_model_s_own_distributions(
    photos: Dataset, scripted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `generate` itself returns of every step, for each reply alone."""
    # Most words of this model are equally unlikely, so which of them are among ten is chance.
    monkeypatch.setattr(confidence, "ALTERNATIVES", 1000)
    model: Any = load_model(f"transformers/{scripted}", batch_size=4)
    prompts = ["cup", "a b c nothing", "x cup", "forever"]
    requests = [question(photos, n, prompt) for n, prompt in enumerate(prompts)]
    replies = ask(model, requests)
    net, processor = model._model, model._processors[0]
    ids = processor.tokenizer.convert_tokens_to_ids
    for request, reply in zip(requests[:3], replies, strict=False):
        picture = open_upright(request.image.data)  # type: ignore[union-attr]
        inputs = model._inputs(processor, [(request, picture)])
        with torch.inference_mode():
            out = net.generate(
                **inputs, max_new_tokens=12, do_sample=False, temperature=None, top_p=None,
                top_k=None, return_dict_in_generate=True, output_logits=True,
            )  # fmt: skip
        steps = [one[0].float().softmax(-1) for one in out.logits]
        words = processor.tokenizer.convert_ids_to_tokens(
            out.sequences[0][inputs["input_ids"].shape[1] :]
        )
        if reply.text == '{"bbox_2d": null}':
            at, numbers = words.index("null"), []
        else:
            # The opening bracket is one token with the key; on the first number all turns.
            at = words.index("12, ")
            numbers = [n for n, word in enumerate(words) if word[0].isdigit()]
        chance = {word: float(steps[at][id]) for word, id in processor.tokenizer.vocab.items()}
        null = chance["null"]
        box = sum(chance[word] for word in chance if word[0] in "{0123456789")
        assert null > 0 < box
        own = null if reply.text == '{"bbox_2d": null}' else box
        assert reply.confidence == pytest.approx(own / (null + box), abs=1e-5)
        if numbers:
            mean = sum(math.log(steps[n][ids(words[n])]) for n in numbers) / len(numbers)
            assert reply.coordinate_logprob == pytest.approx(mean, abs=1e-5)
        else:
            assert reply.coordinate_logprob is None
    assert replies[3].confidence is None
    silent = load_model(f"transformers/{scripted}", logprobs="false")
    assert ask(silent, requests[:1])[0].confidence is None


def test_the_chat_template_gets_its_variables(photos: Dataset, scripted: Path) -> None:
    model = load_model(
        f"transformers/{scripted}", extra_body='{"chat_template_kwargs": {"loud": true}}'
    )
    extra = {"chat_template_kwargs": {"loud": True}, "thinking": {"type": "enabled"}}
    plain = load_model(f"transformers/{scripted}")
    assert ask(model, [question(photos, 0, "cup")])[0].text == "LOUD"
    assert ask(plain, [question(photos, 0, "cup", extra=extra)])[0].text == "LOUD"
    with pytest.raises(FatalError, match="'thinking'"):
        ask(plain, [question(photos, 0, "cup", extra={"thinking": {"type": "enabled"}})])


def test_a_model_can_be_used_again_after_it_was_closed(photos: Dataset, scripted: Path) -> None:
    model = load_model(f"transformers/{scripted}")
    for _ in range(2):
        assert ask(model, [question(photos, 0, "nothing")])[0].text == '{"bbox_2d": null}'


def test_closing_stops_a_long_reply(photos: Dataset, scripted: Path) -> None:
    model = load_model(f"transformers/{scripted}")

    async def impatient() -> float:
        asking = asyncio.create_task(
            model.generate(question(photos, 0, "forever", max_tokens=100_000))
        )
        await asyncio.sleep(1.0)
        asking.cancel()
        began = asyncio.get_running_loop().time()
        await model.aclose()
        return asyncio.get_running_loop().time() - began

    ask(model, [question(photos, 0, "cup")])
    assert asyncio.run(impatient()) < 5


def test_an_image_that_cannot_be_decoded_fails_alone(photos: Dataset, scripted: Path) -> None:
    image = photos[0].image
    assert isinstance(image, FileImage)
    whole = prepare(image.read())
    broken = type(whole)(whole.data[:2000], whole.mime, whole.width, whole.height)
    model = load_model(f"transformers/{scripted}")

    async def both() -> list[Any]:
        requests = [Request(id="x", prompt="cup", image=one) for one in (broken, whole)]
        try:
            return await asyncio.gather(*map(model.generate, requests), return_exceptions=True)
        finally:
            await model.aclose()

    bad, good = asyncio.run(both())
    assert isinstance(bad, RequestError)
    assert bad.kind == "image"
    assert good.text == '{"bbox_2d": [12, 34, 560, 780]}'


def test_too_little_memory_halves_the_batch(
    photos: Dataset, scripted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = load_model(f"transformers/{scripted}", batch_size=8)
    sizes: list[int] = []
    answers = model._answers

    def narrow(questions: Sequence[Any], inputs: Any) -> Any:
        sizes.append(len(questions))
        # What was prepared is the whole batch; of a part it is made again.
        assert (inputs is not None) == (len(questions) == 8)
        if len(questions) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")
        return answers(questions, inputs)

    monkeypatch.setattr(model, "_answers", narrow)
    replies = ask(model, [question(photos, n % 4, "nothing") for n in range(8)])
    assert [one.text for one in replies] == ['{"bbox_2d": null}'] * 8
    assert sizes == [8, 4, 2, 2, 2, 2]


def test_a_changed_model_is_another_run(scripted: Path, random: Path) -> None:
    names = [
        load_model(f"transformers/{path}").settings()["weights"] for path in (scripted, random)
    ]
    assert names[0] != names[1]
    assert load_model("transformers/org/on-the-hub", revision="main").settings() == {
        "dtype": "auto",
        "revision": "main",
    }


@pytest.mark.parametrize("provider", ["transformers", "detector"])
def test_a_folder_without_a_model_is_said_in_one_line(
    provider: str, photos: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no-such-thing"}')
    with pytest.raises(FatalError, match="can load, got") as caught:
        ask(load_model(f"{provider}/{tmp_path}"), [question(photos, 0, "cup")])
    assert caught.value.kind == "load"
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "options", "said"),
    [
        ("transformers", {"dtype": "float99"}, "'float99'"),
        ("transformers", {"batch_size": "0"}, "1 or more"),
        ("transformers", {"trust_remote_code": "maybe"}, "true or false"),
        ("transformers", {"processor": "[1]"}, "JSON object"),
        ("transformers", {"extra_body": {"n": 3}}, "'n'"),
        ("detector", {"threshold": "1.5"}, "from 0 to 1"),
        ("detector", {"threshold": "high"}, "from 0 to 1"),
    ],
)
def test_settings_that_cannot_be(provider: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_model(f"{provider}/org/name", **options)


WORDS = ["the", "a", "only", "first", "second", "from", "left", "person", "dog", "cup", "chair"]


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build_grounding_dino(tmp_path_factory.mktemp("dino"), WORDS)


@pytest.fixture(scope="module")
def owl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build_owlv2(tmp_path_factory.mktemp("owl"), WORDS)


@pytest.mark.parametrize("kind", ["dino", "owl"])
def test_a_detector_on_photos(
    kind: str, photos: Dataset, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = request.getfixturevalue(kind)
    sure = evaluate(f"detector/{path}", photos, out=tmp_path, threshold="0")
    never = evaluate(f"detector/{path}", photos, out=tmp_path, threshold=1)
    assert sure.path != never.path
    assert [score.outcome for score in sure.scores] == ["box"] * 4
    assert [score.outcome for score in never.scores] == ["rejected"] * 4
    boxes = {score.id: score.box for score in sure.scores}
    for sample in photos:
        x1, y1, x2, y2 = boxes[sample.id] or (0, 0, 0, 0)
        assert x1 < x2 <= max(sample.width, sample.height) * 1.5
        assert y1 < y2
    for run, sign in ((sure, 1), (never, -1)):
        for line in (run.path / "generations.jsonl").read_text().splitlines():  # type: ignore[operator]
            reply = json.loads(line)
            score = float(reply["reasoning"].rpartition(", ")[2])
            expected = score if sign > 0 else 1 - score
            assert reply["confidence"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", ["dino", "owl"])
def test_the_box_is_the_best_one_in_pixels_of_the_photo(
    kind: str, photos: Dataset, request: pytest.FixtureRequest
) -> None:
    """Against our own arithmetic on what the loaded model puts out."""
    path = request.getfixturevalue(kind)
    ask_for = question(photos, 1, "the only dog")
    (reply,) = ask(load_model(f"detector/{path}", threshold=0), [ask_for])
    from groundingme.images import open_upright

    assert ask_for.image
    picture = open_upright(ask_for.image.data)
    processor = transformers.AutoProcessor.from_pretrained(path)
    model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(path).eval()
    query: Any = "the only dog." if kind == "dino" else [["the only dog"]]
    with torch.no_grad():
        out = model(**processor(images=picture, text=query, return_tensors="pt"))
    scores = out.logits[0].sigmoid().amax(dim=-1)
    best = int(scores.argmax())
    cx, cy, w, h = out.pred_boxes[0][best].tolist()
    # OWLv2 fills a picture up to a square, to the right or at the bottom.
    side = max(picture.size)
    wide, high = picture.size if kind == "dino" else (side, side)
    box = [(cx - w / 2) * wide, (cy - h / 2) * high, (cx + w / 2) * wide, (cy + h / 2) * high]
    assert json.loads(reply.text)["bbox_2d"] == pytest.approx(box, abs=0.02)
    assert reply.confidence == pytest.approx(float(scores[best]), abs=1e-5)


def test_the_query_is_the_description_of_the_unified_prompt(photos: Dataset, dino: Path) -> None:
    from groundingme.prompts import UNIFIED, render

    prompt = render(UNIFIED, "The dog. From the left?")
    whole, bare = ask(
        load_model(f"detector/{dino}"),
        [question(photos, 0, prompt), question(photos, 0, "the dog from the left")],
    )
    assert "'the dog from the left.'" in whole.reasoning
    assert whole.reasoning == bare.reasoning
    assert whole.finish_reason == "stop"


@pytest.mark.parametrize("kind", ["dino", "owl"])
def test_a_query_that_is_too_long_is_cut_and_said_so(
    kind: str, photos: Dataset, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)
    (reply,) = ask(load_model(f"detector/{path}"), [question(photos, 0, "the dog " * 200)])
    assert reply.finish_reason == "cut-query"
    assert reply.prompt_tokens == (24 if kind == "dino" else 16)


def test_a_model_of_another_kind_is_no_detector(photos: Dataset, scripted: Path) -> None:
    with pytest.raises(FatalError, match="expected a detector"):
        ask(load_model(f"detector/{scripted}"), [question(photos, 0, "cup")])


def test_a_detector_without_a_picture(dino: Path) -> None:
    with pytest.raises(RequestError, match="expected an image"):
        ask(load_model(f"detector/{dino}"), [Request(id="a", prompt="dog")])
