"""Verification: models that see, models that fail, checks without a model, and who comes first."""

from __future__ import annotations

import json
import random
import re
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from chat import ChatServer, Reply
from groundingme.build.records import Target, Verdict
from groundingme.build.stage import Context
from groundingme.build.verify import SUMMARY, VerifyOptions, quality, ranks, usable, work
from groundingme.cache import Cache
from groundingme.datasets import load_dataset
from groundingme.errors import FatalError, JobError
from groundingme.taxonomy import REJECTION
from targets import cups, picture, target


def boxed(box: object) -> Reply:
    return Reply(json.dumps({"bbox_2d": box}))


def options(server: ChatServer, *models: str, **more: object) -> VerifyOptions:
    given = {"models": list(models or ["openai/one"]), "base_url": server.base_url, "coords": "abs"}
    return VerifyOptions(**(given | more))  # type: ignore[arg-type]


def described(folder: Path, pictures: int) -> list[Target]:
    found = cups(folder, pictures)
    for at, one in enumerate(found):
        one.description = f"the cup number {at} that stands on the table"
    return found


def rejection(one: Target, text: str) -> Target:
    return msgspec.structs.replace(
        one, id=f"{one.id}-State", description=text, original=one.description,
        subtask_l1=REJECTION, subtask_l2="State",
    )  # fmt: skip


# ---- the built-in grounder on Scenes


def scene_targets(folder: Path, n: int) -> list[Target]:
    """Scenes as targets: descriptions that are proved to be of one thing, and of none."""
    found = []
    for sample in load_dataset(f"scenes:n={n},seed=11,rejections=0.35"):
        if sample.subtask_l2 == "Small":
            continue
        assert sample.image is not None
        (folder / f"{sample.id}.jpg").write_bytes(sample.image.read())
        box = sample.target or tuple(map(float, sample.extra["changed"]["near"]))
        alike = [one for one in sample.extra["objects"] if one["kind"] == sample.detection_type]
        boxes = [tuple(map(float, one["bbox"])) for one in alike]
        found.append(
            target(
                f"{folder}/./{sample.id}.jpg", box, [one for one in boxes if one != box],
                id=sample.id, width=sample.width, height=sample.height,
                label=sample.detection_type, description=sample.description,
                subtask_l1=sample.subtask_l1, subtask_l2=sample.subtask_l2,
            )
        )  # fmt: skip
    return found


def test_the_grounder_agrees_with_what_is_true_and_marks_what_is_not(tmp_path: Path) -> None:
    targets = scene_targets(tmp_path, 90)
    true = [one for one in targets if not one.is_rejection]
    # What is said of one thing is put to another of another kind: untrue for certain.
    lies = [
        msgspec.structs.replace(one, id=f"{one.id}-lie", description=other.description)
        for one, other in zip(true, true[7:], strict=False)
        if one.label != other.label
        and not re.search(r"\b(?:thing|item|object)\b", other.description)
    ]
    told: list[str] = []
    given = VerifyOptions(models=["builtin/grounder"])
    done = work([*targets, *lies], given, Context(folder=tmp_path, tell=told.append))
    assert [one.id for one in done] == [one.id for one in [*targets, *lies]]
    groups = {
        "true": [one for one in done if not one.is_rejection and not one.id.endswith("-lie")],
        "rejection": [one for one in done if one.is_rejection],
        "lie": [one for one in done if one.id.endswith("-lie")],
    }
    agreed = {
        name: sum(one.verdicts[0].agrees for one in group) / len(group)
        for name, group in groups.items()
    }
    assert all(len(group) >= 20 for group in groups.values())
    assert agreed["true"] >= 0.7
    assert agreed["rejection"] >= 0.7
    assert agreed["lie"] <= 0.1, [
        one.description for one in groups["lie"] if one.verdicts[0].agrees
    ]
    for one in done:
        verdict = one.verdicts[0]
        assert verdict.model == "builtin/grounder"
        wrong = {"found"} if one.is_rejection else {"not-unique", "not-found"}
        assert bool(wrong & set(one.flags)) == (not verdict.agrees)
    mean = {name: sum(one.rank for one in group) / len(group) for name, group in groups.items()}
    assert mean["true"] > mean["lie"]
    figures = json.loads((tmp_path / SUMMARY).read_bytes())
    assert figures["models"][0]["found"] == sum(
        one.verdicts[0].agrees for one in done if not one.is_rejection
    )
    assert figures["text_floor"]["samples"] == len(done)
    print(agreed, {k: len(v) for k, v in groups.items()}, mean, told)


# ---- models over HTTP


def test_what_verdicts_and_flags_mean(tmp_path: Path) -> None:
    box, twin = (20.0, 100.0, 80.0, 180.0), (300.0, 90.0, 350.0, 170.0)
    where = picture(tmp_path, "a.jpg", [box, twin])
    base = target(where, box, [twin])
    texts = {
        "the cup that is found at once": boxed([20, 100, 80, 178]),
        "the cup that is taken for the other": boxed([300, 90, 350, 170]),
        "the cup that is seen elsewhere": boxed([0, 0, 30, 30]),
        "the cup that is not seen": boxed(None),
        "the cup that nothing is said of": Reply("Hm, hard to say."),
        "the cup that breaks the server": Reply(status=400),
    }
    positives = [
        msgspec.structs.replace(base, id=f"p{at}", description=text)
        for at, text in enumerate(texts)
    ]
    nothing, something = "the purple cup beside the cat", "the purple cup beside the dog"
    texts |= {nothing: boxed(None), something: boxed([20, 100, 80, 178])}
    rejections = [rejection(base, nothing), rejection(base, something)]
    rejections[1].id += "2"
    told: list[str] = []
    with ChatServer(default=lambda text: texts[text]) as server:
        context = Context(folder=tmp_path, tell=told.append)
        done = work([*positives, *rejections], options(server), context)
    outcomes = ["box", "box", "box", "rejected", "unparsed", "failed", "rejected", "box"]
    assert [one.verdicts[0].outcome for one in done] == outcomes
    agrees = [True, False, False, False, False, False, True, False]
    assert [one.verdicts[0].agrees for one in done] == agrees
    assert [one.flags for one in done] == [
        [], ["not-unique"], ["not-found"], ["not-found"], ["unverified"], ["unverified"], [],
        ["found"],
    ]  # fmt: skip
    assert done[0].verdicts[0].iou == pytest.approx(78 / 80, abs=1e-6)
    assert done[0].verdicts[0].box == (20, 100, 80, 178)
    assert done[7].verdicts[0].iou == 0
    assert [quality(one) for one in done] == [1, 0, 0, 0, 0.5, 0.5, 1, 0]
    assert "verify, openai/one: finds 1 of 4, rejects 1 of 2, 2 not answered" in told
    assert all(one.goes_on for one in done)


def test_a_failed_verifier_is_no_evidence(tmp_path: Path) -> None:
    targets = described(tmp_path, 3)

    def reply(text: str) -> Reply:
        return Reply(status=400) if "number 4" in text else boxed(None)

    with ChatServer(default=reply) as server:
        done = work(targets, options(server, min_agree=1), Context(folder=tmp_path))
    assert [one.fate for one in done] == ["not-verified"] * 4 + [""] + ["not-verified"] * 4
    assert done[4].flags == ["unverified"]
    assert usable(done[4]) == []
    assert sum(one.rank for one in done) == done[4].rank == 1


def test_two_models_and_nothing_asked_twice(tmp_path: Path) -> None:
    targets = described(tmp_path, 4)

    def reply(text: str) -> Reply:
        at = int(re.search(r"number (\d+)", text)[1])  # type: ignore[index]
        return boxed(targets[at].box if at % 2 else None)

    with ChatServer(default=reply) as server:
        given = options(server, "openai/one", "openai/two")
        done = work(targets, given, Context(folder=tmp_path))
        assert len(server.asked) == 24
        assert work(targets, given, Context(folder=tmp_path)) == done
        assert len(server.asked) == 24
        # One target more makes another data set, but only that one is asked.
        extra = msgspec.structs.replace(targets[1], id="new", description="number 1 once more")
        more = work([*targets, extra], given, Context(folder=tmp_path))
        assert len(server.asked) == 26
    assert [one.verdicts for one in more[:12]] == [one.verdicts for one in done]
    assert [one.model for one in done[0].verdicts] == ["openai/one", "openai/two"]
    runs = list((tmp_path / "verify").glob("*/run.json"))
    assert len(runs) == 4, "run folders, as those of an evaluation"
    assert not any(one.verdicts for one in targets)


def test_budget_and_a_wrong_key_end_it(tmp_path: Path) -> None:
    targets = described(tmp_path, 4)
    cache = Cache(tmp_path / "replies.sqlite")
    with ChatServer(default=lambda text: boxed(None)) as server:
        given = options(server, "openai/one", "openai/two", price="1,1", concurrency=1)
        with pytest.raises(JobError, match="stopped at the budget"):
            work(targets, given, Context(folder=tmp_path, budget=16.5 * 18e-6, cache=cache))
        assert len(server.asked) == 16
        assert work(targets, given, Context(folder=tmp_path, budget=1.0, cache=cache))
        assert len(server.asked) == 24
    cache.close()
    (tmp_path / "other").mkdir()
    with (
        ChatServer(default=lambda text: Reply(status=401)) as server,
        pytest.raises(FatalError),
    ):
        work(targets, options(server), Context(folder=tmp_path / "other"))


# ---- without a model


def test_checks_that_need_no_model(tmp_path: Path) -> None:
    targets = described(tmp_path, 3)
    targets[0].description = "the red cup on the table by the window"
    targets[1].description = "The red cup on the table by the window."
    targets[2].others = []
    targets[3].description = "a cup " * 95
    targets[4].description = "la tasse rouge sur la table près de la fenêtre"
    twin = rejection(targets[5], targets[5].description)
    told: list[str] = []
    done = work([*targets, twin], VerifyOptions(), Context(folder=tmp_path, tell=told.append))
    flags = {one.id: one.flags for one in done if one.flags}
    assert flags == {
        targets[0].id: ["duplicate"],
        targets[1].id: ["duplicate"],
        targets[2].id: ["only-one"],
        targets[3].id: ["long"],
        targets[4].id: ["language"],
    }
    figures = json.loads((tmp_path / SUMMARY).read_bytes())
    assert figures["models"] == []
    assert figures["text_floor"] is None
    assert figures["words"]["most"] == 190
    assert figures["rejections"] == 1


def test_what_words_alone_give_away(tmp_path: Path) -> None:
    colours = ("red", "green", "blue", "white", "black", "pink")
    rng = random.Random(0)
    targets = []
    for at in range(240):
        text = f"the {rng.choice(colours)} cup beside the {rng.choice(('dog', 'cat', 'lamp'))} {at}"
        one = target(
            f"/x/./p{at}.jpg", (0, 0, 9, 9), [(20, 0, 29, 9)], id=str(at), description=text
        )
        if at % 3 == 0:
            one = rejection(one, f"{text} that has been wrongly changed" if at % 2 else text)
        targets.append(one)
    done = work(targets, VerifyOptions(), Context(folder=tmp_path))
    flagged = [one for one in done if "text-floor" in one.flags]
    assert all(one.is_rejection and "wrongly" in one.description for one in flagged)
    assert len(flagged) >= 30
    assert json.loads((tmp_path / SUMMARY).read_bytes())["text_floor"]["auroc"] > 0.6


def test_targets_that_do_not_go_on_are_left_alone(tmp_path: Path) -> None:
    targets = described(tmp_path, 1)
    targets[0].fate, targets[1].failure, targets[2].description = "refused", "timeout: x", ""
    assert work(targets, VerifyOptions(), Context(folder=tmp_path)) == targets


# ---- who comes first


def judged(id: str, subtask: str, agrees: list[bool], *flags: str) -> Target:
    one = target("/x/./p.jpg", (0, 0, 9, 9), [], id=id, subtask_l2=subtask, description="a cup")
    one.verdicts = [
        Verdict(model=str(at), outcome="box", box=(0, 0, 9, 9), iou=float(yes), agrees=yes)
        for at, yes in enumerate(agrees)
    ]
    one.flags = list(flags)
    return one


def test_subtasks_take_turns_and_the_good_ones_go_first() -> None:
    targets = [judged(f"a{at}", "Appearance", [True]) for at in range(6)]
    targets += [judged("t0", "Text", [True, True]), judged("t1", "Text", [True, False])]
    found = ranks(targets)
    order = sorted(found, key=lambda id: -found[id])
    assert order == ["a0", "t0", "a1", "t1", "a2", "a3", "a4", "a5"]
    assert found["a0"] == 1
    assert found["a5"] == 0
    gaps = [found[a] - found[b] for a, b in pairwise(order)]
    assert gaps == pytest.approx([1 / 7] * 7, abs=1e-5)


def test_every_fourth_is_one_that_nobody_found_and_flagged_ones_come_last() -> None:
    good = [judged(f"g{at}", "Text", [True]) for at in range(6)]
    hard = [judged(f"h{at}", "Text", [False], "not-found") for at in range(2)]
    bad = [
        judged("dup", "Text", [False], "not-found", "duplicate"),
        judged("twice", "Text", [False], "not-unique"),
    ]
    found = ranks([*bad, *hard, *good])
    order = sorted(found, key=lambda id: -found[id])
    assert order == ["g0", "g1", "g2", "h0", "g3", "g4", "g5", "h1", "dup", "twice"]
    assert quality(judged("x", "Text", [True], "only-one")) == 0.75
    assert quality(judged("x", "Text", [])) == 0.5
    assert ranks([]) == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"models": ["opnai/x"]}, "did you mean 'openai'"),
        ({"models": ["openai/x", "openai/x"]}, "expected different models"),
        ({"models": ["openai/x"], "min_agree": 2}, "expected min_agree of at most"),
        ({"models": [], "by_model": {"openai/x": {}}}, "expected options of one of"),
        ({"min_iou": 0.0}, "> 0"),
    ],
)
def test_options_that_cannot_be(given: dict[str, object], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=re.escape(said)):
        msgspec.convert(given, VerifyOptions)
