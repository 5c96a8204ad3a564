"""Who comes in: logins, tokens, cookies, CSRF, roles, pace, and what stays after a restart."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from fastapi.testclient import TestClient

from groundingme.cli import main
from groundingme.cli.studio import _listen
from groundingme.errors import UsageError
from groundingme.studio import models, people
from groundingme.studio.people import SEEN, Pace, Person, Seen, give_token
from groundingme.studio.settings import Settings
from studio_app import MakeApp, database_url, enter, give_role, make_app, postgres

__all__ = ["database_url", "make_app", "postgres"]

TEAM = {"host": "0.0.0.0"}
"""Not loopback, so that everybody must log in."""


def kind(answer: object) -> str:
    return str(answer.json()["error"]["kind"])  # type: ignore[attr-defined]


def test_on_this_machine_a_name_is_enough(make_app: MakeApp, database_url: str) -> None:
    app = make_app(database=database_url)
    nobody = TestClient(app)
    assert nobody.get("/api/session").json()["person"] is None
    ann = enter(app, "Ann")
    assert ann.get("/api/session").json()["person"] == {"id": 1, "name": "Ann", "role": "admin"}
    again = enter(app, "Ann")
    assert again.get("/api/session").json()["person"]["id"] == 1
    assert [one["name"] for one in ann.get("/api/people").json()["items"]] == ["Ann"]
    csrf = nobody.get("/api/session").json()["csrf"]
    answer = nobody.post("/api/people", json={"name": "x"}, headers={"X-CSRF": csrf})
    assert (answer.status_code, kind(answer)) == (401, "login")


def test_elsewhere_a_login_is_needed(make_app: MakeApp, database_url: str) -> None:
    app = make_app(database=database_url, **TEAM)
    nobody = TestClient(app)
    session = nobody.get("/api/session").json()
    assert session["login"] is True
    for path in ("/api/projects", "/api/people", "/api/runs", "/api/openapi.json", "/api/items/1"):
        answer = nobody.get(path)
        assert (answer.status_code, kind(answer)) == (401, "login"), path
    for body in ({"name": "Ann"}, {"token": "gm-wrong"}, {}):
        answer = nobody.post("/api/session", json=body, headers={"X-CSRF": session["csrf"]})
        assert (answer.status_code, kind(answer)) == (401, "login"), body
    token = give_token(app.state.studio.database, "Ann", "admin")
    assert enter(app, token=token).get("/api/projects").status_code == 200


def test_cookies_and_secrets(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(**TEAM)
    token = give_token(app.state.studio.database, "Ann", "admin")
    client = TestClient(app, base_url="https://studio.example.org")
    csrf = client.get("/api/session").json()["csrf"]
    answer = client.post("/api/session", json={"token": token}, headers={"X-CSRF": csrf})
    cookie = answer.headers["set-cookie"]
    for word in ("HttpOnly", "SameSite=strict", "Secure", "Path=/"):
        assert word in cookie
    plain = TestClient(app)
    csrf = plain.get("/api/session").json()["csrf"]
    answer = plain.post("/api/session", json={"token": token}, headers={"X-CSRF": csrf})
    assert "Secure" not in answer.headers["set-cookie"]
    app.state.studio.database.close()
    kept = b"".join(one.read_bytes() for one in (tmp_path / "home").glob("studio.sqlite*"))
    assert b"Ann" in kept
    assert token.encode() not in kept
    assert client.cookies["groundingme"].encode() not in kept


def test_a_new_token_ends_the_old_one(make_app: MakeApp, database_url: str) -> None:
    app = make_app(database=database_url, **TEAM)
    database = app.state.studio.database
    admin = enter(app, token=give_token(database, "Ann", "admin"))
    old = give_token(database, "Bob", "annotator")
    bob = enter(app, token=old)
    id = bob.get("/api/session").json()["person"]["id"]
    new = admin.post(f"/api/people/{id}/token").json()["token"]
    assert bob.get("/api/projects").status_code == 401
    csrf = bob.get("/api/session").json()["csrf"]
    answer = bob.post("/api/session", json={"token": old}, headers={"X-CSRF": csrf})
    assert answer.status_code == 401
    bob = enter(app, token=new)
    assert admin.patch(f"/api/people/{id}", json={"active": False}).json()["active"] is False
    assert bob.get("/api/projects").status_code == 401


def test_a_role_is_kept_unless_another_is_asked_for(make_app: MakeApp) -> None:
    database = make_app().state.studio.database
    give_token(database, "Ann", "admin")
    give_token(database, "Bea", "admin")
    give_token(database, "Ann")
    with database.session() as session:
        found = people.named(session, "Ann")
        assert found is not None
        assert found.role == "admin"
    give_token(database, "Ann", "reviewer")
    with pytest.raises(UsageError, match="the last one"):
        give_token(database, "Bea", "annotator")
    with pytest.raises(UsageError, match="expected a role"):
        give_token(database, "Bea", "king")
    with pytest.raises(UsageError, match="can be printed"):
        give_token(database, "B\x1b[31m", "annotator")


def test_every_change_needs_the_page_of_ours(make_app: MakeApp) -> None:
    app = make_app()
    ann, bob = enter(app, "Ann"), enter(app, "Bob")
    good = ann.headers["X-CSRF"]
    for wrong in ("", "x", bob.headers["X-CSRF"], good.upper()):
        ann.headers["X-CSRF"] = wrong
        for method, path in (
            ("POST", "/api/people"), ("PATCH", "/api/people/1"), ("POST", "/api/projects"),
            ("PUT", "/api/items/1/annotation"), ("DELETE", "/api/session"),
        ):  # fmt: skip
            answer = ann.request(method, path, json={"name": "Eve"})
            assert (answer.status_code, kind(answer)) == (403, "csrf"), (wrong, path)
    del ann.headers["X-CSRF"]
    assert ann.post("/api/people", json={"name": "Eve"}).status_code == 403
    assert "Eve" not in ann.get("/api/people").text


def test_a_name_that_leads_here_is_no_way_in(make_app: MakeApp) -> None:
    app = make_app()
    for host in ("evil.example.org", "localhost.evil.org", "127.0.0.1.evil.org"):
        for path in ("/api/session", "/api/projects", "/"):
            answer = TestClient(app).get(path, headers={"Host": host})
            assert answer.status_code == 403, (host, path)
    for host in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000", "studio.localhost"):
        assert TestClient(app).get("/api/session", headers={"Host": host}).status_code == 200


def test_roles(make_app: MakeApp) -> None:
    app = make_app()
    admin, bob, rita = enter(app, "Ann"), enter(app, "Bob"), enter(app, "Rita")
    assert admin.post(
        "/api/projects", json={"name": "P", "source": "scenes:seed=1,n=2"}
    ).status_code == 201  # fmt: skip
    give_role(admin, bob, "annotator")
    give_role(admin, rita, "reviewer")
    for client, allowed in ((bob, False), (rita, True)):
        for method, path, body in (
            ("POST", "/api/items/1/decision", {"version": 0, "accept": False}),
            ("GET", "/api/projects/1/export", None),
            ("GET", "/api/projects/1/items.csv", None),
            ("POST", "/api/projects/1/assign", {"person": 2}),
            ("POST", "/api/projects/1/take-back", {"person": 2}),
        ):
            answer = client.request(method, path, json=body)
            assert (answer.status_code == 200) is allowed, (path, answer.text)
        for method, path, body in (
            ("POST", "/api/projects", {"name": "P", "source": "scenes:n=2"}),
            ("POST", "/api/people", {"name": "x"}),
            ("PATCH", "/api/people/1", {"role": "annotator"}),
            ("POST", "/api/people/1/token", None),
        ):
            answer = client.request(method, path, json=body)
            assert (answer.status_code, kind(answer)) == (403, "forbidden"), path
    answer = admin.patch("/api/people/1", json={"role": "reviewer"})
    assert (answer.status_code, kind(answer)) == (400, "cannot")


def test_readonly(make_app: MakeApp) -> None:
    ann = enter(make_app(), "Ann")
    assert ann.post(
        "/api/projects", json={"name": "P", "source": "scenes:seed=1,n=2"}
    ).status_code == 201  # fmt: skip
    app = make_app(readonly=True)
    ann = enter(app, "Ann")
    for method, path, body in (
        ("POST", "/api/projects", {"name": "P", "source": "scenes:n=2"}),
        ("PUT", "/api/items/1/annotation", {"version": 0, "annotation": {}}),
        ("POST", "/api/items/1/here", None),
        ("POST", "/api/people", {"name": "x"}),
    ):
        answer = ann.request(method, path, json=body)
        assert (answer.status_code, kind(answer)) == (403, "readonly"), path
    assert ann.get("/api/projects/1/next").json()["item"]["assigned"] == []


def test_tries_to_log_in_are_slowed_down(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None comes back while they are made, however long that takes.
    monkeypatch.setattr(people, "LOGINS", (people.LOGINS[0], 0.001))
    app = make_app(**TEAM)
    client = TestClient(app)
    csrf = client.get("/api/session").json()["csrf"]
    codes = [
        client.post("/api/session", json={"token": f"t{n}"}, headers={"X-CSRF": csrf})
        for n in range(people.LOGINS[0] + 1)
    ]
    assert [one.status_code for one in codes] == [401] * people.LOGINS[0] + [429]
    assert int(codes[-1].headers["Retry-After"]) >= 1
    assert kind(codes[-1]) == "too-many"


def test_changes_are_slowed_down(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "WRITES", (3, 0.001))
    app = make_app()
    ann, bob = enter(app, "Ann"), enter(app, "Bob")
    codes = [ann.post("/api/people", json={"name": f"n{n}"}).status_code for n in range(4)]
    assert codes == [201, 201, 201, 429]
    assert bob.post("/api/people", json={"name": "m"}).status_code == 201


def test_a_bucket_fills_again() -> None:
    at = [0.0]
    pace = Pace(2, 4.0, lambda: at[0])
    assert [pace.wait("a"), pace.wait("a"), pace.wait("a")] == [0, 0, 0.25]
    assert pace.wait("b") == 0
    at[0] = 0.25
    assert [pace.wait("a"), pace.wait("a")] == [0, 0.25]


def test_a_page_outlives_a_restart(make_app: MakeApp) -> None:
    ann = enter(make_app(), "Ann")
    later = TestClient(make_app(), cookies=ann.cookies)
    later.headers["X-CSRF"] = ann.headers["X-CSRF"]
    assert later.post("/api/people", json={"name": "Bob"}).status_code == 201


def test_logging_out(make_app: MakeApp) -> None:
    app = make_app()
    ann = enter(app, "Ann")
    stolen = dict(ann.cookies)
    assert ann.delete("/api/session").json()["person"] is None
    assert TestClient(app, cookies=stolen).get("/api/session").json()["person"] is None


@pytest.mark.parametrize(
    "body", [{"name": ""}, {"name": "a\0b"}, {"name": "x" * 101}, {"name": 5}, [], {"name": " "}]
)
def test_names_that_are_none(make_app: MakeApp, body: object, database_url: str) -> None:
    ann = enter(make_app(database=database_url), "Ann")
    assert ann.post("/api/people", json=body).status_code in (400, 422)


def test_the_command_makes_people(make_app: MakeApp, tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    run = CliRunner().invoke(
        main, ["studio", "--home", home, "person", "Ann", "--role", "admin"], catch_exceptions=False
    )
    assert run.exit_code == 0, run.output
    app = make_app(**TEAM)
    assert enter(app, token=run.output.strip()).get("/api/projects").status_code == 200


def test_a_secret_is_kept_and_nobody_else_reads_it(tmp_path: Path) -> None:
    from groundingme.studio.settings import kept_secret

    first = kept_secret(tmp_path / "home")
    assert kept_secret(tmp_path / "home") == first
    assert kept_secret(tmp_path / "other") != first
    assert (tmp_path / "home" / "secret").stat().st_mode & 0o077 == 0
    (tmp_path / "home" / "secret").write_text("cut")
    assert len(kept_secret(tmp_path / "home")) == 64


def test_a_body_without_a_length_is_refused(make_app: MakeApp) -> None:
    client = TestClient(make_app())
    answer = client.post("/api/session", content=iter([b"{}"]))
    assert answer.status_code == 411
    assert answer.json()["error"]["kind"] == "no-length"


def test_who_asks_often_is_looked_up_once(make_app: MakeApp) -> None:
    """Until it is too old, or people change; also while somebody is being looked up."""
    at = 0.0
    seen = Seen(lambda: at)
    database = make_app().state.studio.database
    with database.write() as session:
        cookie = people.log_in(session, people.add(session, "Ann", "admin", by=None))

    def asked() -> Person | None:
        return asyncio.run(seen.by_cookie(database, cookie))

    assert asked() == Person(1, "Ann", "admin")
    with database.write() as session:
        session.execute(sa.delete(models.Login))
    assert asked() is not None
    at += SEEN
    assert asked() is None

    with database.write() as session:
        ann = session.get(models.Person, 1)
        assert ann is not None
        cookie = people.log_in(session, ann)

    async def meanwhile() -> None:
        looking = asyncio.create_task(seen.by_cookie(database, cookie))
        await asyncio.sleep(0)
        seen.forget()
        await looking

    asyncio.run(meanwhile())
    with database.write() as session:
        session.execute(sa.delete(models.Login))
    assert asked() is None


def test_answers_leave_at_once(tmp_path: Path) -> None:
    """asyncio switches off the delay of small packets only for sockets that name their protocol."""
    listening = _listen(Settings(runs=tmp_path, home=tmp_path, port=0))
    with listening:
        assert listening.proto == socket.IPPROTO_TCP
