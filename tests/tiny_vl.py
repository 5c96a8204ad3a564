"""Tiny vision-language models that can be trained, and small data sets to train them on.

Made of transformers' own configuration classes of Qwen3-VL, Qwen2.5-VL and InternVL, with a
tokenizer that is trained on the spot, so that nothing is downloaded.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from groundingme.prompts import UNIFIED

TURNS = (
    "{%- for turn in messages -%}{{ '<|im_start|>' + turn.role + '\n' }}"
    "{%- if turn.content is string -%}{{ turn.content }}"
    "{%- else -%}{%- for part in turn.content -%}"
    "{%- if part.type == 'image' -%}{{ IMAGE }}{%- else -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{{ '<|im_end|>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
COLORS = ("red", "green", "blue", "yellow", "black", "white", "orange", "purple")


def texts() -> list[str]:
    """What the models are to read and write."""
    drawn = random.Random(0)
    boxes = [json.dumps({"bbox_2d": [drawn.randrange(1000) for _ in range(4)]}) for _ in range(300)]
    names = [f"the {color} square" for color in COLORS]
    return [*boxes, *['{"bbox_2d": null}'] * 50, *[UNIFIED] * 20, *names * 20]


def chat_tokenizer(marks: Iterable[str], **more: Any) -> Any:
    """A byte-level tokenizer as the Qwen family has them, with `marks` as tokens of their own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *marks]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=marks, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=marks[1:],
        model_max_length=2048,
        **more,
    )


QWEN = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
QWEN_IMAGE = "'<|vision_start|><|image_pad|><|vision_end|>'"


def _text(size: int, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": size, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
        "bos_token_id": None, **more,
    }  # fmt: skip


def build_qwen3_vl(folder: Path) -> Path:
    """A Qwen3-VL of three layers."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor

    tokenizer = chat_tokenizer(QWEN)
    ids = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [6, 5, 5],
            "mrope_interleaved": True}  # fmt: skip
    config = Qwen3VLConfig(
        text_config=_text(
            len(tokenizer), head_dim=32, rope_parameters=rope, eos_token_id=ids("<|im_end|>"),
            pad_token_id=ids("<|endoftext|>"),
        ),
        vision_config={
            "depth": 3, "hidden_size": 96, "intermediate_size": 192, "num_heads": 4,
            "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
            "out_hidden_size": 128, "num_position_embeddings": 256,
            "deepstack_visual_indexes": [0, 1],
        },
        tie_word_embeddings=True, **_marks(ids),
    )  # fmt: skip
    return _save_qwen(folder, Qwen3VLForConditionalGeneration, config, Qwen3VLProcessor, 16)


def build_qwen25_vl(folder: Path) -> Path:
    """A Qwen2.5-VL of three layers."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
    )

    tokenizer = chat_tokenizer(QWEN)
    ids = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [6, 5, 5]}
    config = Qwen2_5_VLConfig(
        text_config=_text(
            len(tokenizer), rope_parameters=rope, eos_token_id=ids("<|im_end|>"),
            pad_token_id=ids("<|endoftext|>"),
        ),
        vision_config={
            "depth": 2, "hidden_size": 96, "intermediate_size": 192, "num_heads": 4,
            "patch_size": 14, "out_hidden_size": 128, "fullatt_block_indexes": [1],
        },
        tie_word_embeddings=True, **_marks(ids),
    )  # fmt: skip
    return _save_qwen(folder, Qwen2_5_VLForConditionalGeneration, config, Qwen2_5_VLProcessor, 14)


def _marks(ids: Any) -> dict[str, int]:
    return {
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }


def _save_qwen(folder: Path, kind: Any, config: Any, processor: Any, patch: int) -> Path:
    from transformers import Qwen2VLImageProcessorPil

    pictures = Qwen2VLImageProcessorPil(
        patch_size=patch, merge_size=2, temporal_patch_size=2,
        size={"shortest_edge": 4 * (2 * patch) ** 2, "longest_edge": 16384 * (2 * patch) ** 2},
    )  # fmt: skip
    return _save(folder, kind, config, processor, pictures, chat_tokenizer(QWEN), QWEN_IMAGE)


def build_internvl(folder: Path) -> Path:
    """An InternVL of two layers, whose tiles are 56 pixels wide and become 4 tokens."""
    from transformers import (
        GotOcr2ImageProcessorPil,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLProcessor,
    )

    named = {
        "start_image_token": "<img>", "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>", "image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }  # fmt: skip
    tokenizer = chat_tokenizer(dict.fromkeys(named.values()), extra_special_tokens=named)
    ids = tokenizer.convert_tokens_to_ids
    config = InternVLConfig(
        text_config={
            "model_type": "qwen2",
            **_text(
                len(tokenizer), eos_token_id=ids("<|im_end|>"), pad_token_id=ids("<|endoftext|>"),
            ),
        },
        vision_config={
            "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 128, "image_size": [56, 56], "patch_size": [14, 14],
        },
        image_token_id=ids("<IMG_CONTEXT>"), image_seq_length=4,
    )  # fmt: skip
    pictures = GotOcr2ImageProcessorPil(
        size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=4
    )
    return _save(
        folder, InternVLForConditionalGeneration, config, InternVLProcessor, pictures, tokenizer,
        "'<IMG_CONTEXT>\n'", image_seq_length=4,
    )  # fmt: skip


def _save(
    folder: Path, kind: Any, config: Any, processor: Any, pictures: Any, tokenizer: Any,
    image: str, **more: Any,
) -> Path:  # fmt: skip
    import torch

    from groundingme.models.processors import without_videos

    torch.manual_seed(0)
    model = kind(config)
    with torch.no_grad():
        # With smaller ones no last layer could say anything for sure, and LoRA leaves them alone.
        model.get_input_embeddings().weight.normal_(0, 0.2)
    ids = tokenizer.convert_tokens_to_ids
    model.generation_config.eos_token_id = [ids("<|im_end|>")]
    model.generation_config.pad_token_id = ids("<|endoftext|>")
    model.save_pretrained(folder)
    template = TURNS.replace("IMAGE", image)
    made = without_videos(processor)(pictures, tokenizer, chat_template=template, **more)
    made.save_pretrained(folder)
    return folder


def write_squares(folder: Path, pictures: int = 4, size: tuple[int, int] = (128, 96)) -> Path:
    """A data set: a square on each picture, one question about it and one about no square."""
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True, exist_ok=True)
    drawn = random.Random(1)
    lines = []
    for number in range(pictures):
        # Each colour stands for one answer, so that few steps suffice to tell them apart.
        here, absent = (COLORS[(2 * number + one) % len(COLORS)] for one in (0, 1))
        side, (width, height) = drawn.randrange(25, 60), size
        x, y = drawn.randrange(width - side), drawn.randrange(height - side)
        picture = Image.new("RGB", size, "grey")
        ImageDraw.Draw(picture).rectangle((x, y, x + side - 1, y + side - 1), fill=here)
        picture.save(folder / f"{number}.png")
        for color, box in ((here, [x, y, x + side, y + side]), (absent, None)):
            line = {"id": f"{number}-{color}", "image": f"{number}.png", "bbox": box,
                    "description": f"the {color} square", "width": width, "height": height,
                    "subtask_l1": "Discriminative" if box else "Rejection"}  # fmt: skip
            lines.append(json.dumps(line) + "\n")
    (folder / "samples.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


PROMPT = "Box of {description}, or null?"
"""Short, so that a step takes little time."""


def mixture_of(data: Path, out: Path, family: str = "qwen3-vl", prompt: str = PROMPT) -> Path:
    """The mixture of one negative a positive."""
    from groundingme.train.mixing import mix

    return mix(str(data), str(data), out=out, ratios="1:1", family=family, prompt=prompt)[0].folder
