"""Publishing targets: what is written reads back, and its card is true."""

from __future__ import annotations

import base64
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from groundingme.build import card
from groundingme.build.publish import DATA, PublishOptions, as_dataset, publish, push, whole
from groundingme.build.records import Change, Target
from groundingme.build.sources import place
from groundingme.build.stage import Context
from groundingme.datasets import load_dataset
from groundingme.errors import DataError, UsageError


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> list[Target]:
    folder = tmp_path_factory.mktemp("photos")
    found = []
    for number, sample in enumerate(load_dataset("scenes:seed=8,n=20,width=320,height=256")):
        assert sample.image is not None
        path = folder / f"{number}.jpg"
        path.write_bytes(sample.image.read())
        rejected = sample.target is None
        found.append(
            Target(
                id=f"{number}.jpg#0",
                picture=path.name,
                where=place(str(folder), path.name),
                width=sample.width,
                height=sample.height,
                box=sample.target or (10.4, 20.6, 50.2, 60.9),
                label=sample.detection_type or "thing",
                score=0.9,
                subtask_l1=sample.subtask_l1,
                subtask_l2=sample.subtask_l2,
                others=[(0.0, 0.0, 9.0, 9.0)] * (number % 3),
                description=sample.description,
                original="a true one" if rejected else "",
                changes=[Change(kind=sample.subtask_l2, before="red", after="blue", by="rules")]
                if rejected
                else [],
                rank=number / 20,
            )
        )
    return found


def copies(targets: list[Target]) -> list[Target]:
    return [msgspec.structs.replace(one) for one in targets]


def test_what_is_published_reads_back(targets: list[Target], tmp_path: Path) -> None:
    options = PublishOptions(layouts=["coco", "tsv", "refcoco", "label-studio", "folder"])
    publish(copies(targets), options, Context(tmp_path))
    mine = as_dataset(targets, "x")
    for where in (tmp_path / DATA, tmp_path / "tsv" / "test.tsv", tmp_path / "folder"):
        there = load_dataset(str(where))
        assert there.fingerprint == mine.fingerprint, where
    for one in load_dataset(str(tmp_path / DATA)):
        assert one.image is not None
        assert one.image.read()
    rejected = load_dataset(f"refcocog_rej:{tmp_path / 'refcoco' / 'rejected'}", split="test")
    assert [one.extra["original_exp"] for one in rejected] == ["a true one"] * len(rejected)
    assert (tmp_path / "coco" / "annotations.json").exists()
    assert (tmp_path / "label-studio" / "tasks.json").exists()


def test_published_again_it_is_the_same_to_the_byte(targets: list[Target], tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        publish(copies(targets), PublishOptions(), Context(tmp_path / name))
    files = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()]
    assert len(files) > 4
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path


def test_what_does_not_go_on_is_left_out_and_counted(targets: list[Target], tmp_path: Path) -> None:
    mine = copies(targets)
    mine[0].fate = "no-rule"
    mine[1].failure = "describe: timeout"
    mine[2].description = ""
    mine[3].flags = ["found"]
    after = publish(mine, PublishOptions(without=["found"], min_rank=0.25), Context(tmp_path))
    assert [one.fate for one in after[:6]] == [
        "no-rule", "", "undescribed", "flagged found", "low-rank", "",
    ]  # fmt: skip
    assert len(load_dataset(str(tmp_path / DATA))) == 15
    assert "5 targets were left out" in (tmp_path / DATA / "README.md").read_text()


def test_a_rejection_whose_description_is_still_true_is_not_published(
    targets: list[Target], tmp_path: Path
) -> None:
    mine = copies(targets)
    rejections = [one for one in mine if one.is_rejection]
    assert rejections
    rejections[0].changes = []
    publish(mine, PublishOptions(), Context(tmp_path))
    assert rejections[0].fate == "still-true"
    assert len(load_dataset(str(tmp_path / DATA))) == len(targets) - 1


def test_nothing_left_is_an_error(targets: list[Target], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got none of 20"):
        publish(copies(targets), PublishOptions(min_rank=1), Context(tmp_path))


def test_the_card_says_what_is_in_the_data(targets: list[Target]) -> None:
    found = card.figures(targets)
    assert found.samples == found.images == 20
    assert sum(found.subtasks.values()) == 20
    sides = [(one.width * one.height) ** 0.5 for one in targets]
    assert found.image_side == pytest.approx((min(sides), max(sides)))
    words = sorted(len(one.description.split()) for one in targets)
    # The median of 20 numbers is the mean of the two in the middle.
    assert found.words[1] == (words[9] + words[10]) / 2
    assert found.same_class[0] >= 1
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one.box for one in targets)]
    assert found.object_side == pytest.approx((min(areas) ** 0.5, max(areas) ** 0.5))


def test_the_card_has_a_header_that_the_hub_reads(targets: list[Target], tmp_path: Path) -> None:
    from huggingface_hub import DatasetCard

    options = PublishOptions(name='a "name": | with', license="cc-by-4.0", authors=["A. B."])
    publish(copies(targets), options, Context(tmp_path))
    read = DatasetCard.load(tmp_path / DATA / "README.md")
    assert read.data.pretty_name == options.name
    assert read.data.license == "cc-by-4.0"
    assert read.data.configs == [
        {"config_name": "default", "data_files": [{"split": "test", "path": "data/test-*.parquet"}]}
    ]


def test_provenance_has_a_line_a_sample_and_no_path_of_this_machine(
    targets: list[Target], tmp_path: Path
) -> None:
    publish(copies(targets), PublishOptions(), Context(tmp_path))
    text = (tmp_path / DATA / "provenance.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    there = load_dataset(str(tmp_path / DATA))
    assert [one["sample"] for one in lines] == [one.id for one in there]
    assert [one["target"] for one in lines] == [one.id for one in targets]
    assert targets[0].where.partition("/./")[0] not in text


def test_croissant_names_every_file_and_column(targets: list[Target], tmp_path: Path) -> None:
    import hashlib

    import pyarrow.parquet as pq

    publish(copies(targets), PublishOptions(name="my set"), Context(tmp_path))
    told = json.loads((tmp_path / DATA / "croissant.json").read_text())
    (file,) = told["distribution"]
    data = (tmp_path / DATA / file["contentUrl"]).read_bytes()
    assert file["sha256"] == hashlib.sha256(data).hexdigest()
    (records,) = told["recordSet"]
    columns = {one["source"]["extract"]["column"] for one in records["field"]}
    assert columns == set(pq.read_schema(tmp_path / DATA / file["contentUrl"]).names)


def test_the_card_tells_settings_without_paths_of_this_machine(
    targets: list[Target], tmp_path: Path
) -> None:
    history = [
        {
            "stage": "source",
            "options": {"path": "/home/somebody/photos", "limit": 5, "tags": ["/a/b.txt", "cup"]},
            "records": 9,
            "goes_on": 7,
            "reasons": {"small": 2},
            "boxes": {},
        }
    ]
    publish(copies(targets), PublishOptions(), Context(tmp_path, history=lambda: history))
    text = (tmp_path / DATA / "README.md").read_text()
    assert "somebody" not in text
    assert "/a/" not in text
    assert '"path": "photos"' in text
    assert "| source | 7 | 2 small |" in text


@pytest.mark.parametrize(
    ("box", "there"),
    [
        ((10.5, 20.4, 30.6, 40.5), (10, 20, 31, 40)),
        ((-3, -2, 5, 5), (0, 0, 5, 5)),
        ((90, 90, 130, 130), (90, 90, 100, 100)),
        ((99.9, 99.9, 100, 100), (99, 99, 100, 100)),
        ((5.1, 5.1, 5.2, 5.2), (5, 5, 6, 6)),
    ],
)
def test_boxes_in_whole_pixels_stay_inside_and_have_an_area(
    box: tuple[float, ...], there: tuple[int, ...]
) -> None:
    assert whole(box, 100, 100) == there  # type: ignore[arg-type]


class _Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub as an upload asks for; what is committed is kept in `files`."""

    files: ClassVar[dict[str, bytes]] = {}
    refuses: ClassVar[bool] = False
    blobs: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        if self.refuses:
            self._reply({"error": "no such data set"}, 404)
            return
        self._reply({"sha": "0" * 40, "id": "me/set", "siblings": []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.refuses:
            self._reply({"error": "no such namespace"}, 403)
        elif self.path == "/api/repos/create":
            self._reply({"url": f"{self._base}/datasets/me/set"})
        elif self.path == "/api/validate-yaml":
            self._reply({"errors": [], "warnings": []})
        elif self.path.endswith("/preupload/main"):
            names = [one["path"] for one in json.loads(body)["files"]]
            mode = [
                {"path": one, "uploadMode": self._mode(one), "shouldIgnore": False} for one in names
            ]
            self._reply({"files": mode})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            self._reply(
                {"transfer": "basic", "objects": [
                    {"oid": one["oid"], "size": one["size"],
                     "actions": {"upload": {"href": f"{self._base}/blob/{one['oid']}"}}}
                    for one in objects]}
            )  # fmt: skip
        elif "/commit/main" in self.path:
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    self.files[value["path"]] = self.blobs[value["oid"]]
            self._reply(
                {
                    "commitUrl": f"{self._base}/datasets/me/set/commit/{'1' * 40}",
                    "commitOid": "1" * 40,
                }
            )
        else:
            self._reply({}, 404)

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.blobs[self.path.rpartition("/")[2]] = data
        self._reply({})

    @staticmethod
    def _mode(path: str) -> str:
        return "lfs" if path.endswith(".parquet") else "regular"

    @property
    def _base(self) -> str:
        return f"http://{self.headers['Host']}"

    def _reply(self, told: object, status: int = 200) -> None:
        data = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    _Hub.files.clear()
    _Hub.refuses = False
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def pushed(folder: Path, hub: str) -> subprocess.CompletedProcess[str]:
    """As in a process of its own: the library reads the Hub's address when it is imported."""
    code = "import sys; from groundingme.build.publish import push; from pathlib import Path; "
    code += "print(push(Path(sys.argv[1]), 'me/set'))"
    return subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env={**os.environ, "HF_ENDPOINT": hub}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_push_uploads_every_file(targets: list[Target], tmp_path: Path, hub: str) -> None:
    publish(copies(targets), PublishOptions(), Context(tmp_path))
    done = pushed(tmp_path / DATA, hub)
    assert done.stdout.strip().endswith("/commit/" + "1" * 40), done.stderr
    mine = {
        str(path.relative_to(tmp_path / DATA)): path.read_bytes()
        for path in (tmp_path / DATA).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    assert mine == _Hub.files


def test_a_push_that_is_refused_says_so(targets: list[Target], tmp_path: Path, hub: str) -> None:
    publish(copies(targets), PublishOptions(), Context(tmp_path))
    _Hub.refuses = True
    assert "JobError: the Hub did not take me/set" in pushed(tmp_path / DATA, hub).stderr
    with pytest.raises(UsageError, match="expected a published data set"):
        push(tmp_path, "me/set")
