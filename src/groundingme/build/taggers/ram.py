"""RAM++ as a tagger: its published checkpoint, and the tags and thresholds that belong to it.

The network is in `ram_network`. Its list of tags and their thresholds belong to their authors and
come with no package: they are read from files that the user names, or that lie beside the
checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from groundingme.build.taggers import (
    TAGGERS,
    Tag,
    Tags,
    check_dtype,
    needs,
    place,
    ram_network,
)
from groundingme.build.taggers.fixed import read_names
from groundingme.build.taggers.ram_network import CHECKPOINT, REPOSITORY, RamConfig
from groundingme.errors import JobError, UsageError
from groundingme.models.options import whole
from groundingme.registry import unknown

if TYPE_CHECKING:
    from PIL import Image

SOURCE = "github.com/xinyu1205/recognize-anything"
TAG_LIST = "ram_tag_list.txt"
THRESHOLDS = "ram_tag_list_threshold.txt"

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Of the three channels in ImageNet, by which pictures are normalised."""


class Ram:
    """RAM++ with Swin-L at 384 pixels.

    Args:
        checkpoint: Path of `ram_plus_swin_large_14m.pth`; None for the Hub's cache, into which it
            is downloaded with the first pictures (3 GB).
        tags: Path of a text file of one tag a line; None for `ram_tag_list.txt` beside the
            checkpoint.
        thresholds: Path of a text file of one number a line, by which a tag's probability must be
            exceeded; or one number for all tags; None for `ram_tag_list_threshold.txt` beside the
            checkpoint.
        deleted: Tags that are never given, in a list or a text file of one a line: those that no
            detector can point at, such as colours and actions.
        device: Such as `cuda:1` or `cpu`; None for the first GPU where there is one.
        dtype: `float32`, `float16` or `bfloat16`; `auto` is float16 on a GPU, else float32.
        batch_size: Most pictures at once.
        config: Sizes of other weights than the published ones.

    Raises:
        UsageError: A file is missing or holds something else, or an option cannot be used.
        MissingDependencyError: Torch is not installed.
    """

    needs_image = True

    def __init__(
        self,
        *,
        checkpoint: str | Path | None = None,
        tags: str | Path | None = None,
        thresholds: str | Path | float | None = None,
        deleted: Sequence[str] | str | Path = (),
        device: str | None = None,
        dtype: str = "auto",
        batch_size: int | str = 8,
        config: RamConfig | None = None,
    ) -> None:
        needs("ram", ["torch"])
        self._path = Path(checkpoint) if checkpoint is not None else None
        if self._path and not self._path.is_file():
            raise UsageError(
                f"expected the checkpoint of RAM++ at {self._path}, got no such file; download "
                f"{CHECKPOINT} of huggingface.co/{REPOSITORY}, or leave checkpoint out"
            )
        self._names = read_names(self._find(tags, "tags", TAG_LIST), "tags")
        self._least = self._thresholds(thresholds)
        if isinstance(deleted, str | Path):
            deleted = read_names(deleted, "deleted")
        for name in deleted:
            if name not in self._names:
                raise unknown("tag of RAM++", name, self._names)
        # No probability exceeds 1.
        self._least[[name in deleted for name in self._names]] = 1.0
        self._device = device
        self._dtype = check_dtype(dtype)
        self._size = whole("batch_size", batch_size, 1) or 1
        self._config = config or RamConfig()
        self._weights: dict[str, Any] | None = None

    def tag(self, pictures: Sequence[Image.Image]) -> list[Tags]:
        """Tags whose probability is beyond their threshold, the likeliest first.

        Raises:
            UsageError: The checkpoint holds other weights.
            JobError: It cannot be downloaded, or memory does not suffice.
        """
        found: list[Tags] = []
        for at in range(0, len(pictures), self._size):
            probabilities = self.probabilities(pictures[at : at + self._size])
            found += [self._likely(row) for row in probabilities]
        return found

    def probabilities(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Of each tag in each picture, all pictures at once; shape `(pictures, tags)`.

        Raises:
            UsageError: See `tag`, as all others.
        """
        import torch

        if self._weights is None:
            self._weights = self._load()
        first = self._weights["image_proj.weight"]
        size = self._config.swin.image_size
        seen = np.stack([prepared(picture, size) for picture in pictures])
        try:
            with torch.inference_mode():
                inputs = torch.from_numpy(seen).to(first.device, first.dtype)
                sure = ram_network.logits(inputs, self._weights, self._config)
                made: NDArray[np.float32] = sure.float().sigmoid().cpu().numpy()
                return made
        except torch.OutOfMemoryError:
            raise JobError(
                f"expected memory for {len(pictures)} pictures at once on {first.device}, got "
                "too little; make batch_size smaller"
            ) from None

    def _likely(self, probabilities: NDArray[np.float32]) -> Tags:
        beyond = np.flatnonzero(probabilities > self._least)
        best = beyond[np.argsort(-probabilities[beyond], kind="stable")]
        return [Tag(self._names[at], round(float(probabilities[at]), 4)) for at in best]

    def _find(self, given: str | Path | None, option: str, name: str) -> Path:
        """The file of an option, or the one of that name beside the checkpoint."""
        path = Path(given) if given is not None else self._path and self._path.parent / name
        if path is None or not path.is_file():
            beside = "put it beside the checkpoint" if self._path else "name it"
            raise UsageError(
                f"expected {option}= as the path of {name}, got {path or 'nothing'}; download "
                f"ram/data/{name} of {SOURCE} and {beside}"
                + (f", or name it with {option}=" if self._path else f" with {option}=")
            )
        return path

    def _thresholds(self, given: str | Path | float | None) -> NDArray[np.float32]:
        if isinstance(given, int | float):
            return np.full(len(self._names), float(given), np.float32)
        path = self._find(given, "thresholds", THRESHOLDS)
        lines = read_names(path, "thresholds")
        try:
            least = np.array([float(line) for line in lines], np.float32)
        except ValueError as error:
            raise UsageError(f"expected one number a line in {path}, got {error}") from None
        if len(least) != len(self._names) or not ((least >= 0) & (least <= 1)).all():
            raise UsageError(
                f"expected {len(self._names)} thresholds from 0 to 1 in {path}, one a tag, got "
                f"{len(least)} numbers from {least.min(initial=1)} to {least.max(initial=0)}"
            )
        return least

    def _load(self) -> dict[str, Any]:
        device, dtype = place(self._device, self._dtype)
        path = self._path or downloaded()
        return ram_network.load(path, self._config, len(self._names), to=device, as_=dtype)


def prepared(picture: Image.Image, size: int) -> NDArray[np.float32]:
    """A picture as the network sees it: squeezed to a square, normalised, channels first."""
    from PIL import Image

    square = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    shades = np.asarray(square, np.float32) / np.float32(255)
    normal = (shades - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    return np.asarray(normal.transpose(2, 0, 1), np.float32)


def downloaded() -> Path:
    """The checkpoint in the Hub's cache, downloaded where it is not there yet.

    Raises:
        JobError: It is not there, and the Hub does not give it.
    """
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(REPOSITORY, CHECKPOINT))
    # The boundary: the Hub's library raises errors of several families, and those of its transport.
    except Exception as error:  # noqa: BLE001
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise JobError(
            f"expected {CHECKPOINT} from huggingface.co/{REPOSITORY}, got: {reason}; download it "
            "and name it with checkpoint="
        ) from None


TAGGERS.register("ram", Ram)
