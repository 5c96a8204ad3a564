"""Run folders: what makes a run, what survives what, and who may write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from groundingme.errors import RunError
from groundingme.schema import Generation, Run
from groundingme.store import RunFolder, folder_name, list_runs

RUN = Run(
    model="openai/org/Some Model:7B",
    data="my/data",
    data_name="data",
    data_fingerprint="sha256:00",
    samples=3,
    prompt="find {description}",
    settings={"temperature": 0.0, "extra_body": {"a": [1, 2]}},
    created="2026-01-01T00:00:00+00:00",
)


def changed(**fields: Any) -> Run:
    return msgspec.structs.replace(RUN, **fields)


def filled(root: Path, *generations: Generation) -> RunFolder:
    folder = RunFolder.find_or_create(root, RUN)
    with folder.lock():
        for one in generations:
            folder.append(one)
    return folder


def lines(folder: RunFolder) -> bytes:
    return (folder.path / "generations.jsonl").read_bytes()


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    whole = Generation(id="a", text="box\nof 😀", reasoning="so", latency=1.5, prompt_tokens=3)
    failed = Generation(id="b", failure="timeout", detail="no reply", attempts=6)
    folder = RunFolder.open(filled(tmp_path, whole, failed).path)
    assert folder.run == RUN
    assert folder.generations() == {"a": whole, "b": failed}
    assert lines(folder).count(b"\n") == 2
    assert json.loads((folder.path / "run.json").read_text())["model"] == RUN.model


def test_the_name_tells_model_and_data_and_is_safe(tmp_path: Path) -> None:
    name = folder_name(RUN)
    assert name.startswith("openai-Some-Model-7B--data--")
    assert folder_name(changed(model="x/" + "é" * 300, data_name="../..")).count("/") == 0
    assert len(folder_name(changed(model="x/" + "a" * 300, data_name="b" * 300))) < 150


@pytest.mark.parametrize(
    "same",
    [
        {"created": "2027-01-01T00:00:00+00:00"},
        {"versions": {"groundingme": "9"}},
        {"data": "the/same/elsewhere"},
        {"settings": {"extra_body": {"a": (1, 2)}, "temperature": 0.0}},
    ],
)
def test_what_does_not_make_another_run(tmp_path: Path, same: dict[str, Any]) -> None:
    first = RunFolder.find_or_create(tmp_path, RUN)
    again = RunFolder.find_or_create(tmp_path, changed(**same))
    assert again.path == first.path
    assert again.difference == ""
    assert again.run == RUN


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"prompt": "where is {description}"}, 'prompt is "where is {description}", not "find'),
        ({"limit": 2}, "limit is 2, not null"),
        ({"subset": "Rejection"}, 'subset is "Rejection", not ""'),
        ({"data_fingerprint": "sha256:11"}, 'data_fingerprint is "sha256:11", not "sha256:00"'),
        (
            {"settings": {"temperature": 1.0, "extra_body": {"a": [1, 2]}}},
            "temperature is 1.0, not 0.0",
        ),
        ({"settings": {"temperature": 0.0}}, 'extra_body is null, not {"a":[1,2]}'),
    ],
)
def test_a_changed_setting_makes_another_run_and_is_named(
    tmp_path: Path, other: dict[str, Any], said: str
) -> None:
    first = RunFolder.find_or_create(tmp_path, RUN)
    second = RunFolder.find_or_create(tmp_path, changed(**other))
    assert second.path != first.path
    assert second.difference.startswith(f"a new run beside {first.path.name}: ")
    assert said in second.difference
    assert second.difference.count(", not ") == 1
    assert "\n" not in second.difference


def test_the_nearest_run_is_the_one_compared_with(tmp_path: Path) -> None:
    RunFolder.find_or_create(tmp_path, changed(limit=1, subset="Spatial", prompt="{description}"))
    near = RunFolder.find_or_create(tmp_path, changed(limit=1))
    other = RunFolder.find_or_create(tmp_path, changed(limit=2))
    assert near.path.name in other.difference
    assert RunFolder.find_or_create(tmp_path, changed(model="a/other")).difference == ""


def test_the_coordinate_format_can_be_declared_anew(tmp_path: Path) -> None:
    first = RunFolder.find_or_create(tmp_path, RUN)
    again = RunFolder.find_or_create(tmp_path, changed(coords="n1000"))
    assert again.path == first.path
    assert RunFolder.open(first.path).run.coords == "n1000"


def test_a_reply_supersedes_a_failure_and_is_not_superseded_by_one(tmp_path: Path) -> None:
    failed = Generation(id="a", failure="timeout")
    reply, later = Generation(id="a", text="1"), Generation(id="a", text="2")
    assert filled(tmp_path / "1", failed, reply).generations() == {"a": reply}
    assert filled(tmp_path / "2", reply, failed).generations() == {"a": reply}
    assert filled(tmp_path / "3", reply, later).generations() == {"a": later}
    sampled = Generation(id="a", trajectory=1, text="3")
    folder = filled(tmp_path / "4", reply, sampled)
    assert folder.generations() == {"a": reply}
    assert folder.trajectories() == {("a", 0): reply, ("a", 1): sampled}


@pytest.mark.parametrize("cut", [1, 5, 20, 70_000, 139_000])
def test_half_a_line_is_cut_off_when_the_run_goes_on(tmp_path: Path, cut: int) -> None:
    kept, torn = Generation(id="a", text="x" * 100), Generation(id="b", text="y" * 140_000)
    folder = filled(tmp_path, kept, torn)
    whole = lines(folder)
    (folder.path / "generations.jsonl").write_bytes(whole[: -cut - 1])
    with folder.lock():
        assert folder.generations() == {"a": kept}
        assert folder.damaged == ()
        folder.append(torn)
    assert lines(folder) == whole


def test_a_whole_line_without_its_break_is_kept(tmp_path: Path) -> None:
    one, two = Generation(id="a", text="1"), Generation(id="b", text="2")
    folder = filled(tmp_path, one)
    (folder.path / "generations.jsonl").write_bytes(lines(folder)[:-1])
    with folder.lock():
        folder.append(two)
    assert folder.generations() == {"a": one, "b": two}


def test_damage_in_the_middle_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    one, two = Generation(id="a", text="1"), Generation(id="b", text="2")
    folder = filled(tmp_path, one, two)
    first, second = lines(folder).splitlines()
    broken = b"\n".join([first, b"\0\0\0\xff", b'{"id": 3}', second, b""])
    (folder.path / "generations.jsonl").write_bytes(broken)
    with folder.lock():
        assert folder.generations() == {"a": one, "b": two}
    assert folder.damaged == (2, 3)
    assert lines(folder) == broken


def test_two_processes_cannot_write_one_run(tmp_path: Path) -> None:
    folder = filled(tmp_path, Generation(id="a"))
    code = (
        "import sys\n"
        "from groundingme.errors import RunError\n"
        "from groundingme.store import RunFolder\n"
        "try:\n"
        "    with RunFolder.open(sys.argv[1]).lock(): print('free')\n"
        "except RunError as error: print(error)\n"
    )

    def other() -> str:
        command = [sys.executable, "-c", code, str(folder.path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with folder.lock():
        said = other()
        assert f"held by process {os.getpid()} on " in said
        assert said.count("\n") == 1
    assert other() == "free\n"
    assert not (folder.path / ".holder").exists()


def test_a_manifest_that_was_changed_is_not_written_over(tmp_path: Path) -> None:
    folder = RunFolder.find_or_create(tmp_path, RUN)
    manifest = folder.path / "run.json"
    for content in ("{", manifest.read_text().replace("find ", "seek ")):
        manifest.write_text(content)
        with pytest.raises(RunError, match="move the folder away"):
            RunFolder.find_or_create(tmp_path, RUN)
        assert manifest.read_text() == content
    assert [one.run.prompt for one in list_runs(tmp_path)] == ["seek {description}"]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\xfe", b"[1]"])
def test_what_is_no_run_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RunError) as caught:
        RunFolder.open(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="can be written"):
        RunFolder.find_or_create(tmp_path / "file" / "runs", RUN)


def test_a_full_disk_stops_the_run_and_leaves_no_half_line(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("needs limits on the size of files")
    code = (
        "import resource, signal, sys\n"
        "from groundingme.errors import JobError\n"
        "from groundingme.schema import Generation\n"
        "from groundingme.store import RunFolder\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "folder = RunFolder.open(sys.argv[1])\n"
        "with folder.lock():\n"
        "    folder.append(Generation(id='a', text='x' * 1000))\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "    try: folder.append(Generation(id='b', text='y' * 9000))\n"
        "    except JobError as error: print(error)\n"
    )
    folder = RunFolder.find_or_create(tmp_path, RUN)
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder.path)], capture_output=True, text=True, check=True
    )
    assert "everything before is kept" in done.stdout
    assert list(folder.generations()) == ["a"]
    assert lines(folder).endswith(b"\n")
    assert lines(folder).count(b"\n") == 1
