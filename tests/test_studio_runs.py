"""The studio's API of runs: lists, filters, samples, comparisons, live progress, asking, CSV."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from groundingme import evaluate, geometry
from groundingme.comparison import Comparison
from groundingme.datasets import Dataset, load_dataset
from groundingme.evaluation import score
from groundingme.loading import load_aligned
from groundingme.mistakes import KINDS, classify, other_boxes
from groundingme.scale.court import VERDICTS
from groundingme.scale.sampling import sample
from groundingme.schema import Generation, Run
from groundingme.store import RunFolder
from groundingme.studio import sheets
from groundingme.studio.board import figures_of, ranks
from groundingme.studio.library import Library
from groundingme.studio.live import is_running
from groundingme.studio.settings import Settings
from groundingme.studio.spans import spans
from studio_app import MakeApp, enter, make_app

__all__ = ["make_app"]

SPEC = "scenes:seed=3,n=36"
MODELS = ("baseline/center", "baseline/null", "builtin/grounder")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three runs on the same scenes, and one with four trajectories."""
    out = tmp_path_factory.mktemp("made") / "runs"
    for model in MODELS:
        evaluate(model, SPEC, out=out)
    sample("builtin/grounder", "scenes:seed=3,n=6", n=4, temperature=2.0, out=out)
    return out


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "runs"))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list waits for all of its figures: a busy machine may need longer than the page's time."""
    monkeypatch.setattr("groundingme.studio.api.runs.PATIENCE", float("inf"))


@pytest.fixture
def client(make_app: MakeApp, runs: Path) -> TestClient:
    return enter(make_app(), "Ann")


def ids(runs: Path) -> dict[str, str]:
    """Run ids by model; the run with several trajectories as `sampled`."""
    found = {}
    for path in runs.iterdir():
        run = RunFolder.open(path).run
        found["sampled" if run.settings.get("sampled") else run.model] = path.name
    return found


def get(client: TestClient, address: str, **query: Any) -> Any:
    answer = client.get(address, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows_of(client: TestClient, address: str, **query: Any) -> list[dict[str, str]]:
    answer = client.get(address, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


def refused(client: TestClient, address: str, status: int, **query: Any) -> None:
    answer = client.get(address, params=query)
    assert answer.status_code == status, answer.text
    message = answer.json()["error"]["message"]
    assert message
    assert "\n" not in message


# Lists


def test_the_list_has_the_figures_of_every_run(client: TestClient, runs: Path) -> None:
    found = get(client, "/api/runs")
    assert (found["total"], found["pending"]) == (4, 0)
    for one in found["items"]:
        result = score(runs / one["id"])
        assert one["accuracy"]["value"] == pytest.approx(result.accuracy)
        assert one["accuracy"]["low"] <= result.accuracy <= one["accuracy"]["high"]
        rejected = result.metrics.get("Rejection_ACC@0.5")
        assert one["rejection"]["value"] == (None if rejected is None else pytest.approx(rejected))
        assert (one["samples"], one["failed"]) == (len(result.scores), 0)
        assert one["done"] == one["samples"]
        assert one["running"] is False
    created = [one["created"] for one in found["items"]]
    assert created == sorted(created, reverse=True)


def test_ranks_are_those_of_a_comparison(client: TestClient, runs: Path) -> None:
    known = ids(runs)
    names = [known[model] for model in MODELS]
    entries, _ = load_aligned([runs / name for name in names])
    compared = {one.entry: one.rank for one in Comparison(entries).standings}
    listed = {one["id"]: one["rank"] for one in get(client, "/api/runs")["items"]}
    assert [tuple(listed[name]) for name in names] == [compared[at] for at in range(3)]
    assert listed[known["sampled"]] is None, "it is alone on its data"


def test_ranks_of_runs_that_share_images(tmp_path: Path) -> None:
    """Close runs on 60 samples of 20 images: the same ranks as those of a comparison."""
    data = Dataset(name="d", source="d", samples=_shared_samples(60))
    for at, skill in enumerate((0.2, 0.55, 0.6, 0.9)):
        _shared_run(tmp_path / "runs", f"m{at}", data, skill, at)
    paths = sorted((tmp_path / "runs").iterdir())
    library = Library(Settings(runs=tmp_path / "runs", home=tmp_path))
    entries, _ = load_aligned(paths)
    compared = {one.entry: one.rank for one in Comparison(entries).standings}
    found = ranks([figures_of(library.open(path.name)) for path in paths])
    assert found == [compared[at] for at in range(len(paths))]
    assert len(set(found)) > 1


def _shared_samples(count: int) -> list[Any]:
    from groundingme.images import FileImage
    from groundingme.schema import Sample

    return [
        Sample(
            id=f"s/{at}",
            description=f"thing {at}",
            target=None if at % 4 == 0 else (10, 10, 60, 60),
            width=100,
            height=100,
            image=FileImage(f"{at // 3}.jpg"),
            subtask_l1="Rejection" if at % 4 == 0 else "Spatial",
            subtask_l2="Text" if at % 4 == 0 else "Counting",
        )
        for at in range(count)
    ]


def _shared_run(out: Path, name: str, data: Dataset, skill: float, seed: int) -> RunFolder:
    from groundingme.saving import save_samples

    rng = np.random.default_rng(seed)
    run = Run(
        model=f"mock/{name}", data="d", data_name="d", data_fingerprint=data.fingerprint,
        samples=len(data), prompt="{description}",
    )  # fmt: skip
    folder = RunFolder.find_or_create(out, run)
    with folder.lock():
        save_samples(data, folder.path)
        for one in data:
            right = rng.random() < skill
            null = (one.target is None) == right
            box = None if null else [10, 10, 60, 60]
            folder.append(
                Generation(
                    id=one.id,
                    text=json.dumps({"bbox_2d": box}),
                    image_digest=f"sha256:{one.image.name if one.image else ''}",
                )
            )
    return folder


def test_figures_are_kept_on_disk_until_the_run_changes(
    make_app: MakeApp, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = get(enter(make_app(), "Ann"), "/api/runs")

    def never(*args: Any) -> None:
        raise AssertionError("a run was opened though its figures are on disk")

    with monkeypatch.context() as patch:
        patch.setattr(Library, "open", never)
        again = enter(make_app(), "Ann")
        assert get(again, "/api/runs") == before
    path = runs / ids(runs)["baseline/null"]
    text = (path / "generations.jsonl").read_text().splitlines()
    (path / "generations.jsonl").write_text("\n".join(text[:-1]) + "\n")
    after = {one["id"]: one for one in get(enter(make_app(), "Ann"), "/api/runs")["items"]}
    assert after[path.name]["done"] == 35
    assert after[path.name]["rank"] is None, "one sample was not asked"


def test_a_list_that_is_not_computed_says_so(
    make_app: MakeApp, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groundingme.studio.api.runs.PATIENCE", 0.0)
    client = enter(make_app(), "Ann")
    found = get(client, "/api/runs")
    assert found["pending"] == 4
    assert all(one["pending"] and one["accuracy"]["value"] is None for one in found["items"])
    assert len(rows_of(client, "/api/runs.csv")) == 4
    assert get(client, "/api/runs")["pending"] == 0


def test_a_list_can_be_filtered_and_paged(client: TestClient, runs: Path) -> None:
    assert get(client, "/api/runs", model="builtin/grounder")["total"] == 2
    assert get(client, "/api/runs", data=SPEC)["total"] == 3
    assert get(client, "/api/runs", query="NULL")["total"] == 1
    whole = [one["id"] for one in get(client, "/api/runs")["items"]]
    parts = [get(client, "/api/runs", offset=at, limit=1)["items"][0]["id"] for at in range(4)]
    assert parts == whole
    refused(client, "/api/runs", 400, protocol="lenient")
    refused(client, "/api/runs", 422, limit=1001)
    refused(client, "/api/runs", 422, offset=-1)


def test_a_damaged_run_does_not_hide_the_others(client: TestClient, runs: Path) -> None:
    path = runs / ids(runs)["baseline/null"]
    (path / "samples.jsonl").write_text("{")
    found = {one["id"]: one for one in get(client, "/api/runs")["items"]}
    assert "damaged" in found[path.name]["problem"]
    assert found[path.name]["accuracy"]["value"] is None
    assert sum(one["rank"] is not None for one in found.values()) == 2
    refused(client, f"/api/runs/{path.name}", 400)


# A run


def test_the_matrix_adds_up(client: TestClient, runs: Path) -> None:
    name = ids(runs)["builtin/grounder"]
    page = get(client, f"/api/runs/{name}")
    rows = page["rows"]
    result = score(runs / name)
    assert rows[0]["accuracy"] == pytest.approx(result.accuracy)
    for level in ((r for r in rows if r["l1"] and not r["l2"]), (r for r in rows if r["l2"])):
        listed = list(level)
        for field in ("n", "right", "unparsed", "failed"):
            assert sum(one[field] for one in listed) == rows[0][field]
    for one in rows:
        assert 0 <= one["low"] <= one["accuracy"] <= one["high"] <= 1
    assert sum(page["mistakes"].values()) == 36
    assert page["prompt"] == RunFolder.open(runs / name).run.prompt
    assert "strict" in page["protocols"]
    table = rows_of(client, f"/api/runs/{name}/rows.csv")
    assert [float(one["accuracy"]) for one in table] == [one["accuracy"] for one in rows]
    assert [one["l2"] for one in table] == [one["l2"] for one in rows]


def test_other_protocols_give_their_own_figures(client: TestClient, runs: Path) -> None:
    name = ids(runs)["builtin/grounder"]
    for protocol in ("official", "official-lmms-eval"):
        page = get(client, f"/api/runs/{name}", protocol=protocol)
        expected = score(runs / name, protocol=protocol).accuracy
        assert page["accuracy"]["value"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "query",
    [
        {}, {"l1": "Rejection"}, {"l1": "Spatial", "l2": "Counting"}, {"outcome": "rejected"},
        {"right": "false"}, {"right": "true", "l1": "Limited"}, {"kind": "missed rejection"},
        {"query": "RED"}, {"query": "0003"}, {"right": ""},
    ],
    ids=str,
)  # fmt: skip
def test_filters(client: TestClient, runs: Path, query: dict[str, str]) -> None:
    """What passes is what a plain loop over the scores finds, page by page the same."""
    name = ids(runs)["builtin/grounder"]
    result = score(runs / name)
    kinds = classify(result.scores, other_boxes(result.samples)).kind
    wanted = []
    for at, (one, scored) in enumerate(zip(result.samples, result.scores, strict=True)):
        right = {"true": scored.iou >= 0.5, "false": scored.iou < 0.5, "": True}
        passes = (
            query.get("l1", one.subtask_l1) == one.subtask_l1
            and query.get("l2", one.subtask_l2) == one.subtask_l2
            and query.get("outcome", scored.outcome) == scored.outcome
            and right[query.get("right", "")]
            and query.get("kind", KINDS[kinds[at]]) == KINDS[kinds[at]]
            and query.get("query", "").lower() in f"{one.id} {one.description}".lower()
        )
        wanted += [one.id] if passes else []
    place = f"/api/runs/{name}/samples"
    found: list[str] = []
    while True:
        page = get(client, place, offset=len(found), limit=5, **query)
        assert page["total"] == len(wanted)
        found += [one["id"] for one in page["items"]]
        if not page["items"]:
            break
    assert found == wanted
    assert [one["id"] for one in rows_of(client, f"{place}.csv", **query)] == wanted
    assert wanted or query == {"kind": "missed rejection"}


@pytest.mark.parametrize("order", ["iou", "confidence", "tokens", "latency", "description", "id"])
def test_orders(client: TestClient, runs: Path, order: str) -> None:
    place = f"/api/runs/{ids(runs)['builtin/grounder']}/samples"
    base = [one["id"] for one in get(client, place)["items"]]
    up, down = (get(client, place, order=one)["items"] for one in (order, f"-{order}"))
    assert sorted(one["id"] for one in up) == sorted(base)
    assert sorted(one["id"] for one in down) == sorted(base)
    if order in ("confidence", "latency"):
        values = [one[order] for one in up]
        assert values == sorted(values)
        assert [one[order] for one in down] == sorted(values, reverse=True)
    if order == "tokens":
        assert [one["id"] for one in up] == base, "nobody counted, so the order stays"


def test_words_that_are_none(client: TestClient, runs: Path) -> None:
    place = f"/api/runs/{ids(runs)['builtin/grounder']}/samples"
    for query in ({"order": "size"}, {"outcome": "wrong"}, {"kind": "bad"}):
        refused(client, place, 400, **query)
    refused(client, place, 422, right="perhaps")
    assert get(client, place, l1="Nowhere")["total"] == 0
    assert get(client, place, offset=10**9)["items"] == []


def test_csv_has_what_the_table_has(client: TestClient, runs: Path) -> None:
    place = f"/api/runs/{ids(runs)['builtin/grounder']}/samples"
    items = get(client, place, order="-iou")["items"]
    table = rows_of(client, f"{place}.csv", order="-iou")
    assert len(table) == len(items)
    for row, item in zip(table, items, strict=True):
        assert row["description"] == sheets.cell(item["description"])
        assert row["right"] == str(item["right"]).lower()
        assert (row["iou"] == "") == (item["iou"] is None)
        if item["box"]:
            edges = [float(row[f"box_{edge}"]) for edge in ("x1", "y1", "x2", "y2")]
            assert edges == item["box"]
    listed = get(client, "/api/runs")["items"]
    for row, item in zip(rows_of(client, "/api/runs.csv"), listed, strict=True):
        assert row["id"] == item["id"]
        assert float(row["accuracy_low"]) == item["accuracy"]["low"]


def test_a_spreadsheet_computes_nothing() -> None:
    risky = ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1"]
    rows = [{"text": one, "n": -0.5} for one in risky]
    read = list(csv.DictReader(io.StringIO("".join(sheets.lines(("text", "n"), rows)), newline="")))
    assert [one["text"] for one in read] == [f"'{one}" for one in risky]
    assert {one["n"] for one in read} == {"-0.5"}


# A sample


def test_a_sample_has_all_that_is_known(client: TestClient, runs: Path) -> None:
    name = ids(runs)["builtin/grounder"]
    result = score(runs / name)
    data = {one.id: one for one in load_dataset(SPEC)}
    for one in get(client, f"/api/runs/{name}/samples")["items"]:
        page = get(client, f"/api/runs/{name}/samples/{one['id']}")
        known = data[one["id"]]
        assert page["description"] == known.description
        assert page["target"] == (list(known.target) if known.target else None)
        assert (page["width"], page["height"]) == (known.width, known.height)
        said = result.generations[one["id"]]
        assert (page["reply"], page["reasoning"]) == (said.text, said.reasoning)
        if page["target"] and page["box"]:
            assert page["iou"] == pytest.approx(
                float(geometry.iou([page["box"]], [page["target"]])[0])
            )
        for span in page["spans"]:
            text = {"text": page["reply"], "reasoning": page["reasoning"]}[span["field"]]
            part = text[span["start"] : span["end"]]
            assert [float(one) for one in re.findall(r"\d+(?:\.\d+)?", part)][-4:] == span["box"]
        boxed = [span for span in page["spans"] if span["field"] == "text"]
        assert [span["box"] for span in boxed] == ([page["box"]] if page["box"] else [])


def test_coordinates_in_words_become_pixels() -> None:
    from groundingme.schema import Sample

    sample = Sample(id="a", description="", target=None, width=2000, height=500)
    said = Generation(
        id="a",
        reasoning="First [100, 200, 300, 400], then (10, 10), (20, 30). In 1999, 2000, 2001, 2002 "
        "things, and [1, 2, 3] or [5000, 1, 6000, 2].",
        text='{"bbox_2d": [500, 500, 600, 700]}',
    )
    found = spans(sample, said, "n1000")
    texts = {"text": said.text, "reasoning": said.reasoning}
    assert [texts[one["field"]][one["start"] : one["end"]] for one in found] == [
        "[100, 200, 300, 400]", "(10, 10), (20, 30)", said.text,
    ]  # fmt: skip
    assert [one["box"] for one in found] == [
        (200, 100, 600, 200), (20, 5, 40, 15), (1000, 250, 1200, 350),
    ]  # fmt: skip


def test_looking_for_coordinates_takes_linear_time() -> None:
    from groundingme.schema import Sample

    sample = Sample(id="a", description="", target=None, width=100, height=100)
    for text in ("[" * 200_000, "[1, " * 50_000, "1, 2 to " * 25_000, "(1," + " " * 199_000):
        began = time.process_time()
        spans(sample, Generation(id="a", reasoning=text, text="no"), "abs")
        # A second or two; with the square of the length it would be minutes.
        assert time.process_time() - began < 30


def test_neighbours_walk_through_a_filter(client: TestClient, runs: Path) -> None:
    place = f"/api/runs/{ids(runs)['builtin/grounder']}/samples"
    query = {"l1": "Spatial", "order": "-confidence"}
    wanted = [one["id"] for one in get(client, place, **query)["items"]]
    at, walked = wanted[0], []
    while at:
        page = get(client, f"{place}/{at}", **query)
        assert page["previous"] == (walked[-1] if walked else None)
        assert (page["place"], page["total"]) == (len(walked), len(wanted))
        walked.append(at)
        at = page["next"]
    assert walked == wanted


def test_ids_with_slashes(make_app: MakeApp, tmp_path: Path) -> None:
    data = Dataset(name="d", source="d", samples=_shared_samples(8))
    folder = _shared_run(tmp_path / "runs", "m", data, 0.5, 0)
    client = enter(make_app(), "Ann")
    page = get(client, f"/api/runs/{folder.path.name}/samples/s/3")
    assert (page["id"], page["next"]) == ("s/3", "s/4")
    refused(client, f"/api/runs/{folder.path.name}/samples/s/99", 404)
    # The data set is not to be had, so there is a key, and no picture behind it.
    refused(client, f"/api/pictures/{page['picture']}", 404)


def test_trajectories_and_verdicts(client: TestClient, runs: Path) -> None:
    name = ids(runs)["sampled"]
    folder = RunFolder.open(runs / name)
    replies = folder.trajectories()
    first = get(client, f"/api/runs/{name}/samples")["items"][0]["id"]
    court = RunFolder(
        runs / name / "judges" / "one",
        Run(model="mock/judge", data="", data_name="traces", data_fingerprint="", samples=1),
    )
    court.path.mkdir(parents=True)
    (court.path / "run.json").write_bytes(
        b'{"model":"mock/judge","data":"","data_name":"traces","data_fingerprint":"","samples":1}'
    )
    verdict = {"id": first, "first": 0, "second": 2, "winner": 2, "replies": ["The 2nd.\\boxed{B}"]}
    (court.path / VERDICTS).write_text(json.dumps(verdict) + "\n")
    page = get(client, f"/api/runs/{name}/samples/{first}")
    assert [one["text"] for one in page["trajectories"]] == [
        replies[first, k].text for k in range(4)
    ]
    boxes = [one["box"] for one in page["trajectories"]]
    groups = [one["cluster"] for one in page["trajectories"]]
    assert all(one == 0 for one in groups) or max(groups) >= 1
    sizes = [groups.count(one) for one in sorted(set(groups))]
    assert sizes == sorted(sizes, reverse=True), "the largest cluster is the first"
    assert next(one for one in page["choices"] if one["name"] == "majority")["box"] in boxes
    told = page["verdicts"]
    assert [(one["first"], one["second"], one["winner"]) for one in told] == [(0, 2, 2)]
    assert (told[0]["judge"], told[0]["reason"]) == ("traces, mock/judge", "The 2nd.")
    ways = get(client, f"/api/runs/{name}/selectors")["items"]
    assert {"mean", "majority", "oracle"} <= {one["name"] for one in ways}
    table = rows_of(client, f"/api/runs/{name}/selectors.csv")
    assert [float(one["score"]) for one in table] == [one["score"] for one in ways]
    single = ids(runs)["builtin/grounder"]
    assert get(client, f"/api/runs/{single}/selectors")["items"] == []
    assert any("4 trajectories" in one for one in get(client, f"/api/runs/{name}")["notes"])


# Comparisons


def test_a_comparison_is_the_library_s(client: TestClient, runs: Path) -> None:
    names = [ids(runs)[model] for model in MODELS]
    found = get(client, "/api/compare", run=names)
    entries, _ = load_aligned([runs / name for name in names])
    expected = Comparison(entries)
    whole = [one for one in expected.contrasts if one.group == "all"]
    assert [(one["a"], one["b"]) for one in found["pairs"]] == [
        (names[one.a], names[one.b]) for one in whole
    ]
    for one, wanted in zip(found["pairs"], whole, strict=True):
        assert one["difference"] == pytest.approx(wanted.difference)
        assert (one["p"], one["low"], one["high"]) == (wanted.p, wanted.low, wanted.high)
    assert [one["id"] for one in found["flips"]["items"]] == [one.id for one in expected.flips]
    right = expected.right
    for a in range(3):
        for b in range(3):
            assert found["agreement"][a][b] == pytest.approx((right[a] == right[b]).mean())
    page = get(client, "/api/compare", run=names, offset=2, limit=3)["flips"]
    assert page["items"] == found["flips"]["items"][2:5]
    assert page["total"] == found["flips"]["total"]
    table = rows_of(client, "/api/compare.csv", run=names)
    assert len(table) == len(expected.contrasts)
    flips = rows_of(client, "/api/compare.csv", run=names, table="flips")
    assert [one["id"] for one in flips] == [one.id for one in expected.flips]
    side = get(client, f"/api/compare/samples/{flips[0]['id']}", run=names)
    assert [one["run"] for one in side["runs"]] == names
    assert [str(one["right"]).lower() for one in side["runs"]] == [flips[0][n] for n in names]


def test_comparisons_that_cannot_be(client: TestClient, runs: Path) -> None:
    known = ids(runs)
    one, two = known["baseline/null"], known["baseline/center"]
    refused(client, "/api/compare", 422)
    refused(client, "/api/compare", 400, run=[one])
    refused(client, "/api/compare", 400, run=[one, one])
    refused(client, "/api/compare", 400, run=[one, two, known["sampled"], two, one])
    refused(client, "/api/compare", 404, run=[one, "none"])
    refused(client, "/api/compare", 400, run=[one, two], protocol="none")
    refused(client, "/api/compare.csv", 404, run=[one, two], table="none")
    refused(client, "/api/compare/samples/none", 404, run=[one, two])


# A run in progress


@pytest.fixture
def served(make_app: MakeApp, runs: Path) -> Iterator[str]:
    """The app on a real socket."""
    app: FastAPI = make_app()
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, lifespan="off")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    listening.close()


def test_progress_is_told_while_a_run_goes_on(served: str, runs: Path) -> None:
    folder = RunFolder.open(runs / ids(runs)["builtin/grounder"])
    known = folder.generations()
    replies = list(known.values())
    path = folder.path / "generations.jsonl"
    path.write_bytes(b"")
    events: list[dict[str, Any]] = []
    names: list[str] = []
    with folder.lock():
        assert is_running(folder.path)
        for one in replies[:10]:
            folder.append(one)
        address = f"{served}/api/runs/{urllib.parse.quote(folder.path.name)}/events"
        with urllib.request.urlopen(address, timeout=120) as stream:
            for line in stream:
                if line.startswith(b"event:"):
                    names.append(line.split()[1].decode())
                if not line.startswith(b"data:"):
                    continue
                told = json.loads(line[5:])
                # The same again: what is written below was not there yet.
                if events and told == events[-1]:
                    continue
                events.append(told)
                if len(events) == 1:
                    folder.append(Generation(id=replies[10].id, failure="timeout", detail="slow"))
                    with path.open("ab") as file:
                        file.write(b'{"id": "half')
                if len(events) == 2:
                    break
    assert [(one["done"], one["failed"], one["running"]) for one in events] == [
        (10, 0, True), (10, 1, True),
    ]  # fmt: skip
    right = {one.id: one.iou >= 0.5 for one in score(folder.path).scores}
    asked = [right[one.id] for one in replies[:11]]
    assert events[0]["accuracy"] == pytest.approx(sum(asked[:10]) / 10)
    assert events[1]["accuracy"] == pytest.approx(sum(asked[:10]) / 11)
    assert not is_running(folder.path)
    with urllib.request.urlopen(address, timeout=120) as stream:
        ended = stream.read().decode()
    assert ended.startswith("event: end\n")
    assert ended.count("data:") == 1


def test_a_run_in_progress_is_marked(client: TestClient, runs: Path) -> None:
    folder = RunFolder.open(runs / ids(runs)["baseline/null"])
    (folder.path / ".holder").write_text(f"process 4194303 on {socket.gethostname()} since then")
    assert not any(one["running"] for one in get(client, "/api/runs")["items"])
    with folder.lock():
        marked = [one for one in get(client, "/api/runs")["items"] if one["running"]]
        assert [one["id"] for one in marked] == [folder.path.name]
        assert marked[0]["rank"] is None
    assert not any(one["running"] for one in get(client, "/api/runs")["items"])


def test_figures_of_a_run_in_progress_are_those_of_its_end_when_it_has_ended(
    client: TestClient, runs: Path
) -> None:
    folder = RunFolder.open(runs / ids(runs)["builtin/grounder"])
    replies = list(folder.generations().values())
    (folder.path / "generations.jsonl").write_bytes(b"")
    with folder.lock():
        for at, one in enumerate(replies):
            folder.append(one)
            if at % 5 == 0 or at == len(replies) - 1:
                listed = {one["id"]: one for one in get(client, "/api/runs")["items"]}
                assert 0 <= listed[folder.path.name]["done"] <= at + 1
                assert listed[folder.path.name]["rank"] is None
    ended = {one["id"]: one for one in get(client, "/api/runs")["items"]}[folder.path.name]
    assert ended["done"] == len(replies)
    assert ended["accuracy"]["value"] == pytest.approx(score(folder.path).accuracy)
    assert ended["rank"] is not None


def test_a_holder_that_died_runs_no_more(tmp_path: Path) -> None:
    holder = tmp_path / ".holder"
    assert not is_running(tmp_path)
    holder.write_text(f"process 4194303 on {socket.gethostname()} since 2026")
    assert not is_running(tmp_path)
    holder.write_text("process 1 on another-machine since 2026")
    assert not is_running(tmp_path), "nothing was written"
    (tmp_path / "generations.jsonl").write_text("")
    assert is_running(tmp_path)
    holder.write_bytes(b"\xff\xfe nonsense")
    assert not is_running(tmp_path)


# What must not be read


@pytest.mark.parametrize(
    "id",
    ["%2e%2e", "..%2f..", "%2e%2e%2foutside", "/etc", "%2fetc%2fpasswd", "C:", "a%5cb",
     "outside", "%00", "..%5c..", "x" * 5000],
)  # fmt: skip
def test_no_run_but_those_of_the_folder(
    client: TestClient, runs: Path, tmp_path: Path, id: str
) -> None:
    shutil.copytree(runs / ids(runs)["baseline/null"], tmp_path / "outside")
    for tail in ("", "/samples", "/events", "/rows.csv", "/samples/0000"):
        answer = client.get(f"/api/runs/{id}{tail}")
        assert answer.status_code in (404, 422), (id, tail, answer.text)
        assert "baseline" not in answer.text


def test_links_out_of_the_roots_are_not_followed(
    client: TestClient, runs: Path, tmp_path: Path
) -> None:
    inside = runs / ids(runs)["baseline/null"]
    outside = tmp_path / "elsewhere"
    shutil.copytree(inside, outside / "linked")
    (runs / "linked").symlink_to(outside / "linked")
    shutil.copytree(inside, runs / "half")
    (runs / "half" / "samples.jsonl").unlink()
    (runs / "half" / "samples.jsonl").symlink_to(outside / "linked" / "samples.jsonl")
    listed = {one["id"] for one in get(client, "/api/runs")["items"]}
    assert not listed & {"linked", "half"}
    for name in ("linked", "half"):
        refused(client, f"/api/runs/{name}", 404)
        refused(client, f"/api/runs/{name}/samples/0000", 404)


def test_data_outside_the_roots_give_no_picture(
    client: TestClient, runs: Path, tmp_path: Path
) -> None:
    from PIL import Image

    outside, inside = tmp_path / "private", tmp_path / "data" / "set"
    for folder in (outside, inside):
        folder.mkdir(parents=True)
        Image.new("RGB", (40, 30), "red").save(folder / "a.png")
        row = {"id": "1", "image": "a.png", "description": folder.name, "bbox": [1, 2, 3, 4]}
        (folder / "samples.jsonl").write_text(json.dumps(row) + "\n")
        evaluate("baseline/center", str(folder), out=runs)
    for folder, status in ((outside, 404), (inside, 200)):
        (one,) = (
            path.name for path in runs.iterdir() if RunFolder.open(path).run.data == str(folder)
        )
        key = get(client, f"/api/runs/{one}/samples")["items"][0]["picture"]
        answer = client.get(f"/api/pictures/{key}")
        assert answer.status_code == status, answer.text
    (inside / "samples.jsonl").write_text("{}\n")
    time.sleep(1.1)
    assert client.get(f"/api/pictures/{key}").status_code == 404


# Data sets


def test_data_sets_under_the_roots(client: TestClient, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "data" / "deep" / "set"
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 30), "red").save(folder / "a.png")
    rows = [
        {"id": "1", "image": "a.png", "description": "=cmd", "bbox": [1, 2, 3, 4]},
        {"id": "2", "image": "../../../secret.png", "description": "b", "bbox": None},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "samples.jsonl").write_text(lines)
    (folder / "other.jsonl").write_text('{"no": "question"}\n')
    Image.new("RGB", (40, 30), "blue").save(tmp_path / "secret.png")
    (tmp_path / "secret.jsonl").write_text(lines)
    (tmp_path / "data" / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    names = [one["name"] for one in get(client, "/api/datasets")["items"]]
    assert names == ["scenes", "deep/set/samples.jsonl"]
    place = "/api/datasets/deep/set/samples.jsonl/samples"
    page = get(client, place)
    assert page["total"] == 2
    first, second = page["items"]
    assert first["target"] == [1, 2, 3, 4]
    assert client.get(f"/api/pictures/{first['picture']}").status_code == 200
    assert second["problem"] or client.get(f"/api/pictures/{second['picture']}").status_code == 404
    assert get(client, place, query="CMD")["total"] == 1
    assert rows_of(client, f"{place}.csv")[0]["description"] == "'=cmd"
    for name in ("link.jsonl", "../secret.jsonl", "%2e%2e%2fsecret.jsonl", str(tmp_path)):
        refused(client, f"/api/datasets/{urllib.parse.quote(name)}/samples", 404)
    drawn = get(client, "/api/datasets/scenes/samples", limit=3)
    assert (len(drawn["items"]), drawn["total"]) == (3, 200)


# Asking


def ask(client: TestClient, picture: bytes | None = None, **fields: str) -> Any:
    files = {} if picture is None else {"picture": ("a.jpg", picture, "image/jpeg")}
    return client.post("/api/ask", data={"description": "the mug", **fields}, files=files)


def test_a_model_can_be_asked(client: TestClient, runs: Path) -> None:
    assert get(client, "/api/models")["items"][0]["name"] == "builtin/grounder"
    place = f"/api/runs/{ids(runs)['builtin/grounder']}/samples"
    for item in get(client, place)["items"][:6]:
        kept = get(client, f"{place}/{item['id']}")
        answer = ask(client, key=item["picture"], description=item["description"])
        assert answer.status_code == 200, answer.text
        found = answer.json()
        # The same question as in the run, so the same answer.
        assert (found["outcome"], found["box"]) == (kept["outcome"], kept["box"])
        assert found["confidence"] == pytest.approx(kept["confidence"], abs=1e-6)
        assert (found["width"], found["height"]) == (kept["width"], kept["height"])
    data = client.get(f"/api/pictures/{item['picture']}").content
    uploaded = ask(client, data, description=item["description"]).json()
    assert (uploaded["outcome"], uploaded["box"]) == (found["outcome"], found["box"])
    assert client.get(f"/api/pictures/{uploaded['key']}").content == data
    again = ask(client, key=uploaded["key"], description=item["description"]).json()
    assert again["box"] == uploaded["box"]


def test_questions_that_cannot_be(client: TestClient, runs: Path) -> None:
    place = f"/api/runs/{ids(runs)['builtin/grounder']}/samples"
    key = get(client, place)["items"][0]["picture"]
    data = client.get(f"/api/pictures/{key}").content
    for answer, status in (
        (ask(client), 400),
        (ask(client, data, key=key), 400),
        (ask(client, data, description=" "), 400),
        (ask(client, data, model="openai/unasked"), 400),
        (ask(client, b"", description="x"), 422),
        (ask(client, b"no picture", description="x"), 422),
        (ask(client, data[: len(data) // 2], description="x"), 422),
        (ask(client, key="forged"), 404),
        (ask(client, key=f"x{key}"), 404),
        (client.post("/api/ask"), 422),
    ):
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["message"]


def test_other_models_are_those_of_the_command(make_app: MakeApp, runs: Path) -> None:
    client = enter(make_app(models=("baseline/whole", "openai/none,base_url=http://127.0.0.1:9/v1")),
                   "Ann")  # fmt: skip
    key = get(client, "/api/datasets/scenes/samples")["items"][0]["picture"]
    found = ask(client, key=key, model="baseline/whole").json()
    assert found["box"] == [0, 0, found["width"], found["height"]]
    answer = ask(client, key=key, model="openai/none")
    assert answer.status_code == 409
    assert "127.0.0.1:9" in answer.json()["error"]["message"]
