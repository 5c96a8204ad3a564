"""Every message of the command for people: one line, the right exit code, and what to do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from chat import ChatServer, Reply
from groundingme.cli import main


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, a run, replies, and much that is none of these."""
    here = tmp_path_factory.mktemp("place")
    (here / "data").mkdir()
    Image.new("RGB", (100, 100), "navy").save(here / "data" / "one.png")
    rows = [
        {
            "id": number,
            "image": "one.png",
            "description": f"thing {number}",
            "bbox": None if number % 2 else [25, 25, 75, 75],
            "subtask_l1": "Rejection" if number % 2 else "Spatial",
            "width": 100,
            "height": 100,
        }
        for number in range(4)
    ]
    write = {
        "data/samples.jsonl": "\n".join(map(json.dumps, rows)),
        "replies.jsonl": "\n".join(json.dumps({"id": n, "reply": "null"}) for n in range(4)),
        "twice.jsonl": '{"id": 1, "reply": "a"}\n{"id": 1, "reply": "b"}',
        "torn.jsonl": '{"id": 1, "reply": "a"}\nnope',
        "strangers.jsonl": '{"id": 77, "reply": "a"}',
        "empty.jsonl": "",
        "afile": "x",
        "fake.parquet": "PAR1zzzz",
        "fake.tsv": "a\tb\n1\t2\n",
        "fake.xlsx": "PK\3\4zzz",
        "nothing/notes.txt": "",
        "broken/run.json": "{",
        "prose/samples.jsonl": "hello",
        "wordless/samples.jsonl": '{"a": 1}',
    }
    for name, text in write.items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(text)
    (here / "bytes.dat").write_bytes(bytes(range(256)))
    made = command(here, "eval", "baseline/null", "--data", "data", "--json")
    (here / "run").symlink_to(json.loads(made.stdout)["run"])
    bare = command(here, "eval", "baseline/null", "--data", "data", "--out", "bare", "--json")
    (here / json.loads(bare.stdout)["run"] / "samples.jsonl").unlink()
    (here / "barerun").symlink_to(json.loads(bare.stdout)["run"])
    return here


def command(
    cwd: Path, *args: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "HF_"))}
    return subprocess.run(
        [sys.executable, "-m", "groundingme", *args],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env={**clean, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", **(env or {})},
        check=False,
    )


EVAL = "eval baseline/null --data data --quiet"
OPENAI = "eval openai/m --data data --quiet --coords abs"

MISTAKES = [
    ("evel", "did you mean 'eval'"),
    ("--nope", "'--nope'"),
    ("eval baseline/null", "--data groundingme"),
    ("eval nobody/x --data data", "known: anthropic, baseline"),
    ("eval openai --data data", "PROVIDER/NAME"),
    ("eval openai/ --data data", "PROVIDER/NAME"),
    ("eval baseline/centre --data data", "did you mean 'center'"),
    (f"{EVAL} --protocol strikt", "did you mean 'strict'"),
    (f"{EVAL} --coords n100", "did you mean 'n1000'"),
    (f"{EVAL} --prompt unifid", "did you mean 'unified'"),
    (f"{EVAL} --limit 0", "x>=1"),
    (f"{EVAL} --concurrency 0", "auto or a number of 1 or more"),
    (f"{EVAL} --concurrency many", "'many'"),
    (f"{EVAL} --temperature -1", "temperature of 0 or more"),
    (f"{EVAL} --temperature nan", "temperature of 0 or more"),
    (f"{EVAL} --max-tokens 0", "max_tokens of 1 or more"),
    (f"{EVAL} --jpeg-quality 100", "--jpeg-quality"),
    (f"{EVAL} --split test", "test.jsonl"),
    (f"{EVAL} --subset Spatiel", "did you mean 'Spatial'"),
    (f"{EVAL} --subset Limited", "another subset"),
    (f"{EVAL} --out afile", "afile (Not a directory)"),
    (f"{EVAL} --option x", "NAME=VALUE"),
    (f"{EVAL} --base-url http://x", "takes no options"),
    (f"{OPENAI} --base-url localhost", "http://localhost:8000/v1"),
    (f"{OPENAI} --base-url http://", "http://localhost:8000/v1"),
    (f"{OPENAI} --extra-body {{", "--extra-body"),
    (f"{OPENAI} --extra-body [1]", "JSON object"),
    (f"{OPENAI} --header x", "NAME=VALUE"),
    (f"{OPENAI} --timeout 0", "timeout of more than 0"),
    (f"{OPENAI} --option timeout=soon", "timeout='soon'"),
    (f"{OPENAI} --option tiemout=1", "did you mean 'timeout'"),
    ("eval mock/no.jsonl --data data", "no.jsonl"),
    ("eval mock/torn.jsonl --data data", '"reply"'),
    ("eval mock/replies.jsonl --data data --option script=x", "from Python"),
    ("eval baseline/null --data nowhere", "'nowhere'"),
    ("data check nothing", "JSONL with image paths"),
    ("data check afile", "JSONL with image paths"),
    ("data check fake.parquet", "not a parquet file"),
    ("data check fake.tsv", "missing: answer, index, question"),
    ("data check prose", "prose/samples.jsonl, line 1"),
    ("data check wordless", "expected a description"),
    ("data check empty.jsonl", "an empty file"),
    ("data check folder", "folder:PATH"),
    ("data check folder:nowhere", "check the path"),
    ("data check nofmt:data", "'nofmt'"),
    ("data check refcoco:data", "refs(*).p"),
    ("data check nobody/nothing", "check the name and the connection"),
    ("data check a/b/c", "check the path"),
    ("data chek data", "'check'"),
    ("data show data --id 9", "known: 0, 1, 2, 3"),
    ("data show data --out afile/x.png", "picture file"),
    ("data show data --out x.zzz", "such as sheet.png"),
    ("score", "RUN_OR_FILE"),
    ("score nowhere", "--data"),
    ("score replies.jsonl", "--data"),
    ("score twice.jsonl --data data", "twice.jsonl, line 2"),
    ("score torn.jsonl --data data", "torn.jsonl, line 2"),
    ("score empty.jsonl --data data", "empty file"),
    ("score bytes.dat --data data", "UTF-8"),
    ("score strangers.jsonl --data data", "'77'"),
    ("score nothing --data data", "without generations.jsonl"),
    ("score fake.tsv --data data", "columns 'a', 'b'"),
    ("score fake.xlsx --data data", "damaged"),
    ("score data/samples.jsonl --data data", "the keys 'id', 'image'"),
    ("score replies.jsonl --data data --subset Limited", "another subset"),
    ("score broken", "restore it"),
    ("score barerun", "--data DATA"),
    ("score run --data nowhere", "'nowhere'"),
    ("ls nowhere", "check the path"),
    ("ls afile", "check the path"),
    ("show nowhere", "groundingme ls"),
    ("show broken", "restore it"),
    ("show run --id 9", "known: 0, 1, 2, 3"),
    ("show run --id 0 --wrong", "one at a time"),
    ("show run --wrong --limit 0", "1<=x<=999"),
]


@pytest.mark.parametrize(("line", "said"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(
    place: Path, monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    done = CliRunner().invoke(main, line.split(), prog_name="groundingme")
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("groundingme: ")
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(status=401), "put a valid key into OPENAI_API_KEY"),
        (Reply(status=404), "check the base URL and the name 'm'"),
        (Reply(status=400, body="m is not a multimodal model"), "serve a model that sees"),
        (Reply(status=429, body='{"error": {"code": "insufficient_quota"}}'), "quota"),
    ],
)
def test_what_every_request_would_share_ends_the_run_in_one_line(
    place: Path, reply: Reply, said: str
) -> None:
    with ChatServer(default=lambda description: reply) as server:
        done = command(
            place, *OPENAI.split(), "--base-url", server.base_url, "--out", f"runs{reply.status}"
        )
    assert done.returncode == 1, done.stderr
    assert said in done.stderr
    assert "the same command continues there" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert len(server.asked) <= 4


def test_a_server_that_is_down_is_said_at_once(place: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        line = f"{OPENAI} --base-url {address} --out down --retries 1"
        done = command(place, *line.split())
    assert done.returncode == 1
    assert f"nobody answers at {address}: connection refused (asked 2 times" in done.stderr
    assert "start the server, or check its address" in done.stderr
    assert done.stderr.count("\n") == 1
    (file,) = (place / "down").glob("*/generations.jsonl")
    assert file.read_bytes() == b""


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(status=400), "failed, bad-request: 4 samples, such as '0'"),
        (Reply(status=500), "failed, server: 4 samples"),
        (Reply(drop=True), "failed, connection: 4 samples"),
        (Reply(body="<html>a proxy</html>"), "failed, bad-reply: 4 samples"),
        (Reply(delay=60), "failed, timeout: 4 samples"),
    ],
)
def test_a_run_in_which_everything_failed(
    place: Path, tmp_path: Path, reply: Reply, said: str
) -> None:
    with ChatServer(default=lambda description: reply) as server:
        patience = 1 if reply.delay else 60
        line = f"{OPENAI} --base-url {server.base_url} --out {tmp_path}"
        line += f" --retries 0 --timeout {patience}"
        done = command(place, *line.split())
        figures = command(place, *line.split(), "--json")
    assert done.returncode == figures.returncode == 1
    assert said in done.stdout
    assert done.stdout.startswith("No score: none of 4 samples has a reply.\n")
    assert "Acc@0.5" not in done.stdout
    for one in (done, figures):
        assert "4 of 4 samples failed" in one.stderr
        assert one.stderr.count("\n") == 1
    found = json.loads(figures.stdout)
    assert found["failed"] == 4
    assert found["ACC@0.5"] is found["IoU"] is found["Rejection_ACC@0.5"] is None
    (folder,) = tmp_path.glob("*/scores.json")
    assert json.loads(folder.read_text())["ACC@0.5"] is None
    (listed,) = json.loads(command(place, "ls", str(tmp_path), "--json").stdout)["runs"]
    assert (listed["done"], listed["ACC@0.5"]) == (0, None)
    assert "–" in command(place, "ls", str(tmp_path)).stdout


@pytest.mark.parametrize(
    ("failing", "options", "code", "lead"),
    [
        (2, "", 1, "Not a result: 2 of 4 samples have no reply (50.0 %, where 5 % may)."),
        (2, "--max-failed 0.5", 0, ""),
        (1, "--max-failed 0.2", 1, "Not a result: 1 of 4 samples have no reply (25.0 %, where 20 % may)."),  # noqa: E501
        (0, "--max-failed 0", 0, ""),
        (4, "--max-failed 1", 1, "No score: none of 4 samples has a reply."),
    ],
)  # fmt: skip
def test_a_run_that_could_not_be_done_says_so_first(
    place: Path, tmp_path: Path, failing: int, options: str, code: int, lead: str
) -> None:
    script = {f"thing {n}": [Reply(status=400)] for n in range(failing)}
    with ChatServer(script) as server:
        line = f"{OPENAI} --base-url {server.base_url} --out {tmp_path} {options}"
        done = command(place, *line.split())
        figures = command(place, *line.split(), "--json")
    assert done.returncode == figures.returncode == code, done.stderr
    assert done.stdout.strip().startswith(lead or "openai/m on data")
    assert json.loads(figures.stdout)["incomplete"] == lead
    assert json.loads(figures.stdout)["failed"] == failing
    # What is demanded of a run is no figure of its replies.
    (folder,) = tmp_path.glob("*/scores.json")
    assert "incomplete" not in folder.read_text()


def test_a_broken_run_does_not_hide_the_others(place: Path) -> None:
    listed = command(place, "ls", "--json")
    assert [one["model"] for one in json.loads(listed.stdout)["runs"]] == ["baseline/null"]
    broken = command(place, "ls", ".", "--json")
    names = [Path(one["run"]).name for one in json.loads(broken.stdout)["runs"]]
    assert names == ["run"]
    assert broken.stderr.count("left out: ") == 2  # broken, and the one without its samples
    assert broken.returncode == 0
