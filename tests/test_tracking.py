"""Trackers, through their real SDKs and offline; each test skips where its SDK is missing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from groundingme.cli import main
from groundingme.cli.report import report_command
from groundingme.errors import MissingDependencyError, UnknownNameError
from groundingme.loading import load_entry
from groundingme.report import tracking
from groundingme.report.contents import Contents, gather
from reported import make_data, make_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_runs(make_data(tmp_path_factory.mktemp("tracking") / "pointing"))


@pytest.fixture(scope="module")
def contents(runs: list[Path]) -> Contents:
    return gather([load_entry(one) for one in runs])


def tracked(runs: list[Path], folder: Path, to: str, **env: str) -> str:
    """Runs the command in a process of its own, as its SDK leaves threads and settings behind."""
    if importlib.util.find_spec(to) is None:
        pytest.skip(f"needs {to}")
    done = subprocess.run(
        [sys.executable, "-m", "groundingme", "report", *map(str, runs), "--track", to,
         "-o", str(folder / "report.html"), "--workers", "1", "--json"],
        cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"2 runs logged to {to}" in done.stderr
    # Whatever the SDK prints, our own output is one JSON object.
    assert done.stdout.startswith("{")
    assert done.stdout.count("\n") == 1
    return done.stderr


def test_figures_are_numbers_with_names_for_every_tracker(contents: Contents) -> None:
    careful = contents.standings[0]
    found = tracking.figures(contents, careful)
    assert found["ACC_at_0.5"] == pytest.approx(110 / 120)
    assert found["ACC_at_0.5 low"] < found["ACC_at_0.5"] < found["ACC_at_0.5 high"]
    assert found["Rejection_ACC_at_0.5"] == pytest.approx(20 / 24)
    assert found["N-acc"] == pytest.approx(20 / 24)
    assert found["samples"] == 120
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. :/")
    assert all(set(name) <= allowed for name in found)
    assert all(value == value for value in found.values())
    said = tracking.settings(contents, careful)
    assert said["model"] == "mock/careful"
    assert said["protocol"] == "strict"
    assert all(isinstance(value, str) and len(value) <= 500 for value in said.values())


@pytest.mark.parametrize("to", list(tracking.TRACKERS))
def test_a_missing_sdk_names_its_line(
    to: str, contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, to, None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'groundingme\[{to}\]'"):
        tracking.track(contents, tmp_path / "report.html", to)


def test_an_unknown_tracker(contents: Contents, tmp_path: Path, runs: list[Path]) -> None:
    with pytest.raises(UnknownNameError, match="tracker"):
        tracking.track(contents, tmp_path, "notebook")
    refused = CliRunner().invoke(main, ["report", str(runs[0]), "--track", "notebook"])
    assert refused.exit_code == 2
    option = next(one for one in report_command.params if one.name == "track")
    assert list(option.type.choices) == list(tracking.TRACKERS)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_mlflow(runs: list[Path], tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracked(runs, tmp_path, "mlflow", MLFLOW_TRACKING_URI=uri)
    code = (
        "import mlflow, sys; mlflow.set_tracking_uri(sys.argv[1]);"
        "c = mlflow.MlflowClient(); e = c.get_experiment_by_name('groundingme');"
        "rs = c.search_runs([e.experiment_id]);"
        "print(sorted((r.data.params['model'], round(r.data.metrics['ACC_at_0.5'], 4),"
        " [a.path for a in c.list_artifacts(r.info.run_id)]) for r in rs))"
    )
    read = subprocess.run(
        [sys.executable, "-c", code, uri], cwd=tmp_path, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert read.returncode == 0, read.stderr
    assert read.stdout.strip() == (
        "[('mock/careful', 0.9167, ['report.html']), ('mock/eager', 0.7, ['report.html'])]"
    )


@pytest.mark.slow
def test_wandb(runs: list[Path], tmp_path: Path) -> None:
    tracked(runs, tmp_path, "wandb", WANDB_MODE="offline", WANDB_DIR=str(tmp_path))
    folders = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert len(folders) == 2
    stored = b"".join(
        file.read_bytes() for one in folders for file in one.rglob("*") if file.is_file()
    )
    for text in (b"mock/careful", b"mock/eager", b"ACC_at_0.5", b"groundingme-report"):
        assert text in stored


@pytest.mark.slow
def test_trackio(runs: list[Path], tmp_path: Path) -> None:
    store = tmp_path / "trackio"
    tracked(runs, tmp_path, "trackio", TRACKIO_DIR=str(store))
    code = (
        "import trackio; rs = trackio.Api().runs('groundingme');print(sorted(r.name for r in rs))"
    )
    read = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600,
        env={**os.environ, "TRACKIO_DIR": str(store)}, check=False,
    )  # fmt: skip
    assert read.returncode == 0, read.stderr
    assert read.stdout.strip().splitlines()[-1] == "['mock/careful', 'mock/eager']"
    stored = b"".join(file.read_bytes() for file in store.rglob("*") if file.is_file())
    assert b"ACC_at_0.5" in stored
    assert (tmp_path / "report.html").read_bytes() in [
        file.read_bytes() for file in store.rglob("*") if file.is_file()
    ]
