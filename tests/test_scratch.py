"""A Qwen3-VL from nothing: its arithmetic against torch's own count, and all stages, tiny."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch: groundingme[train]")
pytest.importorskip("trl", reason="needs groundingme[train]")
pytestmark = [
    pytest.mark.slow,
    # Warnings of libraries about their own insides, which differ with every version of them.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


TEXTS = ["the red mug left of the lamp", '{"bbox_2d": [1, 22, 333, 4]}', '{"bbox_2d": null}'] * 20


def test_operations_are_those_that_torch_counts(tmp_path: Path) -> None:
    from PIL import Image
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForImageTextToText

    from groundingme.models.processors import load_processor
    from groundingme.train.scratch import flops, fresh

    size = fresh.SIZES["tiny"]
    folder = fresh.build(size, TEXTS, tmp_path / "qwen3-vl", image_tokens=64, seed=0)
    model = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager")
    processor = load_processor(str(folder))
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "the mug"}]}
    text = processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>the mug<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    picture = Image.new("RGB", (224, 160), "red")
    inputs = processor(images=[[picture]], text=[text], return_tensors="pt")
    tokens = inputs["input_ids"].shape[1]
    image = int((inputs["input_ids"] == model.config.image_token_id).sum())
    assert image == 35
    with FlopCounterMode(display=False) as counter:
        loss = model(**inputs, labels=inputs["input_ids"]).loss
        ahead = counter.get_total_flops()
        loss.backward()
    assert flops.forward(model.config, tokens, image) == ahead
    assert flops.training(model.config, tokens, image) == counter.get_total_flops()


def test_sizes_are_what_they_are_called() -> None:
    from transformers import Qwen3VLForConditionalGeneration

    from groundingme.train.scratch import fresh

    weights = {}
    tokenizer = fresh.make_tokenizer(TEXTS, 600)
    for name, size in fresh.SIZES.items():
        with torch.device("meta"):
            model = Qwen3VLForConditionalGeneration(fresh.make_config(size, tokenizer))
        weights[name] = sum(one.numel() for one in model.parameters())
    assert list(weights.values()) == sorted(weights.values())
    # The published one has a vocabulary of 151,936 words in place of these few: 2.13e9 in all.
    published = weights["2b"] + (151_936 - len(tokenizer)) * 2048
    assert published == pytest.approx(2.13e9, rel=0.01)


def test_peaks_by_the_name_of_the_chip() -> None:
    from groundingme.train.scratch.flops import peak_of

    assert peak_of("NVIDIA H200") == peak_of("NVIDIA H100 80GB HBM3") == 989.4e12
    assert peak_of("NVIDIA H100 PCIe") == 756.5e12
    assert peak_of("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_of("x86_64") is None


def test_all_stages_tiny(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from groundingme.train.scratch.__main__ import main

    out = tmp_path / "out"
    assert main(["--tiny", "--out", str(out)]) == 0
    told: dict[str, Any] = json.loads((out / "scratch.json").read_text(encoding="utf-8"))
    speed, base = told["speed"], told["base"]
    assert speed["tokens_a_second"] == pytest.approx(
        speed["tokens_a_row"] * 4 / speed["seconds_a_step"]
    )
    assert speed["share_of_peak"] is None
    # What trl counted of the whole training, whose rows are no others.
    seen = base["num_tokens"] / (4 * base["step"])
    assert speed["tokens_a_row"] == pytest.approx(seen, rel=0.05)
    assert told["columns"] == ["untouched", "1:1"]
    totals = [row for row in told["rows"] if row["name"] == "Total"]
    assert totals[0]["samples"] == 12
    assert (out / "sweep" / "models" / "1-1-seed0" / "training.json").exists()
    capsys.readouterr()
    (out / "scratch.json").unlink()
    assert main(["--tiny", "--out", str(out)]) == 0
    again = json.loads((out / "scratch.json").read_text(encoding="utf-8"))
    assert again == told
    assert "step 1/" not in capsys.readouterr().err
    assert main(["--tiny", "--out", str(out), "--total", "4"]) == 2
    assert "was begun with" in capsys.readouterr().err
    assert main(["--size", "huge", "--out", str(tmp_path / "other")]) == 2
    assert "no size is named 'huge'" in capsys.readouterr().err
    shutil.rmtree(out)
