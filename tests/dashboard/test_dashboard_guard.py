"""Who may look, and under which name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from collab.node.dashboard.guard import HEADERS, Access, Guard

TOKEN = "a token that nobody guesses"


def client(access: Access, base: str = "http://127.0.0.1:8421", clock: Callable[[], float] = lambda: 0.0) -> TestClient:
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("the page")

    app = Starlette(routes=[Route("/", page), Route("/data.json", page)])
    return TestClient(Guard(app, access, clock), base_url=base, follow_redirects=False)


@pytest.mark.parametrize("host", ["127.0.0.1:8421", "localhost:8421", "LOCALHOST:8421", "[::1]:8421"])
def test_this_machine_needs_no_token(host: str) -> None:
    answer = client(Access(8421)).get("/", headers={"Host": host})
    assert (answer.status_code, answer.text) == (200, "the page")


@pytest.mark.parametrize(
    "host",
    ["evil.example:8421", "127.0.0.1.evil.example:8421", "localhost.evil.example:8421", "127.0.0.1:9", "127.0.0.1", "localhost:",
     "10.0.0.1:8421", "[::1", "", "localhost:8421:8421", "localhost:８４２１"],
)  # fmt: skip
def test_a_name_that_was_bound_to_this_machine_is_refused(host: str) -> None:
    answer = client(Access(8421)).get("/", headers={b"Host": host.encode()})
    assert answer.status_code == 421
    assert "--allow-host" in answer.text


def test_two_host_headers_are_refused() -> None:
    answer = client(Access(8421)).get("/", headers=[("Host", "localhost:8421"), ("Host", "evil.example")])
    assert answer.status_code == 421


@pytest.mark.parametrize(("host", "allowed"), [
    ("10.0.0.1:8421", True), ("[fe80::1]:8421", True), ("swarm.example", True), ("Swarm.example:443", True),
    ("localhost:8421", True), ("evil.example", False), ("0x7f000001", False),
])  # fmt: skip
def test_with_a_token_addresses_and_allowed_names_are_answered(host: str, allowed: bool) -> None:
    assert Access(8421, TOKEN, frozenset({"swarm.example"})).allows_host(host) is allowed


def test_without_the_token_nothing_is_shown() -> None:
    for path in ("/", "/data.json", "/nothing"):
        answer = client(Access(8421, TOKEN)).get(path)
        assert answer.status_code == 401
        assert "the page" not in answer.text


def test_the_token_in_the_address_becomes_a_cookie() -> None:
    browser = client(Access(8421, TOKEN))
    answer = browser.get("/", params={"token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "./")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert browser.get("/data.json").text == "the page"


def test_programs_show_the_token_in_a_header() -> None:
    answer = client(Access(8421, TOKEN)).get("/data.json", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.text == "the page"


@pytest.mark.parametrize("shown", ["", "wrong", TOKEN + "x", TOKEN[:-1], "ä\udce4", "\0"])
def test_a_wrong_token_is_refused(shown: str) -> None:
    wrong = client(Access(8421, TOKEN)).get("/", params={"token": shown.encode("utf-8", "surrogateescape").decode("latin-1")})
    assert wrong.status_code in (401, 403)
    assert "set-cookie" not in wrong.headers


def test_a_forged_cookie_is_refused() -> None:
    access = Access(8421, TOKEN)
    for value in ("", "0" * 64, Access(8421, TOKEN + "x").cookie_value):
        answer = client(access).get("/", headers={"Cookie": f"{access.cookie_name}={value}"})
        assert answer.status_code == 401


def test_guessing_is_slow() -> None:
    now = 0.0
    guesser = client(Access(8421, TOKEN), clock=lambda: now)
    codes = [guesser.get("/", params={"token": f"guess {number}"}).status_code for number in range(20)]
    assert codes == [403] * 10 + [429] * 10
    now = 15.0
    assert guesser.get("/", params={"token": TOKEN}).status_code == 303


def test_nothing_can_be_changed() -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert client(Access(8421)).request(method, "/").status_code == 405


def test_every_answer_has_the_headers() -> None:
    for answer in (client(Access(8421)).get("/"), client(Access(8421)).get("/nothing"), client(Access(8421, TOKEN)).get("/")):
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
