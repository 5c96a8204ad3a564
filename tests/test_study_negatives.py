"""The study of negatives on models that see one kind of fact, everything, or nothing."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from tests.perfect import picture, questions

from groundingme.datasets import Dataset
from groundingme.errors import MissingDependencyError, UsageError
from groundingme.images import BytesImage
from groundingme.models import Request, load_model
from groundingme.models.mock import Mock
from groundingme.schema import Sample
from groundingme.studies import STUDIES, running, teaching
from groundingme.studies.designs import changed_words, designs_of
from groundingme.studies.designs import questions as questions_of
from groundingme.studies.study import Condition, Done, Outcome, Setting
from groundingme.studies.taught import RIGHT
from groundingme.train.grounder.questions import page

STUDY = STUDIES.get("negatives")
BOX = json.dumps({"bbox_2d": [10, 10, 60, 60]})
NULL = json.dumps({"bbox_2d": None})


def data(count: int = 16) -> Dataset:
    samples = [
        Sample(
            id=str(number),
            description=f"the red {noun} with a lid that is open",
            target=(10.0, 10.0, 60.0, 60.0),
            width=160 + number,
            height=160,
            image=BytesImage(f"{number}.jpg", picture((160 + number, 160))),
            subtask_l1="Discriminative",
            subtask_l2="State",
            detection_type=noun,
        )
        for number, noun in enumerate(["box", "mug"] * (count // 2))
    ]
    return Dataset(name="things", source="here", samples=samples)


def sees(*facts: str) -> Callable[[Request], str]:
    """A model that rejects where one of these facts is missing from the description."""

    def reply(request: Request) -> str:
        return BOX if all(re.search(rf"\b{fact}\b", request.prompt) for fact in facts) else NULL

    return reply


def study(folder: Path, *scripts: Callable[[Request], str]) -> Outcome:
    knobs = {one.name: one.default for one in STUDY.knobs}
    models = [Mock(f"model-{at}", script=one) for at, one in enumerate(scripts)]
    return running.run(STUDY, Setting(models=models, datasets=[data()], folder=folder, knobs=knobs))


def test_a_model_that_sees_colours_alone_is_found_blind_for_the_rest(tmp_path: Path) -> None:
    outcome = study(tmp_path, sees("red"))
    found = outcome.values["rejected"]["mock/model-0"]
    assert found["rule: appearance"].value == 1.0
    assert found["rule: component"].value == found["rule: state"].value == 0.0
    assert found["other image"].value == 0.0
    assert outcome.values["falsely"]["mock/model-0"].value == 0.0
    assert outcome.values["against_twins"]["mock/model-0"]["rule: appearance"].value == 1.0
    assert "rejects 100.0 % of the negatives 'rule: appearance'" in outcome.finding
    blind = outcome.finding.partition("no sign of having seen the change in")[2]
    assert "'rule: component'" in blind
    assert "'rule: appearance'" not in blind


def test_a_model_that_rejects_everything_has_seen_nothing(tmp_path: Path) -> None:
    outcome = study(tmp_path, lambda request: NULL, sees("red", "with", "open"))
    found = outcome.values["rejected"]["mock/model-0"]
    assert all(one.value == 1.0 for one in found.values())
    twins = outcome.values["against_twins"]
    assert all(one.value == 0.0 for one in twins["mock/model-0"].values())
    assert twins["mock/model-1"]["rule: component"].value == 1.0
    assert twins["mock/model-1"]["rule: state"].value == 1.0
    # Both reject all of those, but only one of them the other pictures.
    assert outcome.values["order"]["other image"][0] == "mock/model-0"


def test_every_negative_is_counted_once(tmp_path: Path) -> None:
    outcome = study(tmp_path, sees("red"))
    counts = outcome.values["counts"]
    assert counts["rule: appearance"] == counts["other image"] == 16
    rows = {row[0]: row[1] for row in outcome.tables[2].rows}
    rules = sum(count for name, count in counts.items() if name.startswith("rule"))
    assert rows["1 word"] + rows.get("2 words", 0) + rows.get("3 words or more", 0) == rules


def test_words_that_changed_are_counted() -> None:
    assert changed_words("the red mug", "the blue mug") == (1, 1 / 3)
    assert changed_words("a mug with a lid", "a mug with no lid") == (1, 1 / 5)
    assert changed_words("a mug", "a mug that is open") == (3, 3 / 5)
    assert changed_words("a mug", "A mug.") == (0, 0.0)


def test_data_without_positives_is_refused(tmp_path: Path) -> None:
    only = Dataset(name="n", source="here", samples=[
        Sample(id="a", description="a cup", target=None, subtask_l1="Rejection")
    ])  # fmt: skip
    knobs = {one.name: one.default for one in STUDY.knobs}
    with pytest.raises(UsageError, match="expected positives"):
        running.planned(
            STUDY,
            Setting(models=[load_model("baseline/null")], datasets=[only], folder=tmp_path,
                    knobs=knobs),
        )  # fmt: skip


def test_data_of_which_nothing_can_be_made_is_refused(tmp_path: Path) -> None:
    made = questions({(160 + at, 40): [(1.0, 1.0, 30.0, 30.0)] for at in range(4)})
    knobs = {one.name: one.default for one in STUDY.knobs}
    with pytest.raises(UsageError, match="expected negatives, got none"):
        running.planned(
            STUDY,
            Setting(models=[load_model("baseline/null")], datasets=[made], folder=tmp_path,
                    knobs=knobs),
        )  # fmt: skip


# ---- what negatives teach

OWN = list(teaching.OF_KIND)


def with_rejections() -> Dataset:
    found = data(16)
    more = [
        msgspec.structs.replace(found[at], id=f"own {kind.lower()}-{at}", target=None,
                                subtask_l1="Rejection", subtask_l2=kind)
        for kind in teaching.KINDS for at in range(4)
    ]  # fmt: skip
    return Dataset(name="things", source="here", samples=[*found.samples, *more])


def learner(lesson: str, seed: int) -> Mock:
    """Rejects what it was taught; the second training on appearance came to nothing."""

    def reply(request: Request) -> str:
        taught = {
            teaching.ALL: request.id.startswith("own"),
            teaching.BY_RULES: "~" in request.id and "elsewhere" not in request.id,
            teaching.OTHER: "elsewhere" in request.id,
        }.get(lesson, request.id.startswith(lesson.replace(":", "")))
        return NULL if taught and (lesson, seed) != ("own: appearance", 1) else BOX

    return Mock(f"{lesson}-{seed}".replace(" ", "-"), script=reply)


def after_lessons(dataset: Dataset, folder: Path) -> Outcome:
    knobs = {one.name: one.default for one in STUDY.knobs}
    plain = Mock("plain", script=sees("red"))
    setting = Setting(models=[plain], datasets=[dataset], folder=folder, knobs=knobs)
    made, _ = designs_of(setting)

    def then(setting: Setting, done: Sequence[Done]) -> list[Condition]:
        return [
            Condition(name=f"{lesson} {seed} {name}", model=learner(lesson, seed), dataset=asked)
            for seed in range(2)
            for lesson in teaching.LESSONS
            for name, asked in questions_of(setting.dataset, made).items()
        ]

    return running.run(msgspec.structs.replace(STUDY, then=then), setting)


def test_figures_of_learners_that_reject_what_they_were_taught(tmp_path: Path) -> None:
    outcome = after_lessons(with_rejections(), tmp_path)
    taught = outcome.values["taught"]
    assert list(taught) == list(teaching.LESSONS)
    for lesson in OWN[1:]:
        assert {name for name, one in taught[lesson].items() if one.value} == {
            lesson, RIGHT
        }  # fmt: skip
    # One of two trainings: the mean, and an interval that says how little that is.
    assert taught["own: appearance"]["own: appearance"].value == 0.5
    assert taught["own: appearance"]["own: appearance"][1:] == (0.0, 1.0)
    assert all(taught[teaching.ALL][name].value == 1.0 for name in OWN)
    assert taught[teaching.BY_RULES]["by rules"].value == 1.0
    assert taught[teaching.BY_RULES]["other image"].value == 0.0
    assert taught[teaching.UNTOUCHED][RIGHT].value == 1.0
    assert (
        "rejects 87.5 % of that kind, 0.0 % of the data's other kinds and 0.0 % of the true "
        "descriptions; of the data's kinds and of the true descriptions it rejects 100.0 and "
        "0.0 % taught all of them, 0.0 and 0.0 % taught negatives by rules" in outcome.finding
    )
    assert any("means of 2 trainings" in one for one in outcome.notes)


def test_data_without_rejections_say_nothing_of_kinds(tmp_path: Path) -> None:
    outcome = after_lessons(data(), tmp_path)
    assert outcome.values["taught"][teaching.OTHER]["other image"].value == 1.0
    assert outcome.finding.endswith("nothing can be said of what one kind teaches of another.")


def test_without_the_extra_it_says_so_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs = {one.name: one.default for one in STUDY.knobs} | {"train": True}
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else real(name)
    )
    setting = Setting(models=["baseline/null"], datasets=[data()], folder=tmp_path, knobs=knobs)
    with pytest.raises(MissingDependencyError, match="pip install 'groundingme"):
        running.planned(STUDY, setting)
    none = msgspec.structs.replace(setting, knobs=knobs | {"seeds": 0})
    with pytest.raises(UsageError, match="seeds of 1 or more, got 0"):
        running.planned(STUDY, none)


def test_mixtures_differ_in_their_negatives_alone() -> None:
    kinds = [["", "", "Text", "State", "by rules"][at % 5] for at in range(500)]

    def drawn(name: str, size: int = 61) -> list[tuple[int, str]]:
        return [(at, kinds[at]) for at in teaching.mixture(kinds, name, size, 3).tolist()]

    counts = Counter(kind for _, kind in drawn("own: text"))
    assert counts == {"": 31, "Text": 30}
    text, state, alone = (
        {at for at, kind in drawn(name) if not kind}
        for name in ("own: text", "own: state", teaching.POSITIVES)
    )
    assert text == state < alone
    assert len(alone) == 61
    # Kinds that no scene has leave a smaller mixture; few of a kind come up again.
    assert Counter(kind for _, kind in drawn(teaching.ALL)) == {"": 31, "Text": 7, "State": 7}
    assert Counter(kind for _, kind in drawn("by rules", 400)) == {"": 200, "by rules": 200}


def test_negatives_for_lessons_are_made_of_the_scenes(tmp_path: Path) -> None:
    pages = [page("train", number, 6) for number in range(8)]
    made = teaching.with_negatives(pages, 0)
    assert made == teaching.with_negatives(pages, 0)
    added = {"by rules": 0, "other image": 0}
    for before, after in zip(pages, made, strict=True):
        true = {one.description for one in before.exercises if one.target >= 0}
        assert after.exercises[: len(before.exercises)] == before.exercises
        for one in after.exercises[len(before.exercises) :]:
            assert (one.target, one.l1) == (-1, "Rejection")
            assert len(one.marks) == len(before.scene.things)
            assert one.description not in true
            added[one.l2] += 1
    assert added["by rules"] > 8
    assert 0 < added["other image"] <= 16


@pytest.mark.slow
def test_a_small_training_with_every_design(tmp_path: Path) -> None:
    for package in ("torch", "onnx", "onnxscript"):
        pytest.importorskip(package)
    from click.testing import CliRunner

    from groundingme.cli import main

    command = ["study", "negatives", "builtin/grounder", "--limit", "40", "--out", str(tmp_path),
               "--quiet", "--json"]  # fmt: skip
    for knob in ("train=true", "batches=8", "size=64", "pages=50", "drawn=50", "positives=8"):
        command += ["--set", knob]
    first = CliRunner().invoke(main, command)
    assert first.exit_code == 0, first.output
    taught = json.loads(first.stdout)["values"]["taught"]
    assert list(taught) == list(teaching.LESSONS)
    assert taught[teaching.UNTOUCHED]["by rules"]["value"] == 0.0
    weights = {one: one.stat().st_mtime_ns for one in tmp_path.rglob("match.onnx")}
    assert len(weights) == len(teaching.LESSONS)
    again = CliRunner().invoke(main, command)
    assert json.loads(again.stdout)["values"]["taught"] == taught
    assert {one: one.stat().st_mtime_ns for one in tmp_path.rglob("match.onnx")} == weights


@pytest.mark.slow
def test_the_demonstration_runs_with_negatives_of_the_command(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from groundingme.cli import main
    from groundingme.train.negatives import Options, make_negatives

    make_negatives("scenes:seed=11,n=40", out=tmp_path / "written",
                   options=Options(kinds=("appearance",)))  # fmt: skip
    out = CliRunner().invoke(
        main,
        ["study", "negatives", "--data", "scenes:seed=11,n=40", "--quiet", "--out", str(tmp_path),
         "--set", f"made={tmp_path / 'written'}"],
    )  # fmt: skip
    assert out.exit_code == 0, out.output
    written = json.loads((tmp_path / "negatives" / "study.json").read_text())
    shares = written["values"]["rejected"]["builtin/grounder"]
    # The same rule on the same positives.
    assert shares["written: appearance"]["value"] == shares["rule: appearance"]["value"]
    assert written["values"]["falsely"]["builtin/grounder-positive-only"]["value"] == 0.0
