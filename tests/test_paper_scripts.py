"""The scripts for the paper's tables run with the built-in model on a few scenes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "paper"


def run(script: str, tmp_path: Path, *arguments: str, **settings: str) -> str:
    # `groundingme` is the command of this environment.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", str(FOLDER / script), *arguments], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PATH": path, **settings}, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


BUILT_IN = {"MODEL": "builtin/grounder", "DATA": "scenes:seed=2,n=12"}


@pytest.mark.slow
def test_main_results(tmp_path: Path) -> None:
    said = run("main-results.sh", tmp_path, **BUILT_IN)
    assert "Discriminative" in said
    assert "Gemini-2.5-Pro" in said
    assert (tmp_path / "paper" / "report.html").exists()


@pytest.mark.slow
def test_prompts(tmp_path: Path) -> None:
    assert "Page: " in run("prompts.sh", tmp_path, **BUILT_IN)


@pytest.mark.slow
def test_scaling(tmp_path: Path) -> None:
    said = run("test-time-scaling.sh", tmp_path, **BUILT_IN, N="3", TEMPERATURE="2")
    assert "oracle" in said
    assert "majority" in said


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sh")), ids=lambda path: path.stem)
def test_scripts_are_plain_shell(path: Path) -> None:
    subprocess.run(["sh", "-n", str(path)], check=True)
    assert "set -eu" in path.read_text()
