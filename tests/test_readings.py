"""Coordinate formats told from numbers alone, and calibrations: found, doubted, kept, used."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

import perfect
from groundingme import calibration, evaluate, readings
from groundingme import score as rescore
from groundingme.asking import resolve
from groundingme.calibration import calibrate, questions
from groundingme.cli import main
from groundingme.datasets import Dataset
from groundingme.errors import FatalError, UsageError
from groundingme.geometry import COORD_FORMATS
from groundingme.models import Request, load_model
from groundingme.models.mock import Mock
from groundingme.progress import Silent
from groundingme.protocols import score
from groundingme.readings import Calibration, choose, find_calibration, keep, spread_hint
from groundingme.schema import Generation, Sample
from perfect import PerfectServer

FORMATS = [name for name, form in COORD_FORMATS.items() if not form.bins]
PHOTOS = ((2250, 1500), (1500, 2250), (2000, 1500))
LARGE = ((7680, 4320),)
SMALL = ((640, 480), (480, 640))
MIDDLE = ((1250, 1000), (1024, 768), (1000, 1333))
Size = tuple[int, int]


def text_in(space: str, part: Sequence[float], size: Size) -> str:
    """A perfect reply; what Claude sees of a large picture is computed by the package."""
    if space.startswith("abs-claude"):
        resize = COORD_FORMATS[space].resize
        assert resize
        size = resize(*size)
    digits = 3 if space.startswith("n1") and space[2:3] in ("", "-") else 0
    numbers = [round(one, digits) for one in perfect.numbers(space, part, size)]
    if space == "loc1000":
        return "<loc_{:.0f}><loc_{:.0f}><loc_{:.0f}><loc_{:.0f}>".format(*numbers)
    if space == "loc1024":
        return "<loc{:04.0f}><loc{:04.0f}><loc{:04.0f}><loc{:04.0f}>".format(*numbers)
    return json.dumps({"bbox_2d": numbers})


def asked(
    space: str, sizes: Sequence[Size], n: int, seed: int = 0
) -> tuple[list[Sample], dict[str, Generation]]:
    """Samples without targets to look at, anywhere in pictures of these sizes, and replies."""
    dice = np.random.default_rng(seed)
    samples, generations = [], {}
    for number in range(n):
        size = sizes[number % len(sizes)]
        side = dice.uniform(0.02, 0.35, 2)
        corner = dice.random(2) * (1 - side)
        part = [*corner, *(corner + side)]
        samples.append(
            Sample(id=str(number), description="", target=None, width=size[0], height=size[1])
        )
        generations[str(number)] = Generation(id=str(number), text=text_in(space, part, size))
    return samples, generations


def hint(space: str, declared: str, sizes: Sequence[Size], n: int = 40, seed: int = 0) -> str:
    samples, generations = asked(space, sizes, n, seed)
    scores = score(samples, generations, protocol="strict", coords=declared)
    return spread_hint(samples, generations, scores)


@pytest.mark.parametrize("space", COORD_FORMATS)
def test_the_right_format_is_never_suspected(space: str) -> None:
    for sizes, seed in itertools.product((PHOTOS, LARGE, SMALL, MIDDLE), range(10)):
        assert hint(space, space, sizes, seed=seed) == ""


@pytest.mark.parametrize(
    ("space", "declared", "sizes"),
    [
        ("n1000", "abs", PHOTOS),
        ("n1000", "abs", SMALL),
        ("n1000", "abs", LARGE),
        ("n1", "abs", SMALL),
        ("n1", "n1000", PHOTOS),
        ("n1000", "n1", PHOTOS),
        ("abs", "n1000", PHOTOS),
        ("abs", "n1000-yxyx", LARGE),
        ("abs", "n1000", SMALL),
        ("abs-qwen2.5-vl", "abs", LARGE),
        ("abs-mimo-vl", "abs", LARGE),
        ("abs-claude", "n1000", LARGE),
    ],
)
def test_numbers_that_look_like_another_format(
    space: str, declared: str, sizes: Sequence[Size]
) -> None:
    for seed in range(5):
        line = hint(space, declared, sizes, seed=seed)
        assert line.endswith(f"--coords {space}"), line
        assert f"({declared}): find out with groundingme calibrate" in line
        assert "\n" not in line


def test_too_few_boxes_or_no_sizes_are_no_ground_for_a_suspicion() -> None:
    assert hint("n1000", "abs", PHOTOS, n=19) == ""
    assert hint("n1000", "abs", PHOTOS, n=20) != ""
    assert hint("n1000", "abs", ((0, 0),)) == ""


def test_a_run_says_so_though_no_target_can_be_looked_at(tmp_path: Path) -> None:
    data = perfect.questions({(1800, 1200): [None] * 25})

    def script(request: Request) -> str:
        dice = np.random.default_rng(int(request.id.rpartition("-")[2]))
        x, y = dice.uniform(0, 800, 2)
        return json.dumps({"bbox_2d": [round(x), round(y), round(x + 190), round(y + 190)]})

    result = evaluate(Mock("a", script=script), data, out=tmp_path)
    assert any("look like 0-1000 (n1000), the declared format is pixels" in n for n in result.notes)
    assert any("look like 0-1000" in line for line in repr(result).splitlines())


class Notes(Silent):
    """Keeps what it is told, and after how many replies."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []
        self.heard = 0

    def note(self, line: str) -> None:
        self.told.append((self.heard, line))

    def update(self, generation: Generation) -> None:
        self.heard += 1


def test_the_suspicion_comes_once_while_the_run_goes(tmp_path: Path) -> None:
    data = perfect.questions({(1800, 1200): [None] * 150})

    def script(request: Request) -> str:
        dice = np.random.default_rng(int(request.id.rpartition("-")[2]))
        x, y = dice.uniform(0, 800, 2)
        return json.dumps({"bbox_2d": [round(x), round(y), round(x + 190), round(y + 190)]})

    notes = Notes()
    result = evaluate(Mock("a", script=script), data, out=tmp_path, progress=notes)
    ((heard, line),) = notes.told
    assert heard == 30
    assert "look like 0-1000 (n1000), the declared format is pixels" in line
    assert line in result.notes
    quiet = Notes()
    evaluate(Mock("a", script=script), data, out=tmp_path, coords="n1000", progress=quiet)
    fresh = Notes()
    evaluate(Mock("b", script=script), data, out=tmp_path, coords="n1000", progress=fresh)
    assert (quiet.told, fresh.told) == ([], [])


def test_the_spread_is_looked_at_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, generations = asked("n1000", PHOTOS, 1000)
    looks: list[int] = []
    monkeypatch.setattr(readings, "spread_hint", lambda seen, *more: looks.append(len(seen)) or "")
    watch = readings.SpreadWatch(samples, (), "abs")
    for number, one in enumerate(generations.values()):
        watch.add(one)
        watch.add(Generation(id=f"failed {number}", failure="timeout"))
    assert looks == [30, 60, 120, 240, 480, 960]
    resumed = readings.SpreadWatch(samples, list(generations.values())[:500], "abs")
    looks.clear()
    for one in list(generations.values())[500:]:
        resumed.add(one)
    assert looks == [501]


@pytest.fixture(scope="module")
def easy() -> tuple[Sample, ...]:
    return questions()


def replies(
    samples: Sequence[Sample], space: str, off: float = 0.0, seed: int = 0
) -> dict[str, Generation]:
    """What a model says that is off by some share of the picture's sides."""
    dice = np.random.default_rng(seed)
    made = {}
    for one in samples:
        assert one.target
        sides = (one.width, one.height) * 2
        part = np.array(one.target) / sides + dice.normal(0, 1, 4) * off
        text = text_in(space, part.clip(0, 1).tolist(), (one.width, one.height))
        made[one.id] = Generation(id=one.id, text=text)
    return made


def chosen(
    samples: Sequence[Sample], generations: dict[str, Generation], expected: str = ""
) -> Calibration:
    found = choose(samples, generations, model="m", prompt="unified", digest="d", expected=expected)
    assert found
    return found


def test_the_questions_are_easy_and_off_the_diagonal(easy: tuple[Sample, ...]) -> None:
    assert len(easy) == len({one.id for one in easy}) == 30
    assert len({(one.width, one.height) for one in easy}) == 6
    for one in easy:
        assert one.target
        x1, y1, x2, y2 = one.target
        assert (x2 - x1) * (y2 - y1) >= 0.03 * one.width * one.height
        assert abs((x1 + x2) / one.width - (y1 + y2) / one.height) >= 0.16
    least = min(easy, key=lambda one: one.width)
    assert least.image
    assert least.image.read()[:2] == b"\xff\xd8"


@pytest.mark.parametrize("space", COORD_FORMATS)
def test_a_perfect_model_s_format_is_found(space: str, easy: tuple[Sample, ...]) -> None:
    found = chosen(easy, replies(easy, space))
    assert found.coords == space
    assert (found.doubt, found.boxes, found.asked) == ("", 30, 30)
    assert found.fits[0].coords == space
    assert found.fits[0].iou > 0.96
    assert 0 < found.low < found.margin < found.high
    assert set(found.alike) <= {"n999", "n1000", "n1000-yxyx", "n1", "loc1000"}


@pytest.mark.parametrize("space", ["abs", "n1000", "n1000-yxyx", "n1", "abs-claude"])
def test_a_sloppy_model_s_format_is_found(space: str, easy: tuple[Sample, ...]) -> None:
    for seed in range(5):
        found = chosen(easy, replies(easy, space, off=0.03, seed=seed))
        assert space in (found.coords, *found.alike)
        assert found.coords == space
        assert 0.5 < found.fits[0].iou < 0.95


def test_of_formats_alike_the_expected_one_is_taken(easy: tuple[Sample, ...]) -> None:
    sloppy = replies(easy, "n1000", off=0.03)
    assert chosen(easy, sloppy, expected="n999").coords == "n999"
    assert "n1000" in chosen(easy, sloppy, expected="n999").alike
    assert chosen(easy, sloppy, expected="abs").coords in ("n1000", "n999")
    # A perfect model's last thousandth is seen, whatever was expected.
    assert chosen(easy, replies(easy, "n1000"), expected="n999").coords == "n1000"


def test_a_format_that_is_better_by_rounding_alone_does_not_oust_the_expected_one(
    easy: tuple[Sample, ...],
) -> None:
    """What is resized before it is sent has the same pixels in Claude's format and in `abs`."""
    made = {}
    for id, one in replies(easy, "abs-claude").items():
        sample = next(sample for sample in easy if sample.id == id)
        resize = COORD_FORMATS["abs-claude"].resize
        assert resize
        w, h = resize(sample.width, sample.height)
        made[id] = msgspec.structs.replace(
            one, sent_width=w, sent_height=h, full_width=sample.width, full_height=sample.height
        )
    assert chosen(easy, made, expected="abs-claude").coords == "abs-claude"
    assert chosen(easy, made).coords == "abs"


def test_doubts(easy: tuple[Sample, ...]) -> None:
    few = chosen(easy, replies(easy[:9], "n1000"))
    assert few.doubt == "only 9 of 30 replies were boxes"
    corner = {one.id: Generation(id=one.id, text="[[0, 0, 9, 4]]") for one in easy}
    assert chosen(easy, corner).doubt.startswith("no format fits: ")
    torn = replies(easy[::2], "abs") | replies(easy[1::2], "n1000")
    assert chosen(easy, torn).doubt.startswith("the margin is small: ")
    assert choose(easy, {}, model="m", prompt="p", digest="d") is None


def found_for(
    model: str, coords: str, template: str = "t", server: str = "", **settings: Any
) -> Calibration:
    return Calibration(
        model=model,
        prompt="custom",
        digest=readings.digest_of(template, settings),
        server=server,
        coords=coords,
        fits=[readings.Fit(coords=coords, iou=0.9, acc50=1.0)],
        alike=[],
        margin=0.4,
        low=0.3,
        high=0.5,
        asked=30,
        boxes=30,
        created="2026-01-02T03:04:05+00:00",
    )


def test_calibrations_are_kept_by_model_question_and_server(own_configuration: Path) -> None:
    digest = readings.digest_of("t", {})
    assert find_calibration("openai/m", digest, "") is None
    path = keep(found_for("openai/m", "n1"))
    assert path == own_configuration / "calibration.json"
    keep(found_for("openai/m", "abs", "other {description}"))
    keep(found_for("openai/n", "n999"))
    keep(found_for("openai/m", "n1000"))
    found = find_calibration("openai/m", digest, "")
    assert found
    assert found.coords == "n1000"
    assert len(readings.calibrations()) == 3
    assert sorted(file.name for file in own_configuration.iterdir()) == ["calibration.json"]
    assert find_calibration("openai/m", digest, "http://there/v1") is None
    keep(found_for("openai/m", "n1000", server="http://there/v1"))
    assert find_calibration("openai/m", digest, None) is not None
    keep(found_for("openai/m", "abs", server="http://there/v1"))
    assert find_calibration("openai/m", digest, None) is None, "servers do not agree"
    there = find_calibration("openai/m", digest, "http://there/v1")
    assert there
    assert there.coords == "abs"


def test_a_digest_is_of_what_changes_coordinates() -> None:
    plain = readings.digest_of(
        "t", {"temperature": 0.0, "max_tokens": 5, "image": {"a": 1, "b": 2}}
    )
    same = {"image": {"b": 2, "a": 1}, "temperature": None, "samples": 8, "jpeg_quality": 75}
    assert readings.digest_of("t", same) == plain
    for other in ({"thinking": "on"}, {"system": "x"}, {"image": {"a": 1}}, {"weights": "w"}):
        assert readings.digest_of("t", {**same, **other}) != plain
    assert readings.digest_of("t /no_think", same) != plain


def test_a_calibration_goes_before_the_family_and_after_what_is_given() -> None:
    url = "http://127.0.0.1:1/v1"
    model = load_model("openai/Qwen3-VL-8B-Instruct", base_url=url)
    template = "the {description}"
    keep(found_for(model.name, "n1-yxyx", template, url))
    how = resolve(model, prompt=template)
    assert (how.coords, how.source, how.warning) == ("n1-yxyx", "calibration", "")
    assert how.why.startswith("calibrated on 2026-01-02: mean IoU 0.90 over 30 boxes, 0.40 more")
    assert resolve(model, prompt=template, coords="abs").coords == "abs"
    assert resolve(model).coords == "n1000"
    doubtful = msgspec.structs.replace(found_for(model.name, "n1", template, url), low=-0.1)
    keep(doubtful)
    assert "in doubt: the margin is small" in resolve(model, prompt=template).warning


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"base_url": "http://127.0.0.1:2/v1"}, {}),
        ({"extra_body": {"mm_processor_kwargs": {"max_pixels": 1}}}, {}),
        ({}, {"prompt": "other {description}"}),
        ({}, {"thinking": "off"}),
        ({}, {"thinking": "on"}),
    ],
)
def test_a_calibration_does_not_leak(options: dict[str, Any], asked: dict[str, Any]) -> None:
    url = "http://127.0.0.1:1/v1"
    same = {"prompt": "the {description}"}
    model = load_model("openai/kimi-k2.5", base_url=url)
    keep(found_for(model.name, "n1", same["prompt"], url))
    assert resolve(model, **same).coords == "n1"
    other = load_model("openai/kimi-k2.5", **{"base_url": url, **options})
    how = resolve(other, **{**same, **asked})
    assert (how.coords, how.source) == ("abs", "default")
    assert "was asked otherwise, or at another server" in how.warning
    assert "otherwise" not in resolve(load_model("openai/kimi-k2.6", base_url=url)).warning


def test_a_damaged_or_locked_configuration_is_said_so(
    own_configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own_configuration / "calibration.json"
    path.write_text('[{"model": ')
    with pytest.raises(UsageError, match=r"calibration\.json, got: .*; mend the file"):
        find_calibration("m", "t", "")
    path.unlink()
    monkeypatch.setenv("GROUNDINGME_CONFIG", str(Path(__file__) / "folder"))
    with pytest.raises(UsageError, match="set GROUNDINGME_CONFIG to another"):
        keep(found_for("m", "n1"))


@pytest.fixture(scope="module")
def server() -> Iterator[PerfectServer]:
    with PerfectServer() as running:
        yield running


@pytest.fixture
def plain(
    easy: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch
) -> tuple[tuple[Sample, ...], list[Size]]:
    """The questions about one small plain picture, so that nothing needs to be drawn."""
    image = perfect.BytesImage("plain.jpg", perfect.picture((640, 480)))
    asked = tuple(
        msgspec.structs.replace(one, image=image, description=f"{one.description} ({one.id})")
        for one in easy
    )
    monkeypatch.setattr(calibration, "questions", lambda: asked)
    return asked, [(one.width, one.height) for one in asked]


def json_in(space: str) -> perfect.Says:
    digits = 4 if space == "n1" else 0
    return lambda numbers: json.dumps(
        {"bbox_2d": numbers and [round(one, digits) for one in numbers]}
    )


def command(*args: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["calibrate", *args])
    return done.exit_code, done.stdout, done.stderr


def test_the_command(
    server: PerfectServer, plain: tuple[tuple[Sample, ...], list[Size]], own_configuration: Path
) -> None:
    server.speak(*plain, "n1", json_in("n1"))
    code, out, err = command("openai/m", "--base-url", server.base_url, "--quiet", "--no-save")
    assert (code, err) == (0, "")
    assert "openai/m writes n1" in out
    assert out.index(" n1 ") < out.index(" abs ")
    assert not list(own_configuration.iterdir())
    code, out, err = command("openai/m", "--base-url", server.base_url, "--quiet")
    assert code == 0
    assert f"Kept in {own_configuration / 'calibration.json'}" in err
    code, out, err = command("openai/m", "--base-url", server.base_url, "--quiet", "--json")
    found = json.loads(out)
    assert (found["coords"], found["asked"], found["warnings"]) == ("n1", 30, [])
    assert len(found["fits"]) == len(FORMATS)
    assert len(readings.calibrations()) == 1
    shown = CliRunner().invoke(main, ["models", "show", "openai/m"]).stdout
    assert "n1: calibrated on " in shown


def test_what_fits_nothing_is_not_kept(
    server: PerfectServer, plain: tuple[tuple[Sample, ...], list[Size]], own_configuration: Path
) -> None:
    server.speak(*plain, "n1", lambda numbers: '{"bbox_2d": [0, 0, 3, 3]}')
    code, out, err = command("openai/m", "--base-url", server.base_url, "--quiet", "--json")
    found = json.loads(out)
    assert (code, found["kept"]) == (0, None)
    assert found["warnings"][0].startswith("no format fits")
    _, _, err = command("openai/m", "--base-url", server.base_url, "--quiet")
    assert "Nothing is kept" in err
    assert not list(own_configuration.iterdir())


def test_the_command_says_where_the_table_says_something_else(
    server: PerfectServer, plain: tuple[tuple[Sample, ...], list[Size]]
) -> None:
    server.speak(*plain, "n1", json_in("n1"))
    name = "openai/Qwen/Qwen3-VL-8B-Instruct"
    code, _, err = command(name, "--base-url", server.base_url, "--quiet")
    assert code == 0
    assert "Warning: the table of families says n1000 for Qwen3-VL" in err


def test_no_box_at_all(
    server: PerfectServer, plain: tuple[tuple[Sample, ...], list[Size]], own_configuration: Path
) -> None:
    server.speak(*plain, "n1", lambda numbers: "I see a cup.")
    code, out, err = command("openai/m", "--base-url", server.base_url, "--quiet")
    assert (code, out) == (1, "")
    assert err == (
        "groundingme: expected boxes in 30 replies, got none: replies such as 'I see a cup.'\n"
    )
    assert not list(own_configuration.iterdir())
    server.speak([], [], "n1", json_in("n1"))
    with pytest.raises(FatalError, match=r"first 10 samples all failed, .* answered 400"):
        calibrate("openai/m", base_url=server.base_url)


def test_a_run_is_scored_as_calibrated_afterwards(
    server: PerfectServer, plain: tuple[tuple[Sample, ...], list[Size]], tmp_path: Path
) -> None:
    """A run first, then a calibration, then `score --coords auto`: nothing is asked again."""
    server.speak(*plain, "n1", json_in("n1"))
    data = Dataset(name="d", source="here", samples=list(plain[0]))
    name, url = "openai/kimi-vl-thinking", server.base_url
    run = evaluate(name, data, base_url=url, out=tmp_path, thinking="on")
    assert run.path
    assert run.accuracy == 0.0

    def again(*options: str) -> tuple[dict[str, Any], int]:
        done = CliRunner().invoke(main, ["score", str(run.path), "--json", *options])
        return json.loads(done.stdout), done.exit_code

    before, _ = again("--coords", "auto")
    assert before["coords"] == "abs"
    assert any("groundingme calibrate openai/kimi-vl-thinking" in one for one in before["notes"])
    calibrate(name, base_url=url)
    assert again("--coords", "auto")[0]["coords"] == "abs", "it thought otherwise"
    calibrate(name, base_url=url, thinking="on")
    asked = len(server.bodies)
    after, code = again("--coords", "auto")
    assert (after["coords"], after["ACC@0.5"], code) == ("n1", 1.0, 0)
    assert any("is read as n1: calibrated on" in one for one in after["notes"])
    assert again()[0]["coords"] == "abs"
    assert len(server.bodies) == asked


@pytest.mark.parametrize(
    ("served", "prompt", "coords"),
    [
        ("Qwen/Qwen3-VL-8B-Instruct", "auto", "n1000"),
        ("gpt-5.4", "native", "n999"),
        ("gpt-5.4", "auto", "abs"),
        ("XiaomiMiMo/MiMo-VL-7B-RL", "native", "abs-mimo-vl"),
    ],
)
def test_a_run_is_scored_as_its_family_writes(
    served: str, prompt: str, coords: str, server: PerfectServer, tmp_path: Path
) -> None:
    data = perfect.questions({(640, 480): [(37, 41, 120, 133)]})
    server.speak(data.samples, [(640, 480)], "abs", json_in("abs"))
    run = evaluate(
        f"openai/{served}", data, base_url=server.base_url, out=tmp_path, coords="n1",
        prompt=prompt, thinking="off" if "MiMo" in served else None,
    )  # fmt: skip
    assert run.path
    assert rescore(run.path, coords="auto").run.coords == coords
    with pytest.raises(UsageError, match="does not say whose"):
        rescore(run.path / "generations.jsonl", data, coords="auto")
