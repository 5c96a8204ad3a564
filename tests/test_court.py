"""Judged selection over a real HTTP server whose judge is scripted: good, biased, broken."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from tests.chat import ChatServer, Reply

from groundingme.costs import Spending, parse_price
from groundingme.errors import FatalError
from groundingme.geometry import iou
from groundingme.images import BytesImage
from groundingme.judges import JUDGES
from groundingme.models import load_model
from groundingme.runner import RetryPolicy
from groundingme.scale import select
from groundingme.scale.court import Court, Purse
from groundingme.scale.judged import (
    Hearing,
    Presence,
    by_clusters,
    by_knockout,
    presence_then_place,
    routed,
)
from groundingme.scale.simulate import simulate
from groundingme.scale.trajectories import Trajectories, answered
from groundingme.schema import Generation, Sample

T = simulate(24, 6, success=0.4, correlation=0.9, seed=1)
RNG = np.random.default_rng(0)


def samples(t: Trajectories) -> list[Sample]:
    out = io.BytesIO()
    Image.new("RGB", (1000, 1000), "#888").save(out, "JPEG")
    image = BytesImage(name="x.jpg", data=out.getvalue())
    return [
        Sample(id=id, description=f"thing {id}", target=None, width=1000, height=1000, image=image)
        for id in t.ids
    ]


def hearing(t: Trajectories = T) -> Hearing:
    generations = {
        (id, k): Generation(id=id, trajectory=k, text="reply", reasoning=f"I looked {k} times.")
        for id in t.ids
        for k in range(t.n)
    }
    return Hearing(t, samples(t), generations)


def court(server: ChatServer, out: Path, judge: str = "traces", **options: object) -> Court:
    model = load_model("openai/judge", base_url=server.base_url)
    retry = RetryPolicy(attempts=2, base=0.01)
    return Court(JUDGES.get(judge)(), model, out, retry=retry, **options)  # type: ignore[arg-type]


def knowing(t: Trajectories = T) -> Callable[[str], Reply]:
    """A judge that knows the truth, and tells it where just one of the two is right."""
    truth = {id: (t.targets[row], bool(t.negatives[row])) for row, id in enumerate(t.ids)}

    def reply(prompt: str) -> Reply:
        found = re.search(r"thing (\d+)", prompt)
        assert found
        target, nothing = truth[found[1]]
        right = []
        for letter in "AB":
            said = re.search(rf"Answer {letter}: (.*)\.\n", prompt)
            assert said
            numbers = [float(n) for n in re.findall(r"-?\d+", said[1])]
            right.append(
                not numbers if nothing else bool(numbers and iou([numbers], [target])[0] >= 0.5)
            )
        return Reply("it is " + (r"\boxed{B}" if right[1] and not right[0] else r"\boxed{A}"))

    return reply


def test_a_judge_that_knows_reaches_the_oracle_and_asks_nothing_twice(tmp_path: Path) -> None:
    with ChatServer(default=knowing()) as server:
        # In random order it always decides; where both are right or wrong it takes the first.
        at_work = court(server, tmp_path, orders="random")
        choice = by_knockout(hearing(), at_work)
        assert choice.right(T).tolist() == T.right().any(axis=1).tolist()
        pairs = int((answered(T).sum(axis=1) - 1).sum())
        assert at_work.tally.pairs == pairs
        assert at_work.tally.undecided == 0
        assert len(server.asked) == len(set(server.asked)) == pairs
        again = court(server, tmp_path, orders="random")
        assert by_knockout(hearing(), again).index.tolist() == choice.index.tolist()
        assert len(server.asked) == pairs, "all of it was kept"
        assert again.tally == at_work.tally


def test_clusters_ask_less_and_lose_nothing_with_a_judge_that_knows(tmp_path: Path) -> None:
    with ChatServer(default=knowing()) as server:
        at_work = court(server, tmp_path, orders="random")
        choice = by_clusters(hearing(), at_work)
        leaders = select.representatives(T)
        assert at_work.tally.pairs == sum(max(0, len(row) - 1) for row in leaders)
        assert at_work.tally.pairs < (answered(T).sum(axis=1) - 1).sum()
    best = [any(T.right()[row, k] for k in found) for row, found in enumerate(leaders)]
    assert choice.right(T).tolist() == best


def test_a_judge_that_always_says_a_decides_nothing_in_both_orders(tmp_path: Path) -> None:
    with ChatServer(default=lambda prompt: Reply(r"\boxed{A}")) as server:
        at_work = court(server, tmp_path, orders="both")
        choice = by_clusters(hearing(), at_work)
    assert choice.index.tolist() == select.majority(T, RNG).index.tolist()
    assert at_work.tally.undecided == at_work.tally.pairs > 0
    assert at_work.tally.failed == 0
    assert at_work.tally.first_share == 1.0


def test_random_orders_spread_evenly_over_both_answers(tmp_path: Path) -> None:
    t = simulate(120, 2, success=0.5, correlation=0, unparsed=0, seed=3)
    with ChatServer(default=lambda prompt: Reply(r"\boxed{A}")) as server:
        choice = by_knockout(hearing(t), court(server, tmp_path, orders="random"))
    share = (choice.index == 0).mean()
    assert abs(share - 0.5) < 4 * math.sqrt(0.25 / 120)


@pytest.mark.parametrize(
    ("reply", "failed"), [(Reply("either"), False), (Reply("", status=500), True)]
)
def test_what_is_no_verdict_falls_back_to_the_majority_and_is_counted(
    tmp_path: Path, reply: Reply, failed: bool
) -> None:
    with ChatServer(default=lambda prompt: reply) as server:
        # One good reply, so that the server counts as one that answers.
        at_work = court(server, tmp_path)
        at_work.judge.verdict = lambda replies: None  # type: ignore[method-assign]
        if failed:
            with pytest.raises(FatalError, match="500"):
                by_clusters(hearing(), at_work)
            return
        choice = by_clusters(hearing(), at_work)
    assert choice.index.tolist() == select.majority(T, RNG).index.tolist()
    assert at_work.tally.undecided == at_work.tally.pairs > 0


def test_some_failed_questions_are_counted_and_asked_again_later(tmp_path: Path) -> None:
    good = knowing()
    broken = {"00003", "00004"}

    def reply(prompt: str) -> Reply:
        ill = any(id in prompt for id in broken)
        return Reply(status=500) if ill else good(prompt)

    with ChatServer(default=reply) as server:
        at_work = court(server, tmp_path, orders="random")
        by_clusters(hearing(), at_work)
        assert at_work.tally.failed > 0
        broken.clear()
        again = court(server, tmp_path, orders="random")
        choice = by_clusters(hearing(), again)
    assert again.tally.failed == 0
    leaders = select.representatives(T)
    best = [any(T.right()[row, k] for k in found) for row, found in enumerate(leaders)]
    assert choice.right(T).tolist() == best


def test_a_budget_ends_the_asking_and_the_majority_decides_the_rest(tmp_path: Path) -> None:
    def purse(budget: float | None) -> Purse:
        return Purse(Spending(price=parse_price("0,1000000"), budget=budget))

    with ChatServer(default=knowing()) as server:
        # A reply has 7 completion tokens, so it costs 7 dollars: 5 questions are affordable.
        poor = purse(40.0)
        at_work = court(server, tmp_path, orders="random", concurrency=4, purse=poor)
        choice = by_clusters(hearing(), at_work)
        assert len(server.asked) == 5
        assert poor.spending.dollars == 35.0
        tally = at_work.tally
        assert tally.unasked == tally.undecided == poor.unasked == tally.pairs - 5
        assert tally.failed == 0, "what was not asked did not fail"
        assert "stopped at the budget of $40: $35.0000" in poor.stopped()
        majority = select.majority(T, RNG)
        assert (choice.index == majority.index).mean() > 0.6
        lines = (at_work.folder.path / "verdicts.jsonl").read_bytes().splitlines()
        assert len(lines) == 5, "only what was said is written"

        # The same budget asks nothing more, since what was spent is counted.
        again = purse(40.0)
        by_clusters(hearing(), court(server, tmp_path, orders="random", purse=again))
        assert len(server.asked) == 5

        # Two courts of one judge share one folder, and what it cost is counted once.
        twice = purse(1000.0)
        for _ in range(2):
            rich = court(server, tmp_path, orders="random", purse=twice)
            free = by_clusters(hearing(), rich)
        assert len(server.asked) == len(set(server.asked))
        assert twice.spending.dollars == 7.0 * len(server.asked)
        assert (twice.stopped(), rich.tally.unasked) == ("", 0)
    leaders = select.representatives(T)
    best = [any(T.right()[row, k] for k in found) for row, found in enumerate(leaders)]
    assert free.right(T).tolist() == best


def test_the_log_keeps_every_verdict_and_the_words(tmp_path: Path) -> None:
    with ChatServer(default=knowing()) as server:
        at_work = court(server, tmp_path, orders="both")
        by_clusters(hearing(), at_work)
    lines = (at_work.folder.path / "verdicts.jsonl").read_bytes().splitlines()
    verdicts = [msgspec.json.decode(line) for line in lines]
    assert len(verdicts) == 2 * at_work.tally.pairs
    assert all(one["replies"][0].startswith("it is") for one in verdicts)
    assert {one["id"] for one in verdicts} <= set(T.ids)


def test_routed_sends_each_category_to_its_judge(tmp_path: Path) -> None:
    with ChatServer(default=knowing()) as server:
        answers = court(server, tmp_path, "answers", orders="random")
        traces = court(server, tmp_path, "traces", orders="random")
        choice = routed(hearing(), answers, traces)
        images = [len(body["messages"][0]["content"]) == 2 for body in server.requests]
    assert answers.tally.pairs == sum(images) > 0
    assert traces.tally.pairs == len(images) - sum(images) > 0
    leaders = select.representatives(T)
    best = [any(T.right()[row, k] for k in found) for row, found in enumerate(leaders)]
    assert choice.right(T).tolist() == best


def test_presence_decides_on_rejection_and_the_cluster_places_the_box(tmp_path: Path) -> None:
    def reply(prompt: str) -> Reply:
        found = re.search(r"thing (\d+)", prompt)
        assert found
        return Reply(r"\boxed{B}" if T.negatives[T.ids.index(found[1])] else r"\boxed{A}")

    with ChatServer(default=reply) as server:
        model = load_model("openai/judge", base_url=server.base_url)
        choice = presence_then_place(hearing(), Court(Presence(), model, tmp_path, orders="given"))
        assert len(server.asked) == len(T)
    right = choice.right(T)
    assert right[T.negatives].all()
    boxes = select.majority(T, RNG).right(T)
    assert right[~T.negatives].sum() >= boxes[~T.negatives].sum()
