"""Trained nets as small ONNX files, and the table that the runtime reads beside them."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from groundingme.models.builtin.seeing import CROP, LINE
from groundingme.models.builtin.words import LONGEST_TEXT
from groundingme.train.grounder import labels
from groundingme.train.grounder.match import Match
from groundingme.train.grounder.nets import Features, Look, Read, Spell

_LARGE = 256
"""Numbers in a weight from which on it is stored small."""


class _Looker(nn.Module):
    def __init__(self, net: Look) -> None:
        super().__init__()
        self.net = net

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        centres, sides = self.net(pictures)
        return centres.sigmoid(), sides


class _Reader(nn.Module):
    def __init__(self, net: Read) -> None:
        super().__init__()
        self.net, self.features = net, Features()

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        raw, edges = self.net(crops)
        return self.features(raw), edges


class _Speller(nn.Module):
    def __init__(self, net: Spell) -> None:
        super().__init__()
        self.net = net

    def forward(self, lines: Tensor) -> Tensor:
        text: Tensor = self.net(lines).softmax(2).flatten(1)
        return text


class _Matcher(nn.Module):
    def __init__(self, net: Match) -> None:
        super().__init__()
        self.net = net

    def forward(self, features: Tensor, places: Tensor, words: Tensor, letters: Tensor) -> Tensor:
        there = torch.ones_like(features[..., 0])
        scores: Tensor = self.net(features, places, there, words, letters)[0]
        return scores


def folded(net: nn.Module) -> Any:
    """A copy for inference, each batch normalisation folded into the convolution before it."""
    import copy

    from torch.nn.utils.fusion import fuse_conv_bn_eval

    fresh: Any = copy.deepcopy(net).cpu().eval()
    for part in fresh.modules():
        if isinstance(part, nn.Sequential) and len(part) > 1:
            first, second = part[0], part[1]
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                part[0], part[1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return fresh


def export_look(net: Look, path: Path) -> None:
    """Writes `look.onnx`: uint8 [1, H, W, 3] to centres [1, h, w] and sides [1, 4, h, w]."""
    picture = torch.zeros(1, 128, 160, 3, dtype=torch.uint8)
    dims = ({1: 32 * torch.export.Dim("h", min=1), 2: 32 * torch.export.Dim("w", min=1)},)
    _export(_Looker(folded(net)), (picture,), ["picture"], ["centres", "sides"], dims, path)


def export_read(net: Read, path: Path) -> None:
    """Writes `read.onnx`: uint8 [N, 64, 64, 3] to features [N, F] without text and edges [N, 8]."""
    crops = torch.zeros(3, CROP, CROP, 3, dtype=torch.uint8)
    dims = ({0: torch.export.Dim("n", min=1)},)
    _export(_Reader(folded(net)), (crops,), ["crops"], ["features", "edges"], dims, path)


def export_spell(net: Spell, path: Path) -> None:
    """Writes `spell.onnx`: uint8 [N, *LINE, 3] to probabilities [N, places x letters]."""
    lines = torch.zeros(3, *LINE, 3, dtype=torch.uint8)
    dims = ({0: torch.export.Dim("n", min=1)},)
    _export(_Speller(folded(net)), (lines,), ["lines"], ["text"], dims, path)


def export_match(net: Match, path: Path) -> None:
    """Writes a matcher: features [1, N, F], places, words [1, T], letters to logits [1, N + 1]."""
    inputs, names, dims = _match_interface()
    _export(_Matcher(net.cpu().eval()), inputs, names, ["scores"], dims, path, bits=8)


def export_match_graph(net: Match, path: Path) -> None:
    """Writes a matcher whose weights stand under their own names, for `fill_match`."""
    inputs, names, dims = _match_interface()
    graph = _Matcher(net.cpu().eval())
    _export(graph, inputs, names, ["scores"], dims, path, bits=32, folds=False)


def fill_match(graph: Path, net: Match, path: Path) -> None:
    """Writes a matcher as `export_match`, a hundred times as fast.

    Args:
        graph: What `export_match_graph` made of a matcher of the same shape.
        net: Whose weights are written.
        path: Of the file.

    Raises:
        ValueError: The graph is of another shape.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(graph))
    weights = {f"net.{name}": value for name, value in net.state_dict().items()}
    # What is marked on the way is for teaching only.
    weights = {name: value for name, value in weights.items() if ".marks." not in name}
    for place in model.graph.initializer:
        value = weights.pop(place.name, None)
        if value is None:
            continue
        if list(value.shape) != list(place.dims):
            raise ValueError(f"expected {place.name} of {list(place.dims)}, got {value.shape}")
        place.CopyFrom(numpy_helper.from_array(value.cpu().numpy(), place.name))
    if weights:
        raise ValueError(f"expected a graph with all weights, got one without {min(weights)}")
    _finish(model, 8, path)


def _match_interface() -> tuple[tuple[Tensor, ...], list[str], tuple[dict[int, Any], ...]]:
    """Inputs of a matcher with their names and the sizes that may vary."""
    inputs = (
        torch.rand(1, 3, labels.FEATURE_SIZE),
        torch.rand(1, 3, 6),
        torch.ones(1, 7, dtype=torch.int64),
        torch.ones(1, 7, LONGEST_TEXT, dtype=torch.int64),
    )
    n, t = torch.export.Dim("n", min=1), torch.export.Dim("t", min=1)
    names = ["features", "places", "words", "letters"]
    return inputs, names, ({1: n}, {1: n}, {1: t}, {1: t})


def _export(
    net: nn.Module,
    inputs: tuple[Tensor, ...],
    names: Sequence[str],
    outputs: Sequence[str],
    dims: tuple[dict[int, Any], ...],
    path: Path,
    bits: int = 16,
    folds: bool = True,
) -> None:
    import onnx

    # It warns of operations of torchvision, which are not used.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = Path(folder) / "plain.onnx"
        program = torch.onnx.export(
            net.eval(),
            inputs,
            dynamo=True,
            opset_version=18,
            input_names=list(names),
            output_names=list(outputs),
            dynamic_shapes=dims,
            external_data=False,
            verbose=False,
            optimize=folds,
        )
        assert program is not None
        if folds:
            program.optimize()
        program.save(str(plain), external_data=False)
        model = onnx.load(str(plain))
    _finish(model, bits, path)


def _finish(model: Any, bits: int, path: Path) -> None:
    import onnx

    if bits < 32:
        _shrink(model, bits)
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:]
    onnx.save(model, str(path))


def _shrink(model: Any, bits: int) -> None:
    """Stores large weights in 16 or 8 bits; the graph widens them again when it is loaded.

    With 8 bits every row along the longer of the two last axes has a scale of its own.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    fresh = []
    for weight in list(graph.initializer):
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.size < _LARGE:
            continue
        name = weight.name
        graph.initializer.remove(weight)
        if bits == 16 or values.ndim < 2:
            small = numpy_helper.from_array(values.astype(np.float16), f"{name}_16")
            graph.initializer.append(small)
            fresh.append(helper.make_node("Cast", [small.name], [name], to=TensorProto.FLOAT))
            continue
        axis = values.ndim - 1 if values.shape[-1] >= values.shape[-2] else values.ndim - 2
        over = tuple(one for one in range(values.ndim) if one != axis)
        scale = np.maximum(np.abs(values).max(over, keepdims=True), 1e-8) / 127
        whole = np.round(values / scale).astype(np.int8)
        graph.initializer.append(numpy_helper.from_array(whole, f"{name}_8"))
        graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}_s"))
        wide = f"{name}_wide"
        fresh.append(helper.make_node("Cast", [f"{name}_8"], [wide], to=TensorProto.FLOAT))
        fresh.append(helper.make_node("Mul", [wide, f"{name}_s"], [name]))
    for node in reversed(fresh):
        graph.node.insert(0, node)


def write_table(folder: Path, words: Sequence[str], offsets: dict[str, float]) -> None:
    """Writes `grounder.json`: vocabulary, names of what is read, and a digest of the nets.

    Args:
        folder: Where the ONNX files are.
        words: In the order of their numbers.
        offsets: Added to the logit of none, for each model's name.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.onnx")):
        digest.update(path.read_bytes())
    table = {"weights": digest.hexdigest()[:16], "offsets": offsets, **labels.tables()}
    table["words"] = list(words)
    (folder / "grounder.json").write_text(json.dumps(table, indent=0) + "\n", encoding="utf-8")
