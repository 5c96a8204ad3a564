"""The study of forgetting: exact lessons, models whose answers are laid out, a real run."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from groundingme.cli import main
from groundingme.datasets import Dataset
from groundingme.errors import MissingDependencyError, UsageError
from groundingme.models.mock import Mock
from groundingme.schema import Sample
from groundingme.studies import STUDIES, forgetting, running
from groundingme.studies.continual import KINDS, REPLAYS, Course, lesson
from groundingme.studies.study import Condition, Setting, Study

BOX = (10.0, 10.0, 50.0, 50.0)


def count(step: int, replay: str, size: int = 96) -> dict[str, int]:
    kinds = [["", "", *KINDS][at % 6] for at in range(600)]
    drawn = [kinds[at] for at in lesson(kinds, step, replay, size, 0).tolist()]
    return {kind: drawn.count(kind) for kind in ("", *KINDS) if kind in drawn}


def test_lessons_have_exact_shares() -> None:
    none, positives, earlier = REPLAYS
    assert count(2, none) == {"Text": 96}
    assert count(2, positives) == {"": 48, "Text": 48}
    assert count(0, earlier) == {"": 48, "Appearance": 48}
    assert count(2, earlier) == {"": 48, "Appearance": 16, "Component": 16, "Text": 16}
    # What does not divide goes to the new kind.
    assert count(3, earlier, 98)["State"] == 13
    kinds = ["", "Appearance", *["Text"] * 5]
    drawn = lesson(kinds, 0, positives, 20, 1)
    assert sorted(np.bincount(drawn, minlength=2)[:2].tolist()) == [10, 10]
    assert (lesson(kinds, 0, positives, 20, 1) == drawn).all()


def asked() -> Dataset:
    rows: list[tuple[str, str]] = [("Discriminative", "State"), ("Spatial", "Counting")]
    rows += [("Rejection", kind) for kind in KINDS]
    samples = [
        Sample(id=f"{at}-{l1}-{l2}", description="a mug", width=100, height=100, subtask_l1=l1,
               subtask_l2=l2, target=None if l1 == "Rejection" else BOX)
        for at in range(10)
        for l1, l2 in rows
    ]  # fmt: skip
    return Dataset(name="laid-out", source="made by the test", samples=samples)


def model(name: str, rejects: Sequence[str], kept: int) -> Mock:
    """Rejects some kinds, and of the positives all but the first ones."""

    def reply(request: Any) -> str:
        at, l1, l2 = request.id.split("-")
        null = l2 in rejects if l1 == "Rejection" else int(at) >= kept
        return json.dumps({"bbox_2d": None if null else BOX})

    made = Mock(name.replace(" ", "-"), script=reply)
    made.needs_image = False
    return made


def test_figures_of_models_whose_answers_are_laid_out(tmp_path: Path) -> None:
    """Without replay positives and old kinds go; with all of it nothing does."""
    none, positives, earlier = REPLAYS

    def plan(setting: Setting) -> list[Condition]:
        models = {forgetting.SHIPPED: model("shipped", KINDS, 10),
                  forgetting.UNTOUCHED: model("untouched", [], 10)}  # fmt: skip
        for step in range(4):
            for replay in REPLAYS:
                known = KINDS[: step + 1] if replay == earlier else KINDS[step : step + 1]
                kept = 8 - 2 * step if replay == none else 10
                name = f"replay of {replay}, step {step + 1}"
                models[name] = model(name, known, kept)
        return [
            Condition(name=name, model=one, dataset=setting.dataset) for name, one in models.items()
        ]

    study = Study(name="laid-out", question="?", needs="", models=(), data=(), plan=plan,
                  reduce=forgetting.reduce)  # fmt: skip
    setting = Setting(models=["builtin/grounder"], datasets=[asked()], folder=tmp_path)
    outcome = running.run(study, setting)
    lost = {replay: span.value for replay, span in outcome.values["lost"].items()}
    assert lost == pytest.approx({none: -0.8, positives: 0.0, earlier: 0.0})
    assert outcome.values["faded"] == {none: 1.0, positives: 1.0, earlier: 0.0}
    after = outcome.values["after"]
    assert after[f"{earlier}, 4"]["rejections"].value == 1.0
    assert after[f"{none}, 1"]["positives"].value == 0.8
    assert after[f"{none}, 4"]["general"].value == pytest.approx(0.2)
    assert after[f"{positives}, 0"]["rejections"].value == 0.0
    assert "-80.0" in outcome.finding
    assert (
        "loses 100.0 points in a later step without its own replay, and 0.0 with it"
        in outcome.finding
    )


def test_it_says_what_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = STUDIES.get("forgetting")
    knobs = {one.name: one.default for one in study.knobs}
    settings = {"datasets": [asked()], "folder": tmp_path, "knobs": knobs}
    with pytest.raises(UsageError, match="groundingme train"):
        running.planned(study, Setting(models=["openai/other"], **settings))
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else real(name)
    )
    with pytest.raises(MissingDependencyError, match="pip install"):
        running.planned(study, Setting(models=["builtin/grounder"], **settings))
    course = Course(out=tmp_path)
    assert course.after("none", -1) == course.start
    assert len({course.after(one, step) for one in REPLAYS for step in range(4)}) == 12


@pytest.mark.slow
def test_a_small_course(tmp_path: Path) -> None:
    for package in ("torch", "onnx", "onnxscript"):
        pytest.importorskip(package)
    command = ["study", "forgetting", "--limit", "24", "--out", str(tmp_path), "--quiet", "--json"]
    for knob in ("batches=10", "size=64", "pages=50", "drawn=50"):
        command += ["--set", knob]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    after = json.loads(result.stdout)["values"]["after"]
    assert len(after) == 3 * 5
    # The untouched model of all three strategies is one.
    assert after["none, 0"] == after["positives, 0"]
    weights = list((tmp_path / "forgetting").rglob("match.onnx"))
    assert len(weights) == 13
    # The first step of both kinds of replay is the same lesson, and gives the same weights.
    assert len({one.read_bytes() for one in weights}) == 12
