"""RAM++ on the weights of its published checkpoint, for inference.

"Open-Set Image Tagging with Multi-Grained Text Supervision", arXiv 2310.15200. A Swin encoder sees
the picture; of each tag's descriptions, embedded once and for all, those count most that are
nearest to the picture as a whole; and a decoder asks the picture about each tag by itself.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from groundingme.build.taggers import swin
from groundingme.build.taggers.swin import (
    SwinConfig,
    Tensor,
    linear,
    linear_shapes,
    norm,
    norm_shapes,
)
from groundingme.errors import UsageError

REPOSITORY = "xinyu1205/recognize-anything-plus-model"
CHECKPOINT = "ram_plus_swin_large_14m.pth"

EPSILON = 1e-12
"""Of the decoder's layer norms, as in BERT."""

ENCODER = "visual_encoder."
DECODER = "tagging_head.encoder.layer."

UNNEEDED = (
    (r"visual_encoder\.layers\.\d+\.blocks\.\d+\.attn\.relative_position_index", "computed"),
    (r"visual_encoder\.layers\.\d+\.blocks\.\d+\.attn_mask", "computed"),
    (r"tagging_head\.embeddings\..*", "the decoder reads no words, but embedded descriptions"),
    (r"tagging_head\.encoder\.layer\.\d+\.attention\..*", "each tag is asked about by itself"),
)
"""Names of tensors that a checkpoint may have beside those that inference uses, and why not."""


class RamConfig(msgspec.Struct, frozen=True):
    """Sizes; the defaults are those of the published checkpoint.

    Attributes:
        swin: Of the encoder.
        text_width: Of the space that pictures and descriptions share.
        descriptions: Of each tag.
        width: Channels of the decoder.
        layers: Of the decoder.
        heads: Attention heads of the decoder.
        inner: Channels inside of the decoder's perceptrons.
    """

    swin: SwinConfig = SwinConfig()
    text_width: int = 512
    descriptions: int = 51
    width: int = 768
    layers: int = 2
    heads: int = 4
    inner: int = 3072


def shapes(config: RamConfig, tags: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights, for so many tags."""
    found = {f"{ENCODER}{name}": shape for name, shape in swin.shapes(config.swin).items()}
    found |= linear_shapes("image_proj", config.swin.out_width, config.text_width)
    found |= linear_shapes("wordvec_proj", config.text_width, config.width)
    found |= linear_shapes("fc", config.width, 1)
    found["label_embed"] = (tags * config.descriptions, config.text_width)
    found["reweight_scale"] = ()
    for layer in range(config.layers):
        at = f"{DECODER}{layer}"
        found |= linear_shapes(f"{at}.crossattention.self.query", config.width, config.width)
        found |= linear_shapes(f"{at}.crossattention.self.key", config.text_width, config.width)
        found |= linear_shapes(f"{at}.crossattention.self.value", config.text_width, config.width)
        found |= linear_shapes(f"{at}.crossattention.output.dense", config.width, config.width)
        found |= norm_shapes(f"{at}.crossattention.output.LayerNorm", config.width)
        found |= linear_shapes(f"{at}.intermediate.dense", config.width, config.inner)
        found |= linear_shapes(f"{at}.output.dense", config.inner, config.width)
        found |= norm_shapes(f"{at}.output.LayerNorm", config.width)
    return found


def logits(pictures: Tensor, weights: Mapping[str, Tensor], config: RamConfig) -> Tensor:
    """How sure the model is of each tag, as a logit.

    Args:
        pictures: Shape `(batch, 3, image_size, image_size)`, normalised.
        weights: By name: see `shapes`.
        config: Sizes.

    Returns:
        Shape `(batch, tags)`.
    """
    import torch
    from torch.nn import functional

    patches = swin.encode(pictures, weights, config.swin, ENCODER)
    tokens = torch.cat([patches.mean(1, keepdim=True), patches], dim=1)
    image = linear(tokens, weights, "image_proj")
    asked = linear(_labels(image[:, 0], weights, config), weights, "wordvec_proj")
    x = functional.relu(asked)
    for layer in range(config.layers):
        x = _layer(x, image, weights, f"{DECODER}{layer}", config.heads)
    return linear(x, weights, "fc").squeeze(-1)


def _labels(whole: Tensor, weights: Mapping[str, Tensor], config: RamConfig) -> Tensor:
    """One embedding of each tag for each picture, from the embeddings of its descriptions.

    Args:
        whole: The picture as a whole, shape `(batch, text_width)`.
        weights: By name.
        config: Sizes.

    Returns:
        Shape `(batch, tags, text_width)`.
    """
    import torch

    written = weights["label_embed"].unflatten(0, (-1, config.descriptions))
    direction = whole / whole.norm(dim=-1, keepdim=True)
    near = torch.einsum("bw,tdw->btd", direction * weights["reweight_scale"].exp(), written)
    return torch.einsum("btd,tdw->btw", near.softmax(-1), written)


def _layer(x: Tensor, image: Tensor, weights: Mapping[str, Tensor], at: str, heads: int) -> Tensor:
    """Each tag looks at the tokens of the picture; shape `(batch, tags, width)` in and out."""
    from torch.nn import functional

    def split(name: str, source: Tensor) -> Tensor:
        made = linear(source, weights, f"{at}.crossattention.self.{name}")
        return made.unflatten(-1, (heads, -1)).transpose(1, 2)

    mixed = functional.scaled_dot_product_attention(
        split("query", x), split("key", image), split("value", image)
    )
    joined = mixed.transpose(1, 2).flatten(2)
    seen = linear(joined, weights, f"{at}.crossattention.output.dense")
    x = norm(x + seen, weights, f"{at}.crossattention.output.LayerNorm", EPSILON)
    inside = functional.gelu(linear(x, weights, f"{at}.intermediate.dense"))
    thought = linear(inside, weights, f"{at}.output.dense")
    return norm(x + thought, weights, f"{at}.output.LayerNorm", EPSILON)


def load(
    path: Path, config: RamConfig, tags: int, *, to: str = "cpu", as_: Any = None
) -> dict[str, Tensor]:
    """The weights of a checkpoint, all of them known and none missing.

    Args:
        path: As `torch.save` wrote it: a dict of tensors, or one under `model`.
        config: Sizes.
        tags: How many there are.
        to: Device on which the weights go.
        as_: Their dtype; None for float32.

    Raises:
        UsageError: It cannot be read, or holds other weights.
    """
    import torch

    try:
        # Mapped, so that the state of the optimizer beside the weights is never read.
        mapped = zipfile.is_zipfile(path)
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    # The boundary: torch raises whatever a missing, damaged or strange file comes to.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(
            f"{_expected(path)}, got a file that torch cannot load: {reason}"
        ) from None
    if isinstance(found, Mapping) and isinstance(found.get("model"), Mapping):
        found = found["model"]
    if not isinstance(found, Mapping):
        raise UsageError(f"{_expected(path)}, got {type(found).__name__}")
    weights = used(found, shapes(config, tags), path)
    return {name: weights[name].to(to, as_ or torch.float32) for name in weights}


def used(
    found: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]], path: Path
) -> dict[str, Any]:
    """The tensors that inference uses.

    Args:
        found: All that the checkpoint holds.
        wanted: Names and shapes.
        path: For the message.

    Raises:
        UsageError: Some are missing, unknown (see `UNNEEDED`) or of another shape.
    """
    unneeded = re.compile("|".join(f"(?:{pattern})" for pattern, _ in UNNEEDED))
    wrong = []
    missing = [name for name in wanted if name not in found]
    if missing:
        wrong.append(f"{len(missing)} missing ({missing[0]})")
    strange = [name for name in found if name not in wanted and not unneeded.fullmatch(str(name))]
    if strange:
        wrong.append(f"{len(strange)} unexpected ({strange[0]})")
    got = {name: tuple(getattr(found[name], "shape", (None,))) for name in wanted if name in found}
    other = [name for name, shape in got.items() if shape != wanted[name]]
    if other:
        name = other[0]
        wrong.append(f"{len(other)} of another shape ({name}: {got[name]}, not {wanted[name]})")
    if other == ["label_embed"] and len(wrong) == 1:
        there, asked = got["label_embed"][0], wanted["label_embed"][0]
        raise UsageError(
            f"expected a list of tags that fits the {there} descriptions in {path}, got one for "
            f"{asked}; give the list that belongs to the checkpoint as tags="
        )
    if wrong:
        raise UsageError(f"{_expected(path)}, got weights with {', '.join(wrong)}")
    return {name: found[name] for name in wanted}


def _expected(path: Path) -> str:
    return f"expected {CHECKPOINT} of huggingface.co/{REPOSITORY} at {path}"
