"""`groundingme sample` and `select` over a real HTTP server: its own n, or one by one; resumed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from tests.chat import ChatServer, Reply

from groundingme.cli import main
from groundingme.datasets import load_dataset
from groundingme.errors import FatalError, UsageError
from groundingme.evaluation import evaluate
from groundingme.runner import RetryPolicy
from groundingme.scale import stopping
from groundingme.scale.sampling import Sampling, run_from, sample
from groundingme.scale.selection import load_sample_run, select
from groundingme.store import RunFolder

DATA = "scenes:n=6,seed=3"
BOX = '{"bbox_2d": [10, 10, 50, 50]}'


def sampled(server: ChatServer, out: Path, n: int = 4, **more: Any) -> Sampling:
    return sample(
        "openai/some-model", more.pop("data", DATA), n=n, base_url=server.base_url, out=out,
        coords="abs", retry=RetryPolicy(attempts=2, base=0.01), **more,
    )  # fmt: skip


def kept(result: Sampling) -> Counter[int]:
    """How many replies there are of each trajectory."""
    return Counter(k for _, k in RunFolder.open(result.path).trajectories())


def test_a_server_with_n_is_asked_once_a_sample(tmp_path: Path) -> None:
    with ChatServer(several=True) as server:
        result = sampled(server, tmp_path)
        assert [body["n"] for body in server.requests] == [4] * 6
        assert all(body["temperature"] == 0.7 for body in server.requests)
    assert kept(result) == {0: 6, 1: 6, 2: 6, 3: 6}
    assert (result.replies, result.failed, result.missing) == (24, 0, 0)
    assert result.spending.prompt_tokens == 6 * 11, "the image is paid for once"
    assert result.spending.completion_tokens == 24 * 7
    folder = RunFolder.open(result.path)
    one = folder.trajectories()[load_dataset(DATA)[0].id, 3]
    assert one.image_digest.startswith("sha256:")
    assert one.sent_width > 0


def test_a_server_that_ignores_n_is_asked_one_by_one(tmp_path: Path) -> None:
    with ChatServer() as server:
        result = sampled(server, tmp_path)
        assert len(server.requests) == 24
    assert kept(result) == {0: 6, 1: 6, 2: 6, 3: 6}


def test_a_server_that_refuses_n_is_asked_one_by_one(tmp_path: Path) -> None:
    class Strict(ChatServer):
        def _made(self, reply: Reply, others: Any = ()) -> Any:
            if self.requests[-1].get("n", 1) > 1:
                return super()._made(Reply(status=400))
            return super()._made(reply)

    with Strict() as server:
        result = sampled(server, tmp_path, concurrency=1)
        assert sum(body.get("n", 1) > 1 for body in server.requests) == 1, "it learns that once"
    assert kept(result) == {0: 6, 1: 6, 2: 6, 3: 6}
    assert result.failed == 0


def test_the_same_command_asks_nothing_twice_and_a_larger_n_adds(tmp_path: Path) -> None:
    with ChatServer(several=True) as server:
        first = sampled(server, tmp_path, n=3)
        asked = len(server.requests)
        again = sampled(server, tmp_path, n=3)
        assert len(server.requests) == asked
        assert again.path == first.path
        more = sampled(server, tmp_path, n=5)
        assert more.path == first.path
        assert [body["n"] for body in server.requests[asked:]] == [2] * 6
    assert kept(more) == dict.fromkeys(range(5), 6)


def test_what_was_lost_in_the_middle_is_asked_again(tmp_path: Path) -> None:
    with ChatServer(several=True) as server:
        result = sampled(server, tmp_path)
        path = result.path / "generations.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        left = [line for at, line in enumerate(lines) if at % 3]
        path.write_bytes(b"".join(left) + b'{"id": "half a li')
        asked = len(server.requests)
        again = sampled(server, tmp_path)
        missing = sum(body.get("n", 1) for body in server.requests[asked:])
    assert missing == len(lines) - len(left)
    assert kept(again) == {0: 6, 1: 6, 2: 6, 3: 6}


def test_a_failed_request_fails_all_its_trajectories_and_the_next_run_asks_again(
    tmp_path: Path,
) -> None:
    ill = load_dataset(DATA)[2].description
    with ChatServer({ill: [Reply(status=500)]}, several=True) as server:
        result = sampled(server, tmp_path)
    assert (result.replies, result.failed) == (20, 4)
    with ChatServer(several=True) as server:
        again = sampled(server, tmp_path)
        assert len(server.requests) == 1
    assert (again.replies, again.failed) == (24, 0)


def test_adaptive_sampling_stops_where_the_answer_is_settled(tmp_path: Path) -> None:
    unsure = load_dataset(DATA)[1].description
    boxes = [Reply(f'{{"bbox_2d": [{x}, 0, {x + 40}, 40]}}') for x in range(0, 900, 60)]
    with ChatServer({unsure: boxes}, several=True) as server:
        result = sampled(server, tmp_path, n=8, adaptive=stopping.window(3), least=3)
        asked = Counter(server.asked)
    assert asked[unsure] == 6, "three at once, then one at a time"
    assert sum(asked.values()) == 6 + 5
    assert kept(result) == {0: 6, 1: 6, 2: 6, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1}
    assert result.saved == 25
    assert result.missing == 0


def test_adaptive_sampling_does_what_the_replay_says(tmp_path: Path) -> None:
    rule = stopping.posterior(0.8)
    made: dict[str, Any] = {"n": 8, "temperature": 2.0, "out": tmp_path, "concurrency": 4}
    full = sample("builtin/grounder", "scenes:n=12,seed=9", **made)
    used, _ = stopping.replay(load_sample_run(full.path).t, rule)
    made["out"] = tmp_path / "live"
    live = sample("builtin/grounder", "scenes:n=12,seed=9", adaptive=rule, **made)
    folder = RunFolder.open(live.path)
    counts = Counter(id for id, _ in folder.trajectories())
    assert [counts[one.id] for one in load_dataset("scenes:n=12,seed=9")] == used.tolist()


def test_a_greedy_run_beside_it_is_the_baseline(tmp_path: Path) -> None:
    with ChatServer(several=True) as server:
        result = sampled(server, tmp_path)
        assert load_sample_run(result.path).greedy is None
        evaluate(
            "openai/some-model", DATA, base_url=server.base_url, out=tmp_path, coords="abs",
            max_tokens=999,
        )  # fmt: skip
        assert load_sample_run(result.path).greedy is None, "it differs in more than temperature"
        evaluate("openai/some-model", DATA, base_url=server.base_url, out=tmp_path, coords="abs")
    run = load_sample_run(result.path)
    assert run.greedy is not None
    rows = {row.name: row for row in select(run)}
    assert rows["greedy"].score == rows["majority"].score
    assert rows["greedy"].tokens == 7
    assert rows["majority"].tokens == 28
    assert rows["stop-posterior"].tokens == 14


def test_a_budget_ends_it_before_and_the_command_says_so(tmp_path: Path) -> None:
    with ChatServer(several=True) as server:
        result = sampled(server, tmp_path, price="0,1000000", budget=60.0, concurrency=1)
    assert 0 < result.spending.dollars <= 60
    assert result.missing > 0
    assert "stopped at the budget" in result.stopped


def test_what_eval_takes_sample_takes(tmp_path: Path) -> None:
    def common(name: str) -> set[str]:
        command = main.get_command(click.Context(main), name)
        assert command
        return {option for one in command.params for option in one.opts}

    # Those of one greedy answer alone, of where the work is done, and a preview that could not
    # show the server's own n.
    only = {"model", "--protocol", "--control", "--retry-failed", "--dry-run", "--engine",
            "--workers", "--shard-size", "--gpus-per-worker", "--ray-address"}  # fmt: skip
    assert common("eval") - common("sample") <= only
    with ChatServer(several=True, default=lambda _: Reply(BOX)) as server:
        made = CliRunner().invoke(
            main,
            ["sample", "openai/m", "--data", DATA, "-n", "2", "--base-url", server.base_url,
             "--out", str(tmp_path), "--coords", "abs", "--quiet", "--header", "X-Team=grounding",
             "--concurrency", "auto", "--retries", "1", "--timeout", "9", "--rpm", "100000"],
        )  # fmt: skip
        assert made.exit_code == 0, made.output
        assert all(sent["X-Team"] == "grounding" for sent in server.headers)
        assert len(server.requests) == 6


def test_failures_beyond_what_is_allowed_end_with_1(tmp_path: Path) -> None:
    ill = load_dataset(DATA)[0].description
    arguments = ["sample", "openai/m", "--data", DATA, "-n", "2", "--out", str(tmp_path),
                 "--coords", "abs", "--quiet", "--retries", "0", "--base-url"]  # fmt: skip
    with ChatServer({ill: [Reply(status=400)]}, several=True) as server:
        failed = CliRunner().invoke(main, [*arguments, server.base_url])
        assert failed.exit_code == 1
        assert "2 of 12 trajectories failed, more than --max-failed allows" in failed.output
        again = CliRunner().invoke(main, [*arguments, server.base_url, "--max-failed", "0.5"])
        assert again.exit_code == 0, again.output


def test_a_folder_is_the_one_that_it_was_before(tmp_path: Path) -> None:
    """The name is a digest of what makes a run, so that earlier folders go on."""
    with ChatServer(several=True) as server:
        path = sampled(server, tmp_path, n=2).path
    run = RunFolder.open(path).run
    assert run.settings == {
        "temperature": 0.7, "max_tokens": 20480, "jpeg_quality": None, "sampled": True,
    }  # fmt: skip
    assert path.name == "openai-some-model--scenes-n-6-seed-3--6ffdd59d"


def test_a_wrong_key_ends_it_at_once(tmp_path: Path) -> None:
    with (
        ChatServer(default=lambda _: Reply(status=401)) as server,
        pytest.raises(FatalError, match="the same command continues there"),
    ):
        sampled(server, tmp_path)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"n": 1}, "2 trajectories or more"), ({"temperature": 0.0}, "temperature above 0")],
)
def test_arguments_that_cannot_be(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sample("builtin/grounder", DATA, out=tmp_path, **wrong)


def test_numbers_that_follow_one_another() -> None:
    assert run_from([0, 1, 2]) == [0, 1, 2]
    assert run_from([3]) == [3]
    assert run_from([1, 2, 5, 6]) == [1, 2]


def test_the_commands(tmp_path: Path) -> None:
    command = CliRunner()
    with ChatServer(several=True) as server:
        made = command.invoke(
            main,
            ["sample", "openai/m", "--data", DATA, "-n", "3", "--base-url", server.base_url,
             "--out", str(tmp_path), "--coords", "abs", "--quiet", "--json"],
        )  # fmt: skip
        assert made.exit_code == 0, made.output
        path = json.loads(made.stdout)["run"]
        judge = ["--judge", "traces", "--judge-model", "openai/j", "--base-url", server.base_url]
        found = command.invoke(main, ["select", path, "--json", *judge])
        assert found.exit_code == 0, found.output
        rows = {row["name"]: row for row in json.loads(found.stdout)["rows"]}
        assert rows["traces, clusters"]["judge"]["pairs"] == 0, "all agree"
        shown = command.invoke(main, ["select", path, "--by", "mean,majority"])
        assert "majority" in shown.output
        assert "oracle" not in shown.output.splitlines()[3]
        for wrong, said in (
            (["--by", "majorty"], "did you mean 'majority'"),
            (["--judge", "traces"], "--judge and --judge-model together"),
            (["--judge", "trace", "--judge-model", "openai/j"], "did you mean 'traces'"),
        ):
            failed = command.invoke(main, ["select", path, *wrong])
            assert failed.exit_code == 2
            assert said in failed.output
    plain = command.invoke(main, ["sample", "builtin/grounder", "--data", DATA, "--adaptive", "x"])
    assert plain.exit_code == 2
    assert "posterior:P" in plain.output


def test_the_page_shows_trajectories_and_verdicts_and_runs_nothing(tmp_path: Path) -> None:
    evil = "</pre><script>alert(1)</script>"
    split = [Reply(f"{evil} {BOX}"), Reply('{"bbox_2d": null}')]
    descriptions = [one.description for one in load_dataset(DATA)]
    script = dict.fromkeys(descriptions, split)

    def reply(prompt: str) -> Reply:
        return Reply(evil + r" \boxed{A}")

    with ChatServer(script, reply, several=True) as server:
        result = sampled(server, tmp_path, n=3)
        page = tmp_path / "sub" / "page.html"
        done = CliRunner().invoke(
            main,
            ["select", str(result.path), "--page", str(page), "--judge", "traces",
             "--judge-model", "openai/j", "--base-url", server.base_url],
        )  # fmt: skip
    assert done.exit_code == 0, done.output
    text = page.read_text()
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)") >= 6
    assert text.count('<article class="trajectories">') == 6
    assert text.count("<use href=") == 18, "every tile shows its sample's one picture again"
    assert "trajectory 0 wins" in text, "shown in both orders, A wins twice"
    assert "trajectory 1 wins" in text
    assert "A is trajectory" in text
    assert text.count("data:image/webp") == 6
    assert "default-src 'none'" in text.replace("&#x27;", "'")


def test_the_budget_of_judges_ends_with_1_and_goes_on_with_a_larger_one(tmp_path: Path) -> None:
    split = [Reply(BOX), Reply('{"bbox_2d": null}')]
    script = {one.description: split for one in load_dataset(DATA)}
    with ChatServer(script, lambda _: Reply(r"\boxed{A}"), several=True) as server:
        path = str(sampled(server, tmp_path, n=2).path)
        asked = len(server.asked)
        judged = ["select", path, "--judge", "traces", "--judge-model", "openai/j", "--orders",
                  "random", "--concurrency", "1", "--json", "--base-url",
                  server.base_url]  # fmt: skip
        paid = [*judged, "--judge-price", "0,1000000"]
        # A reply has 7 tokens: 7 dollars.
        poor = CliRunner().invoke(main, [*paid, "--budget", "15"])
        assert poor.exit_code == 1
        assert "stopped at the budget of $15: $14.0000" in poor.stderr
        assert "4 comparisons fell back to the majority" in poor.stderr
        rows = {row["name"]: row for row in json.loads(poor.stdout)["rows"]}
        assert rows["traces, clusters"]["judge"]["unasked"] == 4
        assert len(server.asked) == asked + 2
        rich = CliRunner().invoke(main, [*paid, "--budget", "150"])
        assert rich.exit_code == 0, rich.output
        assert len(server.asked) == asked + 6
        for wrong, said in (
            ([*judged, "--budget", "9"], "expected a price for openai/j to keep a budget"),
            (["select", path, "--budget", "9"], "expected --judge with --budget"),
        ):
            failed = CliRunner().invoke(main, wrong)
            assert failed.exit_code == 2
            assert said in failed.output
