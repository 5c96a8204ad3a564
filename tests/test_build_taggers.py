"""What may be in a picture: a vocabulary, RAM++, Florence-2, a multimodal LLM."""

from __future__ import annotations

import base64
import importlib.util
import io
import itertools
import re
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from chat import ChatServer, Reply
from groundingme.build.records import Picture
from groundingme.build.taggers import TAGGERS, Tag, Tagger, make, ram_network
from groundingme.build.taggers.fixed import COCO
from groundingme.build.taggers.mllm import listed
from groundingme.build.taggers.names import alike, singular
from groundingme.build.taggers.ram import prepared
from groundingme.build.taggers.ram_network import RamConfig
from groundingme.build.taggers.swin import SwinConfig
from groundingme.build.tagging import TagOptions, make_tag
from groundingme.errors import (
    FatalError,
    JobError,
    MissingDependencyError,
    RequestError,
    UnknownNameError,
    UsageError,
)


def picture(number: int, width: int = 61, height: int = 43) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    channels = (
        (x * 3 + y * 5 * (number + 1)) % 256,
        (x * y + 40 * number) % 256,
        (x * x // 7 + 11 * y) % 256,
    )
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


# --- all of them ---------------------------------------------------------------------------------


def test_the_taggers_and_their_options() -> None:
    assert {"fixed", "florence", "mllm", "ram"} <= set(TAGGERS.names())
    with pytest.raises(UnknownNameError, match="did you mean 'fixed'"):
        make("fixd")
    with pytest.raises(UnknownNameError, match="no option of the tagger fixed is named 'vocab'"):
        make("fixed", vocab="coco")
    with pytest.raises(UsageError, match=r"can use \(model, base_url.*got none.*'model'"):
        make("mllm")


@pytest.mark.parametrize(("name", "package"), [("ram", "torch"), ("florence", "transformers")])
def test_a_missing_package_names_its_pip_line(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def without(one: str, *more: Any) -> Any:
        return None if one == package else found(one, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(MissingDependencyError, match=r"pip install 'groundingme\[build\]'"):
        make(name)


# --- a vocabulary --------------------------------------------------------------------------------


def test_a_vocabulary_is_given_for_every_picture(tmp_path: Path) -> None:
    assert len(COCO) == len(set(COCO)) == 80
    file = tmp_path / "tags.txt"
    file.write_bytes("\ufeffcup\r\n\n  traffic light \ncup\n".encode())
    tagger = make("fixed", vocabulary=str(file))
    wanted = [Tag("cup", 1.0), Tag("traffic light", 1.0)]
    assert tagger.tag([picture(0), picture(1)]) == [wanted, wanted]
    assert make("fixed", vocabulary=["cup", "traffic light"]).tag([picture(0)]) == [wanted]
    assert [tag.name for tag in make("fixed").tag([picture(0)])[0]] == list(COCO)  # type: ignore[union-attr]


def test_a_long_vocabulary_is_asked_for_as_a_whole_and_opens_no_picture() -> None:
    names = [f"part {number}" for number in range(150)]
    pictures = [Picture("gone", "/nowhere/./gone.jpg"), Picture("out", "", fate="small")]
    work = make_tag(TagOptions(by="fixed", most=100, options={"vocabulary": names}), 0)
    first, second = work(pictures)
    assert first.goes_on
    assert first.tags == names
    assert first.tag_scores == [1.0] * 150
    assert second.tags == []


def test_a_vocabulary_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n\n")
    (tmp_path / "wide").write_bytes("cup".encode("utf-16"))
    for given, message in (
        ("cocoa", "expected vocabulary as a text file of one entry a line, got 'cocoa' .No such"),
        (str(tmp_path), "text file"),
        (str(tmp_path / "empty"), "at least one tag"),
        (str(tmp_path / "wide"), "text in UTF-8"),
        ([], "at least one tag"),
    ):
        with pytest.raises(UsageError, match=message):
            make("fixed", vocabulary=given)


# --- RAM++ ---------------------------------------------------------------------------------------

TINY = RamConfig(
    swin=SwinConfig(image_size=32, width=8, depths=(2, 2, 1), heads=(1, 2, 4), window=4),
    descriptions=3,
    width=16,
    inner=32,
)
TAGS = ("cup", "spoon", "red", "dog", "cat")
THRESHOLDS = (0.1, 0.3, 0.15, 0.02, 0.16)

UPSTREAM = (
    (-2.1036763, -2.7042654, -1.8189039, -2.9310064, -1.4219613),
    (-1.3869162, -0.5027137, -1.5526594, -3.1346774, -1.7703032),
)
"""Logits of the authors' implementation (github.com/xinyu1205/recognize-anything, 7cb804a) with
those sizes and the weights of `drawn`, for `picture(0)` and `picture(1)`: torch 2.13, transformers
4.30.2, timm 0.6.13, torchvision 0.29.1, on a CPU. Ours differ by 3.6e-6 at most."""

UPSTREAM_TAGS = [{"cup", "dog", "cat"}, {"cup", "spoon", "red", "dog"}]


def drawn(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Weights that are a function of their name and index alone, on every machine the same."""
    count = int(np.prod(shape, dtype=np.int64))
    mixed = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2654435761)
    mixed += np.uint64(zlib.crc32(name.encode()))
    for _ in range(2):
        mixed = (mixed ^ (mixed >> np.uint64(16))) * np.uint64(0x45D9F3B) & np.uint64(0xFFFFFFFF)
    mixed ^= mixed >> np.uint64(16)
    even = mixed.astype(np.float64) / 2**31 - 1
    wide = (3 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 1.0
    if name == "reweight_scale":
        even = 2 + even
    elif name == "label_embed":
        pass
    elif name.startswith("tagging") and len(shape) == 2:
        even = even * wide / 2
    elif name.startswith(("wordvec", "fc")) and len(shape) == 2:
        even = even * wide * 3
    elif len(shape) == 1 and name.endswith("weight"):
        even = 1 + even / 4
    elif len(shape) == 1 or name.endswith("table"):
        even = even / 2
    else:
        even = even * wide * 1.5
    return even.reshape(shape).astype(np.float32)


def checkpoint(folder: Path, **changes: Any) -> Path:
    """A file as training left it: weights, buffers that inference computes, an optimizer."""
    torch = pytest.importorskip("torch", reason="needs torch: groundingme[build]")
    torch.set_num_threads(1)
    weights = {
        name: torch.from_numpy(drawn(name, shape))
        for name, shape in ram_network.shapes(TINY, len(TAGS)).items()
    }
    at = "visual_encoder.layers.0.blocks.1"
    weights[f"{at}.attn_mask"] = torch.zeros(4, 16, 16)
    weights[f"{at}.attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.int64)
    for name, value in changes.items():
        if value is None:
            del weights[name]
        else:
            weights[name] = value
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ram_tag_list.txt").write_text("\n".join(TAGS))
    (folder / "ram_tag_list_threshold.txt").write_text("\n".join(map(str, THRESHOLDS)))
    path = folder / "ram_plus_swin_large_14m.pth"
    torch.save({"model": weights, "optimizer": {"state": {0: {"step": 3}}}, "epoch": 4}, path)
    return path


def tiny_ram(path: Path, **options: Any) -> Any:
    return make("ram", checkpoint=path, config=TINY, device="cpu", **options)


def logit(probability: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = probability.astype(np.float64)
    return np.log(exact / (1 - exact))


def test_ram_gives_what_the_authors_implementation_gives(tmp_path: Path) -> None:
    tagger = tiny_ram(checkpoint(tmp_path))
    made = logit(tagger.probabilities([picture(0), picture(1)]))
    assert np.abs(made - UPSTREAM).max() < 2e-5
    found = tagger.tag([picture(0), picture(1)])
    assert [{tag.name for tag in tags} for tags in found] == UPSTREAM_TAGS
    for tags in found:
        scores = [tag.score for tag in tags]
        assert scores == sorted(scores, reverse=True)


def test_ram_has_the_weights_of_the_published_model() -> None:
    shapes = ram_network.shapes(RamConfig(), 4585)
    # Of the authors' own module: 402 keys, 35 of them buffers that inference computes.
    assert len(shapes) == 402 - 35
    assert shapes["label_embed"] == (233835, 512)
    trained = sum(int(np.prod(shape)) for name, shape in shapes.items() if name != "label_embed")
    assert trained == 209_769_526
    assert shapes["visual_encoder.layers.2.blocks.17.attn.relative_position_bias_table"] == (
        529,
        24,
    )


def test_ram_tags_pictures_alike_in_any_batch(tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    pictures = [picture(n, 40 + 9 * n, 70 - 7 * n) for n in range(5)]
    alone = np.concatenate([tiny_ram(path).probabilities([one]) for one in pictures])
    together = tiny_ram(path).probabilities(pictures)
    assert np.abs(alone - together).max() < 1e-6
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    some = tiny_ram(path, batch_size="2", thresholds=0.0).tag(pictures)
    assert [len(tags) for tags in some] == [5] * 5
    for tags, row in zip(some, together, strict=True):
        assert tags[0] == Tag(TAGS[row.argmax()], pytest.approx(row.max(), abs=1e-4))


def test_ram_in_half_precision_is_near(tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    half = tiny_ram(path, dtype="bfloat16").probabilities([picture(0), picture(1)])
    assert 0 < np.abs(logit(half) - UPSTREAM).max() < 0.2


def test_ram_leaves_out_what_is_deleted(tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    (tmp_path / "deleted.txt").write_text("red\ndog\n")
    for deleted in (["red", "dog"], str(tmp_path / "deleted.txt")):
        tags = tiny_ram(path, thresholds=0, deleted=deleted).tag([picture(0)])[0]
        assert {tag.name for tag in tags} == {"cup", "spoon", "cat"}
    with pytest.raises(UsageError, match=r"no tag of RAM\+\+ is named 'dogs'; did you mean 'dog'"):
        tiny_ram(path, deleted=["dogs"])


def test_ram_loads_every_weight_or_says_which_it_cannot(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs torch: groundingme[build]")
    at = "tagging_head.encoder.layer.1.output.dense.weight"
    spare = "tagging_head.encoder.layer.0.attention.self.query.weight"
    assert tiny_ram(checkpoint(tmp_path / "spare", **{spare: torch.zeros(2)})).tag([picture(0)])
    for changes, message in (
        ({at: None}, rf"got weights with 1 missing \({at}\)"),
        ({"visual_encoder.head.weight": torch.zeros(3)}, r"1 unexpected \(visual_encoder.head.wei"),
        ({at: torch.zeros(16, 31)}, r"1 of another shape \(.*: \(16, 31\), not \(16, 32\)\)"),
        ({at: "text"}, r"1 of another shape"),
        (
            {at: None, "more": torch.zeros(1), "fc.bias": torch.zeros(2)},
            "1 missing .*, 1 unexpected .*, 1 of another shape",
        ),
        (
            {"label_embed": torch.zeros(12, 512)},
            "a list of tags that fits the 12 descriptions .* got one for 15; give the list",
        ),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            tiny_ram(checkpoint(tmp_path, **changes)).tag([picture(0)])
        assert "\n" not in str(caught.value)


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit",))


def test_ram_runs_no_code_of_a_checkpoint(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs torch: groundingme[build]")
    path = checkpoint(tmp_path)
    for content in ({"model": {"a": _Code()}}, [1, 2]):
        torch.save(content, path)
        with pytest.raises(UsageError, match=r"expected ram_plus_swin_large_14m\.pth of") as caught:
            tiny_ram(path).tag([picture(0)])
        assert "\n" not in str(caught.value)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(UsageError, match="torch cannot load"):
        tiny_ram(path).tag([picture(0)])


def test_ram_says_what_to_download_and_where_to_put_it(tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    with pytest.raises(UsageError, match=r"download ram_plus_swin_large_14m\.pth of huggingface"):
        tiny_ram(tmp_path / "none.pth")
    with pytest.raises(UsageError, match="expected dtype as one of auto, float32"):
        tiny_ram(path, dtype="int8")
    with pytest.raises(UsageError, match=r"got nothing; download ram/data/ram_tag_list.txt of .*"):
        make("ram")
    (tmp_path / "ram_tag_list_threshold.txt").write_text("0.5\n0.5\n")
    with pytest.raises(UsageError, match=r"expected 5 thresholds from 0 to 1 in .* got 2 numbers"):
        tiny_ram(path)
    (tmp_path / "ram_tag_list_threshold.txt").write_text("a\n")
    with pytest.raises(UsageError, match="expected one number a line"):
        tiny_ram(path)
    (tmp_path / "ram_tag_list_threshold.txt").unlink()
    with pytest.raises(UsageError, match="put it beside the checkpoint, or name it with thresh"):
        tiny_ram(path)


def test_ram_finds_its_checkpoint_in_the_hubs_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = checkpoint(tmp_path / "made")
    cache = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    files = {
        "tags": made.parent / "ram_tag_list.txt",
        "thresholds": made.parent / "ram_tag_list_threshold.txt",
    }
    tagger = make("ram", config=TINY, device="cpu", **files)
    with pytest.raises(JobError, match=r"from huggingface\.co/xinyu1205/.*; download it and name"):
        tagger.tag([picture(0)])
    repository = cache / "models--xinyu1205--recognize-anything-plus-model"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    made.rename(repository / "snapshots" / commit / made.name)
    assert {tag.name for tag in tagger.tag([picture(0)])[0]} == UPSTREAM_TAGS[0]  # type: ignore[union-attr]


def test_a_picture_is_squeezed_and_normalised() -> None:
    grey = prepared(Image.new("RGB", (70, 20), (128, 128, 128)), 32)
    assert grey.shape == (3, 32, 32)
    assert grey.dtype == np.float32
    wanted = [(128 / 255 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (128 / 255 - 0.406) / 0.225]
    assert np.allclose(grey.mean((1, 2)), wanted, atol=1e-6)


# --- Florence-2 ----------------------------------------------------------------------------------


def build_florence(folder: Path, follows: dict[str, str]) -> Path:
    """A Florence-2 of one layer a stage whose decoder writes a chain of words."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        BartConfig,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
        PreTrainedTokenizerFast,
    )

    try:
        from transformers import CLIPImageProcessorPil as Pictures
    except ImportError:
        from transformers import CLIPImageProcessor as Pictures
    marks = ["<s>", "<pad>", "</s>", "<unk>", "<image>", *(f"<loc_{n}>" for n in range(8))]
    words = [*marks, *sorted({*follows, *follows.values()} - set(marks))]
    plain = Tokenizer(
        models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>")
    )
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token="<s>", pad_token="<pad>", eos_token="</s>",
        unk_token="<unk>", extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
    tokenizer.add_special_tokens({"additional_special_tokens": marks[5:]})
    width = -(-len(tokenizer) // 4) * 4
    torch.manual_seed(0)
    config = Florence2Config(
        vision_config={
            "depths": [1] * 4, "embed_dim": [8] * 4, "num_heads": [1] * 4, "num_groups": [1] * 4,
            "window_size": 4, "projection_dim": width,
        },
        text_config=BartConfig(
            vocab_size=len(tokenizer), d_model=width, encoder_layers=1, decoder_layers=1,
            encoder_ffn_dim=16, decoder_ffn_dim=16, encoder_attention_heads=2,
            decoder_attention_heads=2, max_position_embeddings=128, bos_token_id=0,
            pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None,
            tie_word_embeddings=False,
        ),
        image_token_id=4, tie_word_embeddings=False,
    )  # fmt: skip
    model = Florence2ForConditionalGeneration(config)
    silent = re.compile(r"\.decoder\..*(?:out_proj|fc2|embed_positions)")
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if silent.search(name):
                weights.zero_()
            if name.endswith(("decoder.embed_tokens.weight", "shared.weight")):
                weights.zero_().fill_diagonal_(1.0)
        model.lm_head.weight.zero_()
        for word, heir in follows.items():
            one, other = tokenizer.convert_tokens_to_ids([word, heir])
            model.lm_head.weight[other, one] = 1.0
    model.save_pretrained(folder)
    pictures = Pictures(size={"height": 64, "width": 64}, do_center_crop=False)
    pictures.image_seq_length = 5
    Florence2Processor(
        image_processor=pictures,
        tokenizer=tokenizer,
        post_processor_config={"description_with_bboxes": {}},
    ).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_florence_names_what_it_finds(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs torch: groundingme[build]")
    torch.set_num_threads(1)
    transformers = pytest.importorskip("transformers", reason="needs groundingme[build]")
    transformers.logging.disable_progress_bar()
    chain = ["</s>", "<s>", "Cars", *(f"<loc_{n}>" for n in (1, 2, 3, 4))]
    chain += ["dog", *(f"<loc_{n}>" for n in (5, 6, 7, 0)), "</s>"]
    folder = build_florence(tmp_path, dict(itertools.pairwise(chain)))
    pictures = [picture(n, 50 + n, 40) for n in range(3)]
    options: dict[str, Any] = {"model": str(folder), "device": "cpu", "max_tokens": 40}
    tagger = make("florence", batch_size=2, **options)
    assert tagger.tag(pictures) == [[Tag("car", 1.0), Tag("dog", 1.0)]] * 3
    dense = make("florence", task="<DENSE_REGION_CAPTION>", beams=1, **options)
    assert dense.tag(pictures[:1]) == [[Tag("cars", 1.0), Tag("dog", 1.0)]]
    # A reply that was cut has what it has.
    assert make("florence", **{**options, "max_tokens": 8}).tag(pictures[:1]) == [[Tag("car", 1.0)]]


@pytest.mark.slow
def test_florence_that_cannot_be_had(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch: groundingme[build]")
    pytest.importorskip("transformers", reason="needs groundingme[build]")
    with pytest.raises(UsageError, match="expected task as one of <OD>, <DENSE_REGION_CAPTION>"):
        make("florence", task="<CAPTION>")
    with pytest.raises(JobError, match="expected a Florence-2 that transformers can load, got"):
        make("florence", model=str(tmp_path)).tag([picture(0)])


# --- a multimodal LLM ----------------------------------------------------------------------------


def asking(server: ChatServer, **options: Any) -> Tagger:
    return make(
        "mllm", model="openai/some-model", base_url=server.base_url, concurrency=1, **options
    )


def test_a_model_is_asked_for_the_kinds_of_objects() -> None:
    reply = 'Here is the list:\n```json\n["Dogs", "a traffic light", "dog", "Sun Glasses"]\n```'
    with ChatServer(default=lambda prompt: Reply(reply)) as server:
        tagger = asking(server, names=3, longest=100)
        large, small = Image.new("RGB", (400, 300), (200, 30, 60)), picture(0)
        wanted = [Tag("dog", 1.0), Tag("traffic light", 1.0), Tag("sun glasses", 1.0)]
        assert tagger.tag([large, small]) == [wanted, wanted]
        assert tagger.tag([]) == []
        assert tagger.tag([small]) == [wanted], "in a loop of its own"
    assert all("at most 3 names" in prompt for prompt in server.asked)
    assert len(set(server.asked)) == 1
    sizes = set()
    for body in server.requests[:2]:
        head, data = body["messages"][0]["content"][0]["image_url"]["url"].split(",", 1)
        assert head == "data:image/jpeg;base64"
        sent = Image.open(io.BytesIO(base64.b64decode(data)))
        assert sent.format == "JPEG"
        sizes.add(sent.size)
    assert sizes == {(100, 75), (61, 43)}


def test_what_fails_is_a_value_in_its_place() -> None:
    script = [
        Reply('["cup"]'),
        Reply("I'm sorry, I can't help with that."),
        Reply(status=400),
        Reply("[]"),
        Reply('["cup", "spo', finish_reason="length"),
        Reply(text=None),
    ]
    with ChatServer(default=lambda prompt: script[len(server.asked) - 1]) as server:
        found = asking(server, attempts=1).tag([picture(n) for n in range(6)])
    kinds = [
        one.kind if isinstance(one, RequestError) else [tag.name for tag in one] for one in found
    ]
    assert kinds == [["cup"], "unparsed", "bad-request", [], ["cup"], kinds[5]]
    assert isinstance(found[5], RequestError)
    assert "I'm sorry" in str(found[1])


def test_what_may_pass_is_asked_again_and_what_cannot_ends_it() -> None:
    script = [Reply(status=503), Reply(drop=True), Reply('["cup"]')]
    with ChatServer(default=lambda prompt: script[len(server.asked) - 1]) as server:
        assert asking(server).tag([picture(0)]) == [[Tag("cup", 1.0)]]
        assert len(server.asked) == 3
    with ChatServer(default=lambda prompt: Reply(status=503)) as server:
        found = asking(server, attempts=2).tag([picture(0)])
        assert isinstance(found[0], RequestError)
        assert len(server.asked) == 2
    with (
        ChatServer(default=lambda prompt: Reply(status=401)) as server,
        pytest.raises(FatalError),
    ):
        asking(server).tag([picture(0), picture(1)])


def test_a_model_needs_eyes() -> None:
    with pytest.raises(UsageError, match="a model that looks at pictures, got baseline/center"):
        make("mllm", model="baseline/center")
    with pytest.raises(UsageError, match="expected names as a whole number of 1 or more, got 0"):
        make("mllm", model="openai/x", names=0)


@pytest.mark.parametrize(
    ("reply", "names"),
    [
        ('["cup", "spoon"]', ["cup", "spoon"]),
        ('[1] The list is ["cup", "spoon"] as asked [2].', ["cup", "spoon"]),
        ('{"objects": ["cup", "spoon"]}', ["cup", "spoon"]),
        ('[{"name": "cup", "count": 2}, {"label": "spoon"}, {"x": 1}, 7]', ["cup", "spoon"]),
        ('[{"name": "cup", "place": 2}, {"name": "spo', ["cup"]),
        ('<think>a ["chair"]?</think>["cup"]', ["cup"]),
        ('["a \\"red\\" cup", "spo', ['a "red" cup']),
        ("- cup\n- spoon\n", ["cup", "spoon"]),
        ("The kinds:\n1. cup\n2) spoon", ["cup", "spoon"]),
        ("[]", []),
        ("```json\n[\n]\n```", []),
        ("", None),
        ("I see a cup.", None),
        ("[1, 2]", None),
        ("[" * 70_000, None),
        ('["' * 70_000, None),
        ('["' + "a" * 70_000, None),
    ],
)
def test_lists_in_replies(reply: str, names: list[str] | None) -> None:
    began = time.process_time()
    found = listed(reply)
    assert found == names if len(reply) < 60_000 else not alike(found or [], 9)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("people", "person"), ("women", "woman"), ("firemen", "fireman"), ("knives", "knife"),
        ("stoves", "stove"), ("benches", "bench"), ("dishes", "dish"), ("boxes", "box"),
        ("glasses", "glasses"), ("mattresses", "mattress"), ("houses", "house"), ("buses", "bus"),
        ("bus", "bus"), ("tomatoes", "tomato"), ("shoes", "shoe"), ("cookies", "cookie"),
        ("berries", "berry"), ("keys", "key"), ("grass", "grass"), ("tennis", "tennis"),
        ("skis", "skis"), ("traffic lights", "traffic light"), ("vases", "vase"), ("gas", "gas"),
        ("specimen", "specimen"), ("men", "man"),
    ],
)  # fmt: skip
def test_singulars(plural: str, one: str) -> None:
    assert singular(plural) == one


def test_cocos_classes_are_singular_already() -> None:
    assert alike(COCO, 99) == list(COCO)


def test_names_are_bounded() -> None:
    assert alike(["x" * 61, "x\x00b\x1b", "  The  Tall   Men "], 9) == ["x b", "tall man"]
    assert alike([f"thing {n}" for n in range(100)], 7) == [f"thing {n}" for n in range(7)]
