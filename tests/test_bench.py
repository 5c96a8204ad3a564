"""The measuring tools measure what they say, and memory holds to its bounds."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from groundingme import load_dataset
from groundingme.images import probe

BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.fixture(scope="module")
def run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_run", BENCH / "run.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(*args: str | Path) -> None:
    subprocess.run([sys.executable, BENCH / "data.py", *args], check=True, capture_output=True)


def test_a_data_set_in_two_layouts(tmp_path: Path) -> None:
    make("images", tmp_path / "made", "300", "200", "6")
    folder, parquet = (load_dataset(str(tmp_path / "made" / one)) for one in ("folder", "parquet"))
    assert folder.fingerprint == parquet.fingerprint
    pictures = [one.image.read() for one in folder if one.image]
    assert pictures == [one.image.read() for one in parquet if one.image]
    assert len(set(pictures)) == 6
    header = probe(pictures[0])
    assert (header.format, header.width, header.height, header.plain) == ("JPEG", 300, 200, True)


def test_both_clients_are_measured_at_the_same_work(run: ModuleType, tmp_path: Path) -> None:
    found: dict[str, Any] = run.asking(tmp_path, (300, 200), (4, 12), 1, 5)
    assert found["samples"] == [4, 12]
    for layout in ("folder", "parquet"):
        assert found[layout]["ratio_with_start"] > 0
        # The system counts what the starting process held as the child's, and that is pytest here.
        assert found[layout]["rss_mb"]["12"] > 10
    assert list(tmp_path.iterdir()) == []


def test_every_step_of_scoring_is_measured(run: ModuleType, tmp_path: Path) -> None:
    found: dict[str, Any] = run.scoring(tmp_path, (100, 2000), 1)
    # The difference of two measurements: on a busy machine it may come out below zero.
    assert isinstance(found["cpu_us"], float | int)
    assert set(found["steps_cpu_us"]) >= {"read the samples", "parse, strict", "figures"}


def test_a_command_that_fails_stops_the_measurement(run: ModuleType) -> None:
    with pytest.raises(SystemExit, match="ended with 3"):
        run.measure(sys.executable, "-c", "raise SystemExit(3)")


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["folder", "parquet"])
def test_memory_does_not_grow_with_the_data_set(
    run: ModuleType, tmp_path: Path, layout: str
) -> None:
    """64 photos of 1 MB in flight at once, of 100 and of 300."""
    make("images", tmp_path / "made", "2250", "1500", "300")
    peaks = []
    with run.server(500) as base_url:
        for limit in ("100", "300"):
            used = run.measure(
                run.COMMAND, "eval", "openai/m", "--data", tmp_path / "made" / layout,
                "--base-url", base_url, "--concurrency", "64", "--limit", limit,
                "--out", tmp_path / limit, "--quiet", "--json",
            )  # fmt: skip
            peaks.append(used.rss / 1e6)
            (scores,) = (tmp_path / limit).glob("*/scores.json")
            assert json.loads(scores.read_text())["box"] == int(limit)
    assert peaks[1] < 300
    assert peaks[1] - peaks[0] < 40
