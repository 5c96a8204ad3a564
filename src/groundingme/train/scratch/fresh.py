"""A Qwen3-VL of some size with random weights, its tokenizer and its processor, from no download.

Loaded by the same code that loads the published ones. The vocabulary is learnt from what the model
will read and write, so that it is small and the embeddings do not make up the model.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import torch

PATCH, MERGE, FRAMES = 16, 2, 2
"""Pixels of a patch's side, patches of a token's side, frames of a patch: those of Qwen3-VL."""
SIDE = PATCH * MERGE
"""Pixels of the square of an image that becomes one token."""

_END, _START, _STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")

TEMPLATE = (
    "{%- for turn in messages -%}{{ '<|im_start|>' + turn.role + '\n' }}"
    "{%- if turn.content is string -%}{{ turn.content }}"
    "{%- else -%}"
    "{%- for part in turn.content -%}"
    "{%- if part.type == 'image' -%}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- else -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}"
    "{%- endif -%}{{ '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
"""Turns as the family writes them, pictures where they stand."""


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers that make a Qwen3-VL large or small.

    Attributes:
        hidden: Width of the language model.
        inner: Width of its feed-forward layers.
        layers: Of the language model.
        heads: Of its attention.
        shared: Heads of its keys and values.
        head: Width of a head.
        vision_hidden: Width of the vision tower.
        vision_inner: Width of its feed-forward layers.
        vision_layers: Of the vision tower.
        vision_heads: Of its attention.
        deepstack: Layers of the vision tower whose features go into the language model's first
            layers as well.
        vocabulary: Most tokens.
    """

    hidden: int
    inner: int
    layers: int
    heads: int
    shared: int
    head: int
    vision_hidden: int
    vision_inner: int
    vision_layers: int
    vision_heads: int
    deepstack: tuple[int, ...]
    vocabulary: int = 4096


SIZES: dict[str, Size] = {
    "tiny": Size(
        hidden=64, inner=128, layers=2, heads=2, shared=1, head=32, vision_hidden=64,
        vision_inner=128, vision_layers=2, vision_heads=2, deepstack=(0, 1), vocabulary=600,
    ),
    "small": Size(
        hidden=512, inner=1536, layers=8, heads=8, shared=4, head=64, vision_hidden=384,
        vision_inner=1536, vision_layers=8, vision_heads=6, deepstack=(1, 3, 5),
    ),
    "medium": Size(
        hidden=768, inner=2304, layers=12, heads=12, shared=4, head=64, vision_hidden=768,
        vision_inner=3072, vision_layers=12, vision_heads=12, deepstack=(2, 5, 8),
    ),
    # Depth and widths of Qwen3-0.6B below the vision tower of Qwen3-VL-2B.
    "large": Size(
        hidden=1024, inner=3072, layers=28, heads=16, shared=8, head=128, vision_hidden=1024,
        vision_inner=4096, vision_layers=24, vision_heads=16, deepstack=(5, 11, 17),
    ),
    # Those of Qwen3-VL-2B, but for the vocabulary.
    "2b": Size(
        hidden=2048, inner=6144, layers=28, heads=16, shared=8, head=128, vision_hidden=1024,
        vision_inner=4096, vision_layers=24, vision_heads=16, deepstack=(5, 11, 17),
    ),
}  # fmt: skip


def make_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """A byte-level tokenizer like the family's, with its marks and single digits.

    Args:
        texts: What the model will read and write.
        vocabulary: Most tokens; 256 bytes and the marks are among them.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    marks = [_END, _START, _STOP, *_VISION]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=marks,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=_STOP,
        pad_token=_END,
        additional_special_tokens=marks[1:],
        model_max_length=4096,
    )


def make_config(size: Size, tokenizer: Any) -> Any:
    """transformers' configuration of a Qwen3-VL of that size."""
    from transformers import Qwen3VLConfig

    ids = tokenizer.convert_tokens_to_ids
    # Time, height and width share the frequencies of a head as 24, 20 and 20 of 64 do.
    quarter = size.head // 32
    return Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": size.hidden,
            "intermediate_size": size.inner,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.shared,
            "head_dim": size.head,
            "max_position_embeddings": 4096,
            "bos_token_id": None,  # nosec B105
            "eos_token_id": ids(_STOP),
            "pad_token_id": ids(_END),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [6 * quarter, 5 * quarter, 5 * quarter],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": size.vision_layers,
            "hidden_size": size.vision_hidden,
            "intermediate_size": size.vision_inner,
            "num_heads": size.vision_heads,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": FRAMES,
            "out_hidden_size": size.hidden,
            "deepstack_visual_indexes": list(size.deepstack),
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def make_processor(tokenizer: Any, image_tokens: int) -> Any:
    """What turns pictures and turns into tensors; without videos where torchvision is missing.

    Args:
        tokenizer: Made by `make_tokenizer`.
        image_tokens: Most tokens of a picture; larger ones are shrunk.
    """
    import transformers
    from transformers import Qwen2VLImageProcessorPil, Qwen3VLProcessor
    from transformers.utils import is_torchvision_available

    from groundingme.models.processors import without_videos

    pictures = Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        merge_size=MERGE,
        temporal_patch_size=FRAMES,
        size={"shortest_edge": 4 * SIDE**2, "longest_edge": image_tokens * SIDE**2},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    if not is_torchvision_available():
        kind = without_videos(Qwen3VLProcessor)
        return kind(pictures, tokenizer, chat_template=TEMPLATE)
    videos = transformers.Qwen3VLVideoProcessor(
        patch_size=PATCH, merge_size=MERGE, temporal_patch_size=FRAMES
    )
    return Qwen3VLProcessor(pictures, tokenizer, videos, chat_template=TEMPLATE)


def build(size: Size, texts: Iterable[str], folder: Path, *, image_tokens: int, seed: int) -> Path:
    """Saves a fresh model with its processor, as a published one is.

    Args:
        size: How large.
        texts: What it will read and write.
        folder: To write; the model's configuration is written last.
        image_tokens: Most tokens of a picture.
        seed: Of its weights.
    """
    from transformers import Qwen3VLForConditionalGeneration

    tokenizer = make_tokenizer(texts, size.vocabulary)
    make_processor(tokenizer, image_tokens).save_pretrained(folder)
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(make_config(size, tokenizer))
    model.generation_config.eos_token_id = [tokenizer.eos_token_id]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    return folder
