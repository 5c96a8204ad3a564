"""The cache of replies: a repeated request costs nothing, and nothing broken is ever kept."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from tests.chat import ChatServer, Reply

from groundingme.cache import Cache, key_of
from groundingme.cli import main
from groundingme.datasets import load_dataset
from groundingme.errors import UsageError
from groundingme.evaluation import evaluate
from groundingme.images import Encoded
from groundingme.models import Request, load_model
from groundingme.result import Result
from groundingme.runner import RetryPolicy
from groundingme.scale.sampling import sample
from groundingme.schema import Generation

DATA = "scenes:n=5,seed=3"


def run(server: ChatServer, out: Path, cache: Cache, **more: Any) -> Result:
    return evaluate(
        "openai/m", DATA, base_url=server.base_url, out=out, cache=cache, coords="abs",
        retry=RetryPolicy(attempts=1), price="1000000,0", **more,
    )  # fmt: skip


def test_a_second_run_elsewhere_asks_nobody_and_scores_the_same(tmp_path: Path) -> None:
    with ChatServer() as server:
        first = run(server, tmp_path / "a", Cache(tmp_path / "c"))
        asked = len(server.asked)
        again = run(server, tmp_path / "b", Cache(tmp_path / "c"))
        assert len(server.asked) == asked == 5
    assert first.spending.dollars == pytest.approx(55)
    assert again.spending.dollars == 0
    assert again.spending.cached == 5
    assert "5 replies from the cache" in again.spending.line()
    assert again.metrics == first.metrics
    lines = [(one.path / "generations.jsonl").read_text() for one in (first, again) if one.path]
    assert [line.count('"cached":true') for line in lines] == [0, 5]


@pytest.mark.parametrize(
    "more", [{"max_tokens": 99}, {"temperature": 0.5}, {"prompt": "where is {description}?"}]
)
def test_another_question_is_another_entry(tmp_path: Path, more: dict[str, Any]) -> None:
    with ChatServer() as server:
        run(server, tmp_path, Cache(tmp_path / "c"))
        run(server, tmp_path, Cache(tmp_path / "c"), **more)
        assert len(server.asked) == 10


@pytest.mark.parametrize(
    "ill",
    [Reply(status=500), Reply(""), Reply("x", finish_reason="content_filter"), Reply(body="{")],
)
def test_nothing_broken_is_kept(tmp_path: Path, ill: Reply) -> None:
    bad = load_dataset(DATA)[1].description
    with ChatServer({bad: [ill]}) as server:
        run(server, tmp_path / "a", Cache(tmp_path / "c"))
    assert Cache(tmp_path / "c").size()[0] == 4


def request(**more: Any) -> Request:
    image = Encoded(data=b"x", mime="image/png", width=2, height=2, full=None)
    return msgspec.structs.replace(Request(id="1", prompt="p", image=image), **more)


def test_the_key_holds_all_that_is_asked_and_not_whose_sample_it_is() -> None:
    model = load_model("openai/m", base_url="http://localhost:1/v1")
    key = key_of(model, request())
    assert key_of(model, request(id="2")) == key
    other = Encoded(data=b"y", mime="image/png", width=2, height=2, full=None)
    for more in (
        {"prompt": "q"}, {"image": other}, {"image": None}, {"temperature": 1.0}, {"system": "s"},
        {"max_tokens": 1}, {"trajectory": 1}, {"extra": {"a": 1}}, {"thinking": "on"}, {"width": 9},
    ):  # fmt: skip
        assert key_of(model, request(**more)) != key, more
    for name, url in (("openai/n", "http://localhost:1/v1"), ("openai/m", "http://localhost:2/v1")):
        assert key_of(load_model(name, base_url=url), request()) != key
    extra = load_model("openai/m", base_url="http://localhost:1/v1", extra_body={"seed": 1})
    assert key_of(extra, request()) != key


def test_a_changed_entry_is_found_out_and_dropped(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c")
    for key in "abc":
        cache.put(key, "m", Generation(id=key, text="hello"))
    raw = sqlite3.connect(tmp_path / "c")
    body = raw.execute("SELECT body FROM replies WHERE key = 'b'").fetchone()[0]
    raw.execute("UPDATE replies SET body = ? WHERE key = 'b'", (body.replace(b"hello", b"hellx"),))
    raw.execute("UPDATE replies SET body = 7 WHERE key = 'c'")
    raw.commit()
    raw.close()
    assert cache.get("a") == Generation(id="a", text="hello")
    assert cache.get("b") is None
    assert cache.get("c") is None
    assert cache.size()[0] == 1


def test_a_file_that_is_no_cache_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"not a data base at all" * 100)
    cache = Cache(tmp_path / "c")
    cache.put("a", "m", Generation(id="a", text="t"))
    assert cache.get("a")
    assert (tmp_path / "c.damaged").read_bytes().startswith(b"not a data base")


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", limit=20_000)
    for number in range(15):
        cache.put(f"{number}", "m", Generation(id="a", text="x" * 1000))
    assert cache.get("0")
    for number in range(15, 40):
        cache.put(f"{number}", "m", Generation(id="a", text="x" * 1000))
        assert cache.size()[1] <= 20_000
        assert cache.get("0"), "used all the time"
    assert cache.get("1") is None
    assert cache.get("39")


def test_two_processes_may_use_it_at_once(tmp_path: Path) -> None:
    one, other = Cache(tmp_path / "c"), Cache(tmp_path / "c")
    for number in range(50):
        (one if number % 2 else other).put(f"{number}", "m", Generation(id="a", text="t"))
    assert all(one.get(f"{number}") and other.get(f"{number}") for number in range(50))


def test_sampling_takes_what_is_there_and_asks_for_the_rest(tmp_path: Path) -> None:
    def sampled(out: str, n: int) -> int:
        result = sample(
            "openai/m", DATA, n=n, base_url=server.base_url, out=tmp_path / out, coords="abs",
            cache=Cache(tmp_path / "c"),
        )  # fmt: skip
        return result.replies

    with ChatServer(several=True) as server:
        assert sampled("a", 3) == 15
        assert [body["n"] for body in server.requests] == [3] * 5
        assert sampled("b", 3) == 15
        assert len(server.requests) == 5
        assert sampled("d", 5) == 25
        assert [body["n"] for body in server.requests[5:]] == [2] * 5


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="expected a cache that can be written"):
        Cache(tmp_path / "file" / "c")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDINGME_CACHE", str(tmp_path / "c"))
    command = CliRunner()
    with ChatServer() as server:
        for out in ("a", "b"):
            done = command.invoke(
                main,
                ["eval", "openai/m", "--data", DATA, "--base-url", server.base_url, "--coords",
                 "abs", "--out", str(tmp_path / out), "--quiet", "--cache"],
            )  # fmt: skip
            assert done.exit_code == 0, done.output
        assert len(server.asked) == 5
    shown = command.invoke(main, ["cache"])
    assert "openai/m" in shown.output
    assert "5 replies" in shown.output
    assert json.loads(command.invoke(main, ["cache", "--json"]).stdout)["replies"] == 5
    assert "0 replies" in command.invoke(main, ["cache", "clear", "--model", "openai/n"]).output
    assert "5 replies" in command.invoke(main, ["cache", "clear"]).output
    assert Cache().size() == (0, 0)
