"""The recipe of the built-in grounder: its pieces against plain arithmetic, and some steps."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from groundingme.datasets.scenes.render import draw  # noqa: E402
from groundingme.datasets.scenes.scene import Scene, Stage, Thing  # noqa: E402
from groundingme.models.builtin import seeing  # noqa: E402
from groundingme.models.builtin.nets import Nets, Seen  # noqa: E402
from groundingme.models.builtin.words import encode, spell  # noqa: E402
from groundingme.train.grounder import (  # noqa: E402
    data,
    export,
    labels,
    look_training,
    loop,
    match_training,
    questions,
    read_training,
    scoring,
    stages,
)
from groundingme.train.grounder.match import Match  # noqa: E402
from groundingme.train.grounder.nets import Features, Look, Read, Spell  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn scenes and their questions on disk."""
    folder = tmp_path_factory.mktemp("drawn")
    data.make_pictures(folder, "train", 0, 6)
    questions.make_questions(folder, "train", 0, 6, 6)
    return folder


def falls(net: torch.nn.Module, step: loop.Step, steps: int) -> tuple[float, float]:
    """Mean loss of the first and last quarter of some steps."""
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3)
    losses = []
    for _ in range(steps):
        loss, _ = step()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    quarter = steps // 4
    return float(np.mean(losses[:quarter])), float(np.mean(losses[-quarter:]))


def test_look_learns(drawn: Path) -> None:
    torch.manual_seed(0)
    net = Look()
    first, last = falls(net, look_training.step(net, drawn, "cpu", 0, size=3), 28)
    assert last < 0.75 * first


def test_read_learns(drawn: Path) -> None:
    torch.manual_seed(0)
    net = Read()
    first, last = falls(net, read_training.step(net, drawn, "cpu", 0, size=24), 24)
    assert last < 0.85 * first


def test_spell_learns(drawn: Path) -> None:
    torch.manual_seed(0)
    net = Spell()
    first, last = falls(net, read_training.spell_step(net, drawn, "cpu", 0, size=12), 80)
    assert last < 0.4 * first


def test_match_learns(drawn: Path) -> None:
    torch.manual_seed(0)
    pages = questions.load_questions(drawn, "train")
    words = questions.vocabulary(pages)
    desk = match_training.Desk(
        pages, None, {word: number for number, word in enumerate(words)}, 0.3, 0
    )
    net = Match(len(words), width=32, rounds=2, heads=4, inner=32)
    first, last = falls(net, match_training.step(net, [desk], "cpu", size=16), 60)
    assert last < 0.8 * first


def test_positive_only_never_sees_a_rejection(drawn: Path) -> None:
    pages = questions.load_questions(drawn, "train")
    words = {word: number for number, word in enumerate(questions.vocabulary(pages))}
    with_none = [match_training.Desk(pages, None, words, share, 0) for share in (0.5, 0.0)]
    counts = []
    for desk in with_none:
        batch = desk.draw(64)
        number = batch["features"].shape[1]
        counts.append(int((batch["target"] == number).sum()))
    assert counts[0] > 0
    assert counts[1] == 0
    rejected = sum(one.target < 0 for page in pages for one in page.exercises)
    assert rejected > 0
    assert len(with_none[0]) - len(with_none[1]) == rejected


def test_training_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    def fresh() -> tuple[torch.nn.Module, loop.Step]:
        torch.manual_seed(0)
        net = torch.nn.Linear(4, 1)

        def step() -> tuple[torch.Tensor, dict[str, float]]:
            x = torch.ones(2, 4)
            return ((net(x) - 3) ** 2).mean(), {}

        return net, step

    net, step = fresh()
    path = tmp_path / "net.pt"
    count = 0

    def stopping() -> tuple[torch.Tensor, dict[str, float]]:
        nonlocal count
        count += 1
        if count == 400:
            raise KeyboardInterrupt
        return step()

    with pytest.raises(KeyboardInterrupt):
        loop.train(net, stopping, path, seconds=30, say=lambda text: None, keep=0.0)
    kept = torch.load(path.with_suffix(".part"))
    assert kept["steps"] == 399
    again, step = fresh()
    loop.train(again, step, path, seconds=kept["seconds"] + 0.05, say=lambda text: None)
    assert not path.with_suffix(".part").exists()
    assert float(step()[0].detach()) < 0.5
    curve = path.with_suffix(".curve.jsonl").read_text(encoding="utf-8")
    steps = [json.loads(line)["step"] for line in curve.splitlines()]
    assert steps == sorted(steps)
    assert steps[-1] >= 400


def test_heat_is_one_at_each_centre_and_open_boxes_do_not_count() -> None:
    boxes = torch.tensor(
        [[[10.0, 10, 30, 50, 1], [60, 60, 66, 66, 1], [100, 100, 120, 120, 0], [0, 0, 0, 0, -1]]]
    )
    target, which = look_training.heat(boxes, 40, 40)
    assert sorted(map(tuple, torch.nonzero(target[0] == 1).tolist())) == [(7, 5), (15, 15)]
    assert which[0, 7, 5] == 0
    assert which[0, 15, 15] == 1
    assert target[0, 27, 27] < 0.01
    count = look_training.closed(boxes, 40, 40)
    assert count[0, 27, 27] == 0
    assert count[0, 7, 5] == 1


def thing(**values: object) -> Thing:
    plain = {"kind": "mug", "color": "red", "box": (10.0, 20.0, 60.0, 80.0)}
    return Thing(**{**plain, **values})  # type: ignore[arg-type]


def test_targets_say_what_a_thing_is() -> None:
    row = labels.target(thing(parts=("handle",), text="B"))
    number = {name: int(row[column]) for name, column in labels.TARGETS.items()}
    assert labels.KIND_NAMES[number["kind"]] == "mug"
    assert labels.COLOR_NAMES[number["color"]] == "red"
    assert number["axis"] == number["state"] == -1
    assert row[labels.LETTER_COLUMNS].tolist() == spell("B").tolist() == [12, 0, 0, 0, 0]
    parts = dict(zip(labels.PART_NAMES, row[labels.PART_COLUMNS].tolist(), strict=True))
    assert parts.pop("handle") == 1
    assert set(parts.values()) == {-1}
    lit = labels.target(thing(kind="lamp", state="unlit"))
    assert labels.AXIS_NAMES[lit[labels.TARGETS["axis"]]] == "light"
    assert lit[labels.TARGETS["state"]] == 1


def test_features_of_certain_numbers_are_the_targets() -> None:
    row = labels.target(thing(parts=("handle",), text="B")).astype(int)
    raw = torch.full((1, labels.RAW_SIZE), -20.0)
    raw[0, labels.RAW["thing"]] = 20
    for name in ("kind", "color", "surface", "count"):
        raw[0, labels.RAW[name].start + row[labels.TARGETS[name]]] = 20
    raw[0, labels.RAW["parts"].start + labels.PART_NAMES.index("handle")] = 20
    raw[0, labels.RAW["written"]] = 20
    found = Features()(raw)[0]
    assert found.shape == (labels.FEATURES["text"].start,)
    on = {name: found[part] for name, part in labels.FEATURES.items()}
    assert on["written"].item() > 0.99
    assert on["kind"].argmax() == labels.KIND_NAMES.index("mug")
    assert on["present"].sum().item() == pytest.approx(1, abs=1e-3)
    assert on["absent"].sum().item() == pytest.approx(0, abs=1e-3)
    assert on["first"].sum().item() == pytest.approx(0, abs=1e-3)


def test_simulated_readings_are_mostly_right() -> None:
    scene = Scene(
        width=200,
        height=100,
        stage=Stage(name="table"),
        things=(thing(), thing(color="blue", box=(100.0, 20.0, 150.0, 80.0))),
    )
    page = questions.Page(0, scene, [])
    rng = np.random.default_rng(0)
    right = total = 0
    for _ in range(200):
        seen = match_training.simulated(page, rng)
        colors = seen.features[:, labels.FEATURES["color"]].argmax(1)
        for which, color in zip(seen.thing.tolist(), colors.tolist(), strict=True):
            right += labels.COLOR_NAMES[color] == scene.things[which].color
            total += 1
    assert 0.9 < right / total < 1.0
    assert total < 400, "now and then a thing is missed"


def test_boxes_are_assigned_once_and_best_first() -> None:
    truth = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    boxes = np.array([[0.0, 0, 10, 8], [0, 0, 10, 9.5], [21, 0, 31, 10], [50, 50, 60, 60]])
    assert stages.assigned(boxes, truth).tolist() == [-1, 0, 1, -1]
    assert stages.assigned(boxes, np.zeros((0, 4))).tolist() == [-1] * 4
    assert stages.assigned(np.zeros((0, 4)), truth).tolist() == []


def test_an_offset_moves_answers_to_none() -> None:
    rows = [
        scoring.Answered("Discriminative", "Text", [2.0, 0.0, 1.0], [0.9, 0.0], True),
        scoring.Answered("Discriminative", "Text", [2.0, 0.0, 1.0], [0.4, 0.0], False),
        scoring.Answered("Rejection", "Text", [2.0, 0.0, 1.5], [], False),
    ]
    assert [one.right(0.0) for one in rows] == [True, False, False]
    assert [one.right(0.75) for one in rows] == [True, False, True]
    assert [one.right(2.0) for one in rows] == [False, False, True]
    assert scoring.best_offset(rows) == 0.75
    figures = scoring.summary(rows, 0.75)
    assert (figures["positives"], figures["rejection"], figures["seen"]) == (50.0, 100.0, 50.0)


@pytest.mark.slow
def test_onnx_files_answer_as_torch_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    look, read, spell, match = Look().eval(), Read().eval(), Spell().eval(), Match(20).eval()
    export.export_look(look, tmp_path / "look.onnx")
    export.export_read(read, tmp_path / "read.onnx")
    export.export_spell(spell, tmp_path / "spell.onnx")
    export.export_match(match, tmp_path / "match.onnx")
    words = ["<pad>", "<unk>", "<quote>", "the", "red", "mug"]
    export.write_table(tmp_path, words, {"match": 0.5})
    nets = Nets(tmp_path)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        sheet = rng.integers(0, 256, (1, 96, 64, 3), np.uint8)
        centres, sides = nets._run("look", {"picture": sheet})
        logits, wanted = look(torch.from_numpy(sheet))
        assert np.abs(centres - logits.sigmoid().numpy()).max() < 2e-3
        assert np.abs(sides - wanted.numpy()).max() < 2e-2
        crops = rng.integers(0, 256, (5, seeing.CROP, seeing.CROP, 3), np.uint8)
        features, edges = nets._run("read", {"crops": crops})
        raw, wanted = read(torch.from_numpy(crops))
        assert np.abs(features - Features()(raw).numpy()).max() < 5e-3
        assert np.abs(edges - wanted.numpy()).max() < 5e-3
        lines = rng.integers(0, 256, (5, *seeing.LINE, 3), np.uint8)
        text = nets._run("spell", {"lines": lines})[0]
        exact = spell(torch.from_numpy(lines)).softmax(2).flatten(1).numpy()
        assert np.abs(text - exact).max() < 5e-3
        boxes = rng.uniform(0, 50, (5, 4))
        boxes[:, 2:] += 60
        features = np.concatenate([features, text], 1)
        assert features.shape[1] == labels.FEATURE_SIZE
        seen = Seen(boxes, features, seeing.places(boxes, 200, 150))
        scores = nets.match("match", seen, 'the red mug "A"')
        numbers, letters = encode('the red mug "A"', {word: i for i, word in enumerate(words)})
        tensors = [torch.from_numpy(array[None]) for array in (features, seen.places)]
        tensors += [torch.ones(1, 5)]
        tensors += [torch.from_numpy(array[None]) for array in (numbers, letters)]
        wanted_scores = match(*tensors)[0][0].numpy()
        wanted_scores[-1] += 0.5
        assert np.abs(scores - wanted_scores).max() < 0.05
    assert sum(path.stat().st_size for path in tmp_path.glob("*.onnx")) < 4_000_000


def test_windows_that_show_things_behind_others_are_found() -> None:
    apart = [[0.0, 0, 10, 10, 1], [20, 0, 30, 10, 1], [0, 0, 0, 0, -1]]
    behind = [[0.0, 0, 10, 10, 1], [8, 0, 30, 10, 1], [0, 0, 0, 0, -1]]
    open_one = [[0.0, 0, 10, 10, 1], [8, 0, 30, 10, 0], [0, 0, 0, 0, -1]]
    boxes = np.array([apart, behind, open_one], np.float32)
    assert look_training.crowded(boxes).tolist() == [False, True, False]


def test_writing_is_found_where_it_stands() -> None:
    for number in range(40):
        scene = data.scene_of("train", number)[0]
        signs = [i for i, one in enumerate(scene.things) if one.kind == "sign" and one.visible == 1]
        if signs:
            break
    found = data.writing(draw(scene), scene)
    assert (found[[i for i, one in enumerate(scene.things) if not one.text]] == -1).all()
    for which in signs:
        x1, y1, x2, y2 = scene.things[which].box
        a, b, c, d = found[which]
        assert x1 <= a < c <= x2
        assert y1 <= b < d <= y2
        assert (c - a) > 0.3 * (x2 - x1)
        assert (d - b) < 0.6 * (y2 - y1), "a sign has a post below its word"


def test_windows_and_crops_show_the_boxes_they_come_with(drawn: Path) -> None:
    shelf = data.Shelf(drawn, ("crops", "crop_thing", "crop_edges"))
    rows = shelf.rows(np.arange(len(shelf)))
    real = rows["crop_thing"] > 0.5
    edges = rows["crop_edges"][real]
    assert real.any()
    assert not real.all()
    assert (edges[:, 2:] > edges[:, :2]).all()
    middle = (edges[:, :2] + edges[:, 2:]) / 2
    assert np.abs(middle - 0.5).mean() < 0.1, "a crop is centred on its thing, but for the jitter"


def test_scenes_of_a_split_are_the_same_every_time() -> None:
    assert data.scene_of("train", 3) == data.scene_of("train", 3)
    assert data.scene_of("train", 3) != data.scene_of("val", 3)
    rng = [random.Random(5) for _ in range(2)]
    scene = data.scene_of("train", 3)[0]
    pictures = [np.asarray(data.picture_of(scene, one)) for one in rng]
    assert (pictures[0] == pictures[1]).all()


@pytest.mark.slow
def test_a_matcher_written_into_a_graph_is_the_one_that_is_exported(tmp_path: Path) -> None:
    shape = {"width": 16, "rounds": 2, "heads": 2, "inner": 16}
    torch.manual_seed(0)
    export.export_match_graph(Match(12, **shape), tmp_path / "graph.onnx")
    net = Match(12, **shape).eval()
    export.fill_match(tmp_path / "graph.onnx", net, tmp_path / "filled.onnx")
    export.export_match(net, tmp_path / "exported.onnx")
    inputs = {
        "features": np.random.default_rng(0).random((1, 5, labels.FEATURE_SIZE), np.float32),
        "places": np.sort(np.random.default_rng(1).random((1, 5, 6), np.float32)),
        "words": np.arange(1, 8)[None],
        "letters": np.zeros((1, 7, 5), np.int64),
    }
    scores = [
        onnxruntime.InferenceSession(tmp_path / f"{name}.onnx").run(None, inputs)[0]
        for name in ("graph", "filled", "exported")
    ]
    with torch.no_grad():
        plain = net(
            *(torch.from_numpy(inputs[one]) for one in ("features", "places")),
            torch.ones(1, 5),
            *(torch.from_numpy(inputs[one]) for one in ("words", "letters")),
        )[0]
    # Weights are stored in 8 bits, and those of the graph's own net are others.
    near = [bool(np.allclose(one, plain.numpy(), atol=0.02)) for one in scores]
    assert near == [False, True, True]
    with pytest.raises(ValueError, match="expected"):
        export.fill_match(tmp_path / "graph.onnx", Match(13, **shape), tmp_path / "x.onnx")


def test_a_batch_by_its_number_is_the_same_whatever_came_before(drawn: Path) -> None:
    pages = questions.load_questions(drawn, "train")
    words = {word: number for number, word in enumerate(questions.vocabulary(pages))}
    desks = [match_training.Desk(pages, None, words, 0.5, 3) for _ in range(2)]
    order = np.random.default_rng(0).permutation(len(desks[0]))
    desks[0].draw(4)
    for given in (None, order):
        batches = [desk.numbered(5, 4, given) for desk in desks]
        desks[0].numbered(2, 4, given)
        for name, array in batches[0].items():
            assert torch.equal(array, batches[1][name])
    seen = [desks[0].numbered(number, 4, order)["words"] for number in range(-(-len(order) // 4))]
    assert sum(len(one) for one in seen) == len(order)
