"""The engine of studies: what is asked, resumed, budgeted, estimated, shown. Each study has its own
test of what it finds."""

from __future__ import annotations

import csv
import json
import math
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from chat import ChatServer, Holding, Reply
from groundingme import load_dataset
from groundingme.cli import main
from groundingme.datasets import Dataset
from groundingme.errors import JobError, UnknownNameError, UsageError
from groundingme.report.svg import Axis, Span
from groundingme.studies import STUDIES, changing, estimates, running
from groundingme.studies.conditions import AS_IT_IS, everyone
from groundingme.studies.estimates import Gain, answers, corrected, shares, turned
from groundingme.studies.figures import dots
from groundingme.studies.learning import gained, shared
from groundingme.studies.page import plain, standalone
from groundingme.studies.study import (
    Condition,
    Done,
    Dots,
    Knob,
    Lines,
    Outcome,
    Setting,
    Study,
    Table,
)

NAMES = {
    "boxes", "consistency", "cost", "domains", "forgetting", "interpretability", "judges",
    "languages", "negatives", "presence", "prompts", "subtasks",
}  # fmt: skip
AXIS = Axis(low=0, high=100, ticks=(0, 50, 100), title="right, %")


def drawn(n: int = 6) -> Dataset:
    return load_dataset(f"scenes:seed=3,n={n},width=256,height=256")


def plan(setting: Setting) -> Sequence[Condition]:
    """The data as it is and backwards, by every model."""
    turned = changing.changed(setting.dataset, "again", lambda one: one)
    return [
        Condition(name=name, model=model, dataset=data)
        for model in setting.models
        for name, data in (("as it is", setting.dataset), ("again", turned))
    ]


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    spans = {}
    for one in done:
        clusters = estimates.images(one.scored.samples)
        spans[one.condition.name] = estimates.share(estimates.right(one.scored), clusters)
    return Outcome(
        finding="It is so. It is not otherwise.",
        tables=[Table(title="A <b>table</b>", columns=["name", "right"],
                      rows=[[name, span] for name, span in spans.items()])],
        figures=[Dots(title="Dots <i>", text="", rows=list(spans), x=AXIS,
                      series={"model": [estimates.points(span) for span in spans.values()]}),
                 Lines(title="Lines", text="", x=AXIS, y=AXIS, diagonal=True,
                       series={"a": [(0, Span(1)), (50, Span(60))],
                               "b": [(0, Span(1, 0, 2)), (50, Span(60, 50, 70))]})],
        values={"right": spans, "nothing": math.nan},
        notes=["<script>alert(1)</script>"],
    )  # fmt: skip


TRIAL = Study(
    name="trial", question="Is it so?", needs="nothing", models=("baseline/center",),
    data=("scenes",), plan=plan, reduce=reduce, knobs=(Knob("share", 0.5, "a share"),
                                                       Knob("deep", False, "yes or no")),
)  # fmt: skip


def setting(tmp_path: Path, *models: str, **asking: object) -> Setting:
    return Setting(models=models or ("baseline/center",), datasets=[drawn()],
                   folder=tmp_path / "trial", asking=asking)  # fmt: skip


def test_a_study_leaves_runs_figures_and_a_page(tmp_path: Path) -> None:
    told: list[str] = []
    outcome = running.run(TRIAL, setting(tmp_path), tell=told.append)
    folder = tmp_path / "trial"
    assert len(told) == 2
    assert outcome.finding.startswith("It is so.")
    found = json.loads((folder / "study.json").read_text())
    assert found["values"]["nothing"] is None
    assert len(found["runs"]) == 2
    assert all((folder / one / "run.json").exists() for one in found["runs"])
    (table,) = folder.glob("table-1-*.csv")
    rows = list(csv.reader(table.read_text().splitlines()))
    assert rows[0] == ["name", "right", "right low", "right high"]
    assert len(rows[1]) == 4
    page = (folder / "study.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "A <b>" not in page
    for name in ("figure.svg", "figure-2.svg"):
        root = ET.fromstring((folder / name).read_text())
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
    plan_kept = json.loads((folder / "plan.json").read_text())
    assert [one["name"] for one in plan_kept["conditions"]] == ["as it is", "again"]


def test_what_was_asked_is_not_asked_again(tmp_path: Path) -> None:
    with ChatServer(keep=False) as server:
        how = setting(tmp_path, "openai/m", base_url=server.base_url)
        running.run(TRIAL, how)
        asked = len(server.asked)
        running.run(TRIAL, how)
        assert len(server.asked) == asked == 12


def test_conditions_that_depend_on_answers_join_the_plan(tmp_path: Path) -> None:
    def then(setting: Setting, done: Sequence[Done]) -> Sequence[Condition]:
        assert len(done) == 2
        third = changing.changed(setting.dataset, "third", lambda one: one)
        return [Condition(name="third", model=setting.models[0], dataset=third)]

    seen: list[int] = []

    def count(setting: Setting, done: Sequence[Done]) -> Outcome:
        seen.append(len(done))
        return reduce(setting, done)

    import msgspec

    study = msgspec.structs.replace(TRIAL, then=then, reduce=count)
    running.run(study, setting(tmp_path))
    assert seen == [3]
    kept = json.loads((tmp_path / "trial" / "plan.json").read_text())
    assert [one["name"] for one in kept["conditions"]] == ["as it is", "again", "third"]


def test_a_budget_holds_for_the_whole_study(tmp_path: Path) -> None:
    # Every reply has 11 prompt and 7 completion tokens: 18 dollars at a dollar each.
    with ChatServer(keep=False) as server:
        arguments = {"base_url": server.base_url, "price": "1000000,1000000", "concurrency": 1}
        with pytest.raises(JobError, match="--budget"):
            running.run(TRIAL, setting(tmp_path, "openai/m", budget=18 * 8, **arguments))
        assert 6 < len(server.asked) <= 8
        running.run(TRIAL, setting(tmp_path, "openai/m", budget=18 * 12, **arguments))
        assert len(server.asked) == 12


def test_a_condition_without_replies_is_no_result(tmp_path: Path) -> None:
    with (
        ChatServer(default=lambda description: Reply(status=400), keep=False) as server,
        pytest.raises(JobError, match=r"openai/m, as it is: .*none of 6"),
    ):
        running.run(TRIAL, setting(tmp_path, "openai/m", base_url=server.base_url, max_failed=1.0))


def test_what_a_study_would_ask(tmp_path: Path) -> None:
    with ChatServer(keep=False) as server:
        how = setting(tmp_path, "openai/m", base_url=server.base_url, price="1,2")
        before = running.estimate(TRIAL, how)
        assert not server.asked
        assert (before.requests, before.measured) == (12, False)
        assert before.dollars == pytest.approx(
            (before.prompt_tokens + 2 * before.completion_tokens) / 1e6
        )
        one = plan(how)[0]
        running._asked(one, how, 0.0, None)
        after = running.estimate(TRIAL, how)
    assert (after.requests, after.measured) == (6, True)
    assert (after.prompt_tokens, after.completion_tokens) == (66, 42)
    assert [row[4] for row in after.conditions] == [6, 0]
    unknown = running.estimate(TRIAL, setting(tmp_path / "x", "openai/never-heard-of"))
    assert math.isnan(unknown.dollars)
    assert running.estimate(TRIAL, setting(tmp_path / "y")).dollars == 0


def test_options_of_a_study() -> None:
    assert running.knobs(TRIAL, {}) == {"share": 0.5, "deep": False}
    assert running.knobs(TRIAL, {"share": "0.25", "deep": "true"}) == {"share": 0.25, "deep": True}
    with pytest.raises(UnknownNameError, match="did you mean 'share'"):
        running.knobs(TRIAL, {"shard": "1"})
    with pytest.raises(UsageError, match="expected share as float, got 'much'"):
        running.knobs(TRIAL, {"share": "much"})
    with pytest.raises(UsageError, match="expected deep as bool"):
        running.knobs(TRIAL, {"deep": "perhaps"})


def test_a_study_that_applies_to_nothing_says_so_before_it_asks(tmp_path: Path) -> None:
    import msgspec

    def none(setting: Setting) -> Sequence[Condition]:
        left = changing.changed(setting.dataset, "none", lambda one: None)
        return [Condition(name="nothing", model="baseline/center", dataset=left)]

    with pytest.raises(UsageError, match="'nothing' of the study trial, got none"):
        running.run(msgspec.structs.replace(TRIAL, plan=none), setting(tmp_path))
    with pytest.raises(UsageError, match="expected 2 models or more"):
        running.run(msgspec.structs.replace(TRIAL, least=2), setting(tmp_path))
    assert not (tmp_path / "trial").exists()


def test_changed_samples_are_other_questions_with_the_same_origin() -> None:
    data = drawn()
    changed = changing.changed(data, "x", lambda one: None if one.id.endswith("0") else one)
    assert 0 < len(changed) <= len(data)
    assert {changing.origin(one.id) for one in changed} <= {one.id for one in data}
    assert changed.fingerprint != changing.changed(data, "y", lambda one: one).fingerprint


def test_a_made_picture_is_upright_and_lossless() -> None:
    from PIL import Image, ImageOps

    from groundingme import images

    source = next(iter(drawn())).image
    assert source is not None
    mirrored = changing.Picture(source, ImageOps.mirror)
    twice = changing.Picture(mirrored, ImageOps.mirror)
    before = images.open_upright(source.read()).convert("RGB")
    after = images.open_upright(twice.read()).convert("RGB")
    assert isinstance(before, Image.Image)
    assert np.array_equal(np.asarray(before), np.asarray(after))


def test_shares_against_an_independent_bootstrap() -> None:
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(150), 3)
    hits = (rng.random(150)[clusters] + rng.normal(0, 0.2, 450) > 0.5).astype(float)
    means = []
    by_image = [np.flatnonzero(clusters == at) for at in range(150)]
    for _ in range(3000):
        taken = np.concatenate([by_image[at] for at in rng.integers(0, 150, 150)])
        means.append(hits[taken].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    found = estimates.share(hits, clusters)
    assert found.value == pytest.approx(hits.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)


def test_a_share_near_the_end_has_an_exact_interval() -> None:
    from scipy.stats import binomtest

    found = estimates.share(np.zeros(40), np.arange(40))
    exact = binomtest(0, 40).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert math.isnan(estimates.share([], []).value)


def test_gains_are_paired() -> None:
    rng = np.random.default_rng(1)
    before = (rng.random(200) < 0.5).astype(float)
    better = np.where(rng.random(200) < 0.3, 1.0, before)
    found = estimates.gain(before, better, np.arange(200))
    assert found.span.value == pytest.approx((better - before).mean())
    assert found.clear
    assert not estimates.gain(before, before, np.arange(200)).clear


def test_a_gain_is_clear_where_test_and_interval_agree() -> None:
    more, less = Gain(Span(0.1, 0.02, 0.2), 0.01), Gain(Span(-0.1, -0.2, -0.02), 0.05)
    assert (more.clear, more.better, more.worse) == (True, True, False)
    assert (less.clear, less.better, less.worse) == (True, False, True)
    assert not Gain(Span(0.1, 0.02, 0.2), 0.06).clear
    assert not Gain(Span(0.1, -0.02, 0.2), 0.01).clear
    assert not Gain(Span(math.nan), 0.01).clear
    # Holm: the smallest of three times three, the next times two, never falling.
    p = corrected({name: Gain(more.span, p) for name, p in (("a", 0.04), ("b", 0.01), ("c", 0.03))})
    assert {name: one.p for name, one in p.items()} == pytest.approx(
        {"a": 0.06, "b": 0.03, "c": 0.06}
    )


def test_answers_are_columns_of_a_run(tmp_path: Path) -> None:
    kept: list[Done] = []

    def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
        kept.extend(done)
        return Outcome(finding="", tables=[])

    study = Study(name="n", question="?", needs="", models=(), data=(), plan=everyone,
                  reduce=reduce)  # fmt: skip
    setting = Setting(models=["baseline/null", "baseline/whole"], datasets=[drawn(12)],
                      folder=tmp_path)  # fmt: skip
    running.run(study, setting)
    said = answers(kept)
    assert list(said) == setting.labels == ["baseline/null", "baseline/whole"]
    none, whole = (said[model][AS_IT_IS] for model in setting.labels)
    negative = np.array([one.target is None for one in setting.dataset])
    assert (none.negative == negative).all()
    assert none.rejected.all()
    assert not whole.rejected.any()
    assert (none.right == negative).all()
    assert none.share(none.right, none.negative).value == 1.0
    assert none.share(none.right).value == pytest.approx(negative.mean())
    assert math.isnan(none.share(none.right, np.zeros(12, bool)).value)
    found = shares(said, lambda one: one.share(one.rejected))
    assert turned(found)[AS_IT_IS] == {one: found[one][AS_IT_IS] for one in found}


def test_a_figure_leaves_a_row_empty_that_a_series_lacks() -> None:
    found = dots("t", "t", {"one": {"a": Span(0.5, 0.4, 0.6)}, "two": {"b": Span(0.25)}})
    assert found.rows == ["a", "b"]
    assert found.series["one"][0] == Span(50.0, 40.0, 60.0)
    assert math.isnan(found.series["one"][1].value)
    assert found.series["two"][1].value == 25.0


def test_figures_over_seeds_hold_images_and_seeds() -> None:
    rng = np.random.default_rng(0)
    columns = [rng.random(200) < rate for rate in (0.4, 0.5, 0.6)]
    clusters, among = np.arange(200), np.arange(200) < 150
    found = shared(columns, clusters, among)
    each = np.array([one[among].mean() for one in columns])
    assert found.value == pytest.approx(each.mean())
    # Student's t with two degrees of freedom, joined with the images' own interval.
    seeds = 4.302653 * each.std(ddof=1) / math.sqrt(3)
    by_image = estimates.mean(np.mean([one[among] for one in columns], axis=0), clusters[among])
    assert found.value - found.low == pytest.approx(
        math.hypot(seeds, by_image.value - by_image.low), rel=0.05
    )
    assert shared(columns[:1], clusters, among) == estimates.share(
        columns[0][among], np.arange(150)
    )
    same = gained(columns, columns, clusters, among)
    assert (same.span.value, same.p) == (0.0, 1.0)
    gap = gained(columns, [~one for one in columns], clusters, among)
    assert gap.span.value == pytest.approx(1 - 2 * each.mean())
    assert gap.span.low < gap.span.value < gap.span.high
    assert math.isnan(shared(columns, clusters, np.zeros(200, bool)).value)


def test_json_of_any_value() -> None:
    found = plain({"a": Span(0.5), "b": [np.float64(1), math.inf], 3: (np.int64(2),)})
    assert found == {"a": {"value": 0.5, "low": None, "high": None}, "b": [1.0, None], "3": [2]}


def test_figures_without_points() -> None:
    empty = Dots(title="none", text="", rows=["a"], series={"m": [Span(math.nan)]}, x=AXIS)
    assert standalone(empty).count("<circle") == 1, "the legend's alone"


def test_every_study_is_described() -> None:
    assert set(STUDIES.names()) >= NAMES
    for name in NAMES:
        study = STUDIES.get(name)
        assert study.name == name
        assert study.question.endswith("?")
        assert study.models
        assert study.data


def test_the_command_lists_and_refuses() -> None:
    run = CliRunner().invoke
    listed = run(main, ["study", "list"])
    assert listed.exit_code == 0
    assert all(name in listed.output for name in STUDIES.names())
    rows = json.loads(run(main, ["study", "list", "--json"]).output)
    assert {one["name"] for one in rows} >= NAMES
    wrong = run(main, ["study", "promts"])
    assert (wrong.exit_code, "did you mean 'prompts'" in wrong.output) == (2, True)
    knob = run(main, ["study", "boxes", "--data", "scenes:n=2", "--set", "nonsense=1"])
    assert (knob.exit_code, "option of the study boxes" in knob.output) == (2, True)


def test_an_interrupted_study_goes_on(tmp_path: Path) -> None:
    # So the signal comes in the middle, however late.
    holding = Holding(lambda description: Reply(), 3)
    with ChatServer(default=holding, keep=False) as server:
        command = [
            sys.executable, "-m", "groundingme", "study", "boxes", "openai/m", "--base-url",
            server.base_url, "--data", "scenes:seed=3,n=8,width=256,height=256", "--concurrency",
            "1", "--out", str(tmp_path), "--quiet",
        ]  # fmt: skip
        started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while not holding.held:
            assert started.poll() is None
            time.sleep(0.05)
        started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=180)
        assert (started.returncode, "continues this study" in said) == (130, True)
        assert len(server.asked) == 4
        holding.answer_only(None)
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        # One was in flight at the signal.
        assert len(server.asked) == 9
    assert (tmp_path / "boxes" / "study.html").exists()


def test_estimates_tell_settings_apart(tmp_path: Path) -> None:
    """Conditions on the same samples that differ in what is asked are other runs."""
    import msgspec

    def ways(setting: Setting) -> Sequence[Condition]:
        return [
            Condition(name=name, model="baseline/center", dataset=setting.dataset, settings=given)
            for name, given in (("unified", {}), ("bare", {"prompt": "Find {description}"}))
        ]

    study = msgspec.structs.replace(TRIAL, plan=ways)
    how = setting(tmp_path)
    running._asked(ways(how)[0], how, 0.0, None)
    assert [row[4] for row in running.estimate(study, how).conditions] == [6, 0]
    several = Condition(name="several", model="builtin/grounder", dataset=how.dataset, n=2)
    running._asked(several, how, 0.0, None)
    plan_of = msgspec.structs.replace(TRIAL, plan=lambda setting: [several])
    assert [row[4] for row in running.estimate(plan_of, how).conditions] == [12]
