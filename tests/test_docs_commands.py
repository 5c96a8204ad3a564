"""The commands of the documents, run: small data for large, a server on this machine for others.

What `documents` marks with `<!-- run -->` runs as it stands in `test_docs`. All other commands run
here with the substitutions below, or stand in `ELSEWHERE` with what runs them instead.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from chat import ChatServer
from documents import IDS, PAGES, ROOT, blocks, commands, words
from groundingme import evaluate
from groundingme.cli import main
from groundingme.scale.sampling import sample

ELSEWHERE = {
    r"^eval$|^eval \.\.\.": "test_docs.py: the demo, and quickstart.md as it stands",
    r"^eval (transformers|vllm|detector)/": "test_local_models.py: needs weights",
    r"--engine ray": "test_ray.py: needs Ray",
    r"^train ": "test_tuning_runs.py: needs torch and a model",
    r"^sweep ": "test_sweep.py: needs torch",
    r"^studio( --(?!home fresh)|$)": "test_studio_runs.py: serves until it is stopped",
    r"^build run .*--to verify": "test_build_verify.py: asks two models",
    r"--push": "test_build_publish.py: needs the Hub",
    r"--to inspect": "test_exports.py: needs Inspect",
    r"--track": "test_tracking.py: needs a tracker",
    r"^doctor": "test_doctor.py",
    r"--set servers=": "test_study_cost.py: needs a file of one's own",
    r"--set made=": "test_study_negatives.py: likewise",
    r"--set tables=": "test_study_boxes.py: likewise",
    r"--set translations=": "test_study_languages.py: likewise",
    r"^calibrate": "test_readings.py: needs a model that finds things",
}
"""Commands that are not run here, by pattern, and what runs them."""

DRAWN = {
    "tiny": "rejections=0.5,n=48",
    "yes": "rejections=0,n=12,seed=1",
    "no": "rejections=1,n=12,seed=2",
    "drawn": "n=24,distractors=5-9",
}
MIXED = {
    "data/refcocog": "yes", "negatives": "no", "lirang04/RefCOCOg_rej": "no", "refcocog_rej": "no",
    "groundingme": "tiny", "30000": "4", "DATA": "yes",
}  # fmt: skip
"""What stands for the data sets of a mixture, and for its size."""

NUMBER = itertools.count()
PLACE = ROOT / "docs" / "tutorials" / "build.md"
DATA = (
    r"my-[\w/-]+|groundingme|(?:data/)?refcocog|DATA|DIR|FOLDER|"
    r"scenes|scenes-hard|scenes:\S+|build/12\S+"
)


class Place(NamedTuple):
    """A folder with something of everything.

    Attributes:
        folder: It.
        runs: Two runs of the same samples.
        sampled: A run with several trajectories.
    """

    folder: Path
    runs: list[str]
    sampled: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("documents")
    before = os.getcwd()
    os.chdir(folder)
    for name, spec in DRAWN.items():
        run(["scenes", "make", f"scenes:{spec}", "--out", name, "--layout", "folder"])
    (folder / "build.toml").write_text(
        next(block.text for block in blocks(PLACE.read_text()) if block.how == "build.toml")
    )
    with (folder / "boxes.jsonl").open("w") as file:
        for line in (folder / "drawn/samples.jsonl").read_text().splitlines():
            row = json.loads(line)
            objects = [{"bbox": one["bbox"], "label": one["kind"]} for one in row["objects"]]
            file.write(json.dumps({"image": row["image"], "objects": objects}) + "\n")
    replies = '{"id": "0000", "reply": "{\\"bbox_2d\\": null}"}\n'
    (folder / "replies.jsonl").write_text(replies)
    runs = [str(evaluate(f"baseline/{name}", "tiny").path) for name in ("center", "random")]
    sampled = str(sample("baseline/random", "tiny", n=3, temperature=1.0).path)
    run(["studio", "--home", "home", "backup", "monday.sqlite"])
    yield Place(folder, runs, sampled)
    os.chdir(before)
    shutil.rmtree(folder)


def run(given: list[str]) -> None:
    done = CliRunner().invoke(main, given, input="secret\n")
    assert done.exit_code == 0, f"{' '.join(given)}\n{done.output}\n{done.exception!r}"


def smaller(line: str, place: Place, server: str) -> list[str]:
    """The words of a command with what is here in place of what a reader has."""
    given = words(line)
    verb = given[0]
    made: list[str] = []
    runs = iter(place.runs)
    for word, previous in zip(given, ["", *given], strict=False):
        if previous in ("--split", "--negatives-split", "--limit", "--family"):
            made.pop()
        elif previous == "-n":
            made.append("2")
        elif re.fullmatch(r"RUN|runs/\S+", word):
            made.append(place.sampled if verb == "select" else next(runs))
        elif verb == "mix":
            made.append("tiny" if previous == "--apart" else MIXED.get(word, word))
        elif verb == "scenes":
            made.append("scenes:n=4" if previous == "make" else word)
        elif verb != "power" and re.fullmatch(DATA, word) and previous != "openai":
            made.append("yes" if verb == "negatives" else "tiny")
        else:
            made.append({
                "MODEL": "builtin/grounder", "DATA": "tiny", "URL": server, "FORMAT": "csv",
                "http://localhost:8000/v1": server, "URL2": server, "judge-url=URL2": "n=2",
                "17": "0001", "FILE": "out.csv",
            }.get(word, word))  # fmt: skip
    if verb == "mix":
        made += ["-o", f"mixtures-{next(NUMBER)}"]
    if verb in ("eval", "sample"):
        made += ["--limit", "4"]
    if any(word.startswith("openai/") for word in made) and "--base-url" not in made:
        made += ["--base-url", server] if verb in ("eval", "sample", "study") else []
    if verb == "study" or re.match(r"(google|anthropic)/", given[1] if given[1:] else ""):
        made.append("--dry-run")
    return made


def others(page: Path) -> list[str]:
    """The commands of a page's blocks that `test_docs` does not run as they stand."""
    found: list[str] = []
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.how is None and block.language in ("sh", ""):
            found += commands(f"```sh\n{block.text}```")
    return [one for one in dict.fromkeys(found) if not elsewhere(one)]


def elsewhere(line: str) -> bool:
    """Whether something else runs that command."""
    return any(re.search(pattern, line.removeprefix("groundingme ")) for pattern in ELSEWHERE)


CASES = [
    pytest.param(page, id=name)
    for page, name in zip(PAGES, IDS, strict=True)
    if page.parent.name != "tests" and others(page)
]


@pytest.mark.slow
@pytest.mark.parametrize("page", CASES)
def test_commands_run(page: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    monkeypatch.setenv("GEMINI_API_KEY", "a-key")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-key")
    monkeypatch.setenv("GROUNDINGME_CACHE", str(place.folder / "cache.sqlite"))
    with ChatServer(several=True) as server:
        for line in others(page):
            if "build publish" in line and not list(place.folder.glob("build/*publish*")):
                run(["build", "run", "build.toml"])
            given = smaller(line, place, server.base_url)
            if given[:2] == ["build", "init"]:
                given.append(f"new-{page.stem}.toml")
            if given[:2] == ["keys", "remove"]:
                run(["keys", "set", given[2]])
            run(given)


def test_few_commands_are_left_to_other_tests() -> None:
    every = {line for page in PAGES for line in commands(page.read_text(encoding="utf-8"))}
    assert len([line for line in every if not elsewhere(line)]) > 0.6 * len(every)
    for pattern, reason in ELSEWHERE.items():
        assert (ROOT / "tests" / reason.partition(":")[0]).is_file(), reason
        assert any(re.search(pattern, line.removeprefix("groundingme ")) for line in every), pattern
