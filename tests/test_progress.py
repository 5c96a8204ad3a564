"""What a person sees of a run while it goes: figures, time left, a bar or lines."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

import groundingme
from groundingme import parsing, progress
from groundingme.models.mock import Mock
from groundingme.progress import Bar, Lines, Tally
from groundingme.schema import Answer, Generation, Sample
from test_evaluation import make_data

SAMPLES = [
    Sample(id="a", description="d", target=(0, 0, 10, 10), width=20, height=20),
    Sample(id="b", description="d", target=None),
    Sample(id="c", description="d", target=(0, 0, 10, 10), width=20, height=20),
    Sample(id="d", description="d", target=None),
]
RIGHT = Generation(
    id="a", text='{"bbox_2d": [0, 0, 10, 10]}', prompt_tokens=1500, completion_tokens=20
)
WRONG = Generation(id="b", text='{"bbox_2d": [0, 0, 10, 10]}', prompt_tokens=500)
FAILED = Generation(id="c", failure="timeout")
REJECTED = Generation(id="d", text="null")


def test_figures_so_far() -> None:
    tally = Tally(SAMPLES, {"a": RIGHT}, "abs")
    assert (tally.resumed, tally.done, tally.accuracy) == (1, 1, 1.0)
    for one in (WRONG, FAILED, REJECTED):
        tally.update(one)
    assert (tally.done, tally.failed, tally.tokens) == (4, 1, 2020)
    assert tally.line() == "4/4 done, 1 failed, Acc@0.5 so far 50.0, 2.0k tokens"


def test_the_declared_format_counts() -> None:
    tally = Tally(SAMPLES, {}, "n1000")
    tally.update(RIGHT)
    assert tally.accuracy == 0.0


def test_replies_to_samples_outside_the_run_do_not_count() -> None:
    assert Tally(SAMPLES[1:], {"a": RIGHT}, "abs").done == 0


def test_lines_for_logs_say_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock = io.StringIO(), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    lines = Lines(stream, every=0.0)
    lines.start(SAMPLES, {"a": RIGHT}, "abs")
    clock[0] += 21
    lines.update(WRONG)
    lines.update(FAILED)
    lines.stop()
    said = stream.getvalue().splitlines()
    assert said[0].startswith("2/4 done, Acc@0.5 so far 50.0, 2.0k tokens, about 42 s left")
    assert said[-1].startswith("3/4 done, 1 failed, Acc@0.5 so far 33.3")


def test_lines_are_rare() -> None:
    stream = io.StringIO()
    lines = Lines(stream, every=60.0)
    lines.start(SAMPLES, {}, "abs")
    for one in (RIGHT, WRONG, FAILED, REJECTED):
        lines.update(one)
    assert stream.getvalue() == ""
    lines.stop()
    assert stream.getvalue().count("\n") == 1


def test_the_bar_shows_all_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    bar = Bar()
    bar.start(SAMPLES, {"a": RIGHT}, "abs")
    bar.update(WRONG)
    bar.update(FAILED)
    bar._bar.refresh()
    bar.stop()
    shown = capsys.readouterr()
    assert shown.out == ""
    for figure in ("3/4", "1 failed", "Acc@0.5 33.3", "2.0k tokens", "left"):
        assert figure in shown.err


def test_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(progress.for_terminal(), Lines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert isinstance(progress.for_terminal(), Bar)


def test_notes_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    progress.Quiet().note("limit is 2, not 1")
    assert capsys.readouterr() == ("", "limit is 2, not 1\n")


def test_a_reply_is_parsed_once_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress, hints and two protocols look at each; only the official one has its own parser."""
    parsed: list[str] = []
    real = parsing.parse

    def counted(text: str, reasoning: str = "", *, finish_reason: str = "") -> Answer:
        parsed.append(text)
        return real(text, reasoning, finish_reason=finish_reason)

    monkeypatch.setattr(parsing, "parse", counted)
    monkeypatch.setattr(parsing, "_kept", parsing._Kept(2**20))
    script = {str(n): f'It is {n}. {{"bbox_2d": [{n}, 20, 300, 400]}}' for n in range(40)}
    model = Mock("m", script=script)
    data = str(make_data(tmp_path / "data", samples=40))
    groundingme.evaluate(
        model, data, coords="abs", out=tmp_path / "runs", progress=Lines(io.StringIO(), 0)
    )
    assert sorted(parsed) == sorted(script.values())


def test_kept_answers_are_bounded() -> None:
    kept = parsing._Kept(10_000)
    for number in range(100):
        assert kept.of(f"{number} " * 100, "", "").outcome == "unparsed"
        assert kept._size <= 10_000
    assert kept.of("null", "", "stop") is kept.of("null", "", "stop")
    assert kept.of("", "", "length").reason == "truncated"
    assert kept.of("", "", "").reason == "empty"
