"""A base model of a known family: configuration, processor and size, before its weights."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import torch

from groundingme import resizing
from groundingme.errors import MissingDependencyError, UsageError
from groundingme.models.families import Family, families, matching
from groundingme.models.processors import load_processor
from groundingme.models.transformers import first_line
from groundingme.train.tuning.memory import Shape
from groundingme.train.tuning.options import TuneOptions

_TEXT = r"(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How models of one type are trained.

    Attributes:
        family: Name of a row of `models/families.toml`, where the served name says nothing more.
        targets: Layers of the language model that get LoRA matrices.
        vision_targets: Layers of the vision tower that do, where that is trained.
        vision: Name of the vision tower among the model's modules.
        side: Pixels of the square of an image that becomes one token; None where images are cut
            into tiles.
        tile: Tokens of a tile.
    """

    family: str
    targets: str
    vision_targets: str
    vision: str
    side: int | None = None
    tile: int = 0


_QWEN_TARGETS = rf".*language_model\..*\.{_TEXT}"

_QWEN3 = Recipe(
    family="qwen3-vl",
    targets=_QWEN_TARGETS,
    vision_targets=r".*visual\.blocks\..*\.(?:qkv|proj|linear_fc1|linear_fc2)",
    vision="visual",
    side=32,
)

RECIPES: dict[str, Recipe] = {
    "qwen3_vl": _QWEN3,
    # Its experts are no layers of their own, so LoRA reaches attention alone.
    "qwen3_vl_moe": _QWEN3,
    "qwen2_5_vl": Recipe(
        family="qwen2.5-vl",
        targets=_QWEN_TARGETS,
        vision_targets=r".*visual\.blocks\..*\.(?:qkv|proj|gate_proj|up_proj|down_proj)",
        vision="visual",
        side=28,
    ),
    "internvl": Recipe(
        family="internvl",
        targets=_QWEN_TARGETS,
        vision_targets=r".*vision_tower\..*\.(?:q_proj|k_proj|v_proj|projection_layer|fc1|fc2)",
        vision="vision_tower",
        tile=256,
    ),
}
"""By the type that a model's configuration names."""


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """A base model without its weights.

    Attributes:
        name: Hub id, or path of a folder.
        revision: On the Hub.
        config: transformers' configuration.
        recipe: How its type is trained.
        family: Its row of the table of families.
        processor: With the image budget that was asked for.
    """

    name: str
    revision: str | None
    config: Any
    recipe: Recipe
    family: Family
    processor: Any

    def tokens(self, width: int, height: int) -> int:
        """Tokens that an image of this many pixels becomes."""
        found = self.processor._get_num_multimodal_tokens(image_sizes=[[height, width]])
        return int(found["num_image_tokens"][0])

    def seen(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in pixels that the model sees; the same where images are tiled."""
        if self.recipe.side is None:
            return width, height
        least, most = _bounds(self.processor.image_processor)
        return resizing.multiple_of(
            width, height, factor=self.recipe.side, min_pixels=least, max_pixels=most
        )


def open_base(name: str, options: TuneOptions) -> Base:
    """Reads configuration and processor.

    Raises:
        UsageError: They cannot be had, or the model is of no known family.
    """
    from transformers import AutoConfig

    if not Path(name).exists() and name.count("/") != 1:
        raise UsageError(f"expected a Hub id OWNER/NAME or a folder with a model, got {name!r}")
    where = {"revision": options.revision} if options.revision else {}
    try:
        config = AutoConfig.from_pretrained(name, **where)
    # The boundary: transformers raises whatever a missing file or a wrong type comes to.
    except Exception as error:  # noqa: BLE001
        raise _unloadable(name, error) from None
    recipe = RECIPES.get(config.model_type)
    if recipe is None:
        hint = "; take its version for transformers, whose name ends in -HF" * (
            config.model_type == "internvl_chat"
        )
        raise UsageError(
            f"expected a base model of type {', '.join(RECIPES)}, got {config.model_type!r} in "
            f"{name}{hint or '; base.RECIPES has one row a type'}"
        )
    try:
        processor = load_processor(name, **where, **_budget(options, recipe))
    except Exception as error:  # noqa: BLE001
        raise _unloadable(name, error) from None
    _check_budget(processor, options, recipe)
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return Base(
        name=name,
        revision=options.revision,
        config=config,
        recipe=recipe,
        family=_family(name, recipe),
        processor=processor,
    )


def _unloadable(name: str, error: Exception) -> UsageError:
    return UsageError(
        f"expected a model that transformers can load, got {name}: {first_line(error)}"
    )


def _family(name: str, recipe: Recipe) -> Family:
    """The row that the name says, if it is of the same make as the type; else the type's own."""
    own = next(one for one in families() if one.name == recipe.family)
    named = [one for one in matching(name) if one.name.startswith(recipe.family)]
    return named[0] if len(named) == 1 else own


def _budget(options: TuneOptions, recipe: Recipe) -> dict[str, Any]:
    """What the processor is told of the most that an image may take."""
    tokens, pixels = options.image_tokens, options.max_pixels
    if tokens is None and pixels is None:
        return {}
    if recipe.side is None:
        side = 448
        tiles = tokens // recipe.tile if tokens else (pixels or 0) // side**2
        return {"max_patches": max(1, tiles)}
    return {"max_pixels": tokens * recipe.side**2 if tokens else pixels}


def _bounds(image_processor: Any) -> tuple[int, int]:
    """Fewest and most pixels that a processor of the Qwen family leaves an image."""
    size = image_processor.size
    return int(size["shortest_edge"]), int(size["longest_edge"])


def _check_budget(processor: Any, options: TuneOptions, recipe: Recipe) -> None:
    if recipe.side is None:
        return
    least, most = _bounds(processor.image_processor)
    if most < least:
        given = "--image-tokens" if options.image_tokens else "--max-pixels"
        amount = least // recipe.side**2 if options.image_tokens else least
        raise UsageError(
            f"expected {given} of {amount} or more, the fewest that this processor makes of an "
            f"image, got {options.image_tokens or options.max_pixels}"
        )


def targets_of(base: Base, options: TuneOptions) -> str:
    """Regular expression of the layers that get LoRA matrices."""
    chosen = options.targets or base.recipe.targets
    return f"(?:{chosen})|(?:{base.recipe.vision_targets})" if options.vision else chosen


def is_vision(base: Base, name: str) -> bool:
    """Whether a module or weight of that name belongs to the vision tower."""
    return base.recipe.vision in name.split(".")


def shape_of(base: Base, options: TuneOptions) -> Shape:
    """Counts the weights of a model without having them.

    Raises:
        UsageError: No layer matches `targets`.
    """
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(base.config)
    text, tower = base.config.get_text_config(), base.config.vision_config
    added = 0 if options.tune == "full" else _added(base, options, model)
    trained = added
    if options.tune == "full":
        trained = _size(
            weight
            for name, weight in model.named_parameters()
            if options.vision or not is_vision(base, name)
        )
    heads = model.get_output_embeddings()
    linear = _size(
        module.weight
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not heads
    )
    merge = getattr(tower, "spatial_merge_size", 2)
    return Shape(
        weights=_size(model.parameters()),
        linear=linear,
        trained=trained,
        added=added,
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        inner=text.intermediate_size,
        vocabulary=text.vocab_size,
        vision_layers=getattr(tower, "depth", None) or tower.num_hidden_layers,
        vision_hidden=tower.hidden_size,
        patches_per_token=merge**2,
    )


def _size(weights: Iterable[torch.Tensor]) -> int:
    return sum(weight.numel() for weight in weights)


def _added(base: Base, options: TuneOptions, model: Any) -> int:
    targets = targets_of(base, options)
    try:
        pattern = re.compile(targets)
    except re.error as error:
        raise UsageError(
            f"expected --targets as a regular expression, got {options.targets!r}: {error}"
        ) from None
    found = [
        module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and pattern.fullmatch(name)
    ]
    if not found:
        raise UsageError(
            f"expected --targets that match layers of {base.name}, got {targets!r}, which matches "
            f"none; the family's own are {base.recipe.targets!r}"
        )
    return sum(options.rank * (one.in_features + one.out_features) for one in found)


def load_model(base: Base, options: TuneOptions, *, bf16: bool) -> Any:
    """The model with its weights, in the precision that it is trained in.

    What is trained is float32; what is frozen is bfloat16 where `bf16`, or 4 bits with `qlora`.

    Raises:
        UsageError: The weights cannot be loaded.
        MissingDependencyError: bitsandbytes or flash-attn is needed and not installed.
    """
    from transformers import AutoModelForImageTextToText

    how: dict[str, Any] = {"dtype": torch.bfloat16 if bf16 else torch.float32}
    if options.tune == "full":
        how["dtype"] = torch.float32
    if base.revision:
        how["revision"] = base.revision
    if attention := attention_of(options, bf16):
        how["attn_implementation"] = attention
    if options.tune == "qlora":
        how |= _four_bits(how["dtype"])
    # An adapter remembers what it belongs to, wherever it is loaded from.
    place = str(Path(base.name).resolve()) if Path(base.name).is_dir() else base.name
    try:
        model = AutoModelForImageTextToText.from_pretrained(place, **how)
    except Exception as error:  # noqa: BLE001
        raise _unloadable(base.name, error) from None
    if options.tune == "full" and not options.vision:
        for name, weight in model.named_parameters():
            weight.requires_grad_(not is_vision(base, name))
    return model


def attention_of(options: TuneOptions, bf16: bool) -> str:
    """transformers' name of the attention to use; "" for its own choice.

    Raises:
        MissingDependencyError: FlashAttention is asked for and not installed.
        UsageError: It is asked for without bfloat16.
    """
    from transformers.utils import is_flash_attn_2_available

    if options.attention in ("sdpa", "eager"):
        return options.attention
    there = is_flash_attn_2_available()
    if options.attention == "auto":
        return "flash_attention_2" if there and bf16 else ""
    if not there:
        raise MissingDependencyError(
            "expected flash-attn and a GPU for --attention flash, got none; pip install flash-attn "
            "--no-build-isolation, or take --attention sdpa"
        )
    if not bf16:
        raise UsageError("expected --bf16 with --attention flash, got --no-bf16; change one")
    return "flash_attention_2"


def check_quantizable(options: TuneOptions) -> None:
    """Whether 4-bit weights can be had here.

    Raises:
        MissingDependencyError: bitsandbytes is not installed.
        UsageError: There is no GPU.
    """
    import importlib.util

    if options.tune != "qlora":
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingDependencyError(
            "expected the package bitsandbytes for --tune qlora, got none; "
            "pip install 'groundingme[qlora]'"
        )
    if not torch.cuda.is_available():
        raise UsageError("expected a GPU for --tune qlora, got none; take --tune lora")


def _four_bits(compute: torch.dtype) -> dict[str, Any]:
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    device = torch.cuda.current_device()
    return {"quantization_config": quantization, "device_map": {"": device}}
