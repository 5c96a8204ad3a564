"""Whatever is asked of the API as its own description has it, the server does not break."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from groundingme import evaluate
from studio_app import MakeApp, enter, make_app

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")

__all__ = ["make_app"]

pytestmark = pytest.mark.slow

EXAMPLES = 25
"""Of each operation; there are several dozen."""


@pytest.mark.filterwarnings("ignore")
def test_nothing_that_is_asked_breaks_the_server(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody is slowed down, or most answers would be that.
    monkeypatch.setattr("groundingme.studio.people.WRITES", (1e9, 1e9))
    client = studio(make_app, tmp_path)
    known = things(client)
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", client.app)
    headers = {
        "Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items()),
        "X-CSRF": client.headers["X-CSRF"],
    }
    asked: dict[str, set[int]] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        title = f"{operation.method.upper()} {operation.path}"
        # Whoever changes sessions or people may no longer be logged in for the rest.
        if operation.method != "get" and operation.path.startswith(("/api/session", "/api/people")):
            continue
        asked[title] = statuses(operation, known, headers)
    broken = {title for title, found in asked.items() if max(found, default=0) >= 500}
    assert not broken
    assert len(asked) > 25
    reached = [title for title, found in asked.items() if 200 in found]
    assert len(reached) > 20, reached


def studio(make_app: MakeApp, tmp_path: Path) -> TestClient:
    """Somebody in a studio of two runs and a project."""
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    Image.new("RGB", (700, 600), "red").save(folder / "a.png")
    row = {"id": "1", "image": "a.png", "description": "a", "bbox": [1, 2, 30, 40]}
    (folder / "samples.jsonl").write_text(json.dumps(row) + "\n")
    for model in ("baseline/center", "baseline/null"):
        evaluate(model, str(folder), out=tmp_path / "runs")
    client = enter(make_app(), "Ann", raise_server_exceptions=False)
    made = client.post("/api/projects", json={"name": "p", "source": "set", "kind": "images"})
    assert made.status_code < 500, made.text
    return client


def things(client: TestClient) -> dict[str, list[Any]]:
    """Values of parameters that lead somewhere."""
    runs = [one["id"] for one in client.get("/api/runs").json()["items"]]
    items = client.get(f"/api/runs/{runs[0]}/samples").json()["items"]
    return {
        "id": [*runs, 1, 2],
        "run": [runs],
        "key": [items[0]["picture"]],
        "sample": ["1"],
        "name": ["scenes", "set/samples.jsonl"],
        "level": [0, 9, 10],
        "column": [0, 1],
        "row": [0, 1],
        "protocol": ["strict", "official"],
        "order": ["iou", "-confidence", "description"],
        "outcome": ["box", ""],
        "kind": ["right", ""],
        "table": ["flips"],
        "model": ["baseline/center", "builtin/grounder"],
    }


def statuses(operation: Any, known: dict[str, list[Any]], headers: dict[str, str]) -> set[int]:
    """Asks an operation as its description has it, with values that are known and others."""
    found: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @seed(1)
    @given(case=operation.as_strategy(), choose=st.data())
    def ask(case: Any, choose: st.DataObject) -> None:
        body = case.body if isinstance(case.body, dict) else {}
        for part in (case.path_parameters, case.query, body):
            for name in part or {}:
                if name in known and choose.draw(st.integers(0, 3)):
                    part[name] = choose.draw(st.sampled_from(known[name]))
        answer = case.call(headers=headers)
        found.add(answer.status_code)
        assert answer.status_code < 500, (operation.path, answer.status_code, answer.content[:500])

    ask()
    return found
