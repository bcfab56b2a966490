"""The page in a browser, on a history without a swarm: shown, followed, by keyboard, on a phone, attacked, exported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bench_people.simulated import answering
from dashboard.kit import (
    StoredHome,
    Watched,
    browser,
    chain_with_gates,
    measured,
    needs_browser,
    release_as_first,
    run_gate_here,
)
from playwright import sync_api as playwright
from store_samples import COORDINATOR, Chain

from collab.node.credit.leaderboard import remember_names
from collab.node.dashboard.export import export_page
from collab.node.dashboard.local import LocalDashboard, local_dashboard
from collab.node.display.view import NodeView
from collab.node.rounds import held_out
from collab.node.store import Store
from collab.protocol.amendments import Announce, Body, Close, Pause
from collab.protocol.identity import Identity

pytestmark = needs_browser
ATTACK = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def chromium() -> Iterator[playwright.Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def watched(chromium: playwright.Browser) -> Iterator[Watched]:
    """A page of which nothing is left at the end, and that did nothing wrong meanwhile."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    watched = Watched(context.new_page())
    yield watched
    context.close()
    assert watched.problems == []
    assert watched.hosts <= {"127.0.0.1", "no host"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalDashboard]:
    """A page on thirty rounds, for tests that leave them as they are."""
    stored = StoredHome(tmp_path_factory.mktemp("served") / "home", Chain())
    stored.grow(30)
    with Store.open(stored.folder.store_path) as store:
        store.refs.update("tags/v1.0", stored.chain.head.digest, None)
        remember_names(store, [(COORDINATOR.peer_id, "Rabi")], [COORDINATOR.peer_id])
        held_out.keep(store, 20, 3.5)
        held_out.keep(store, 30, 3.125)
    with local_dashboard(stored.home.path) as dashboard:
        yield dashboard


def state_of(page: playwright.Page) -> Any:
    """What the page has in memory."""
    return page.evaluate("""() => ({
        values: dashboardState.values,
        tables: Object.fromEntries(Object.entries(dashboardState.tables).map(([name, rows]) => [name, Object.fromEntries(rows)])),
    })""")


def show(page: playwright.Page, *, shown: bool) -> None:
    """Hide the page, as another tab would, or show it again."""
    page.evaluate("""(hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }""", not shown)


def test_the_page_shows_the_history(watched: Watched, served: LocalDashboard) -> None:
    page = watched.open(served.url)
    assert page.title() == "sample · round 30"
    assert page.text_content("#figures > div:first-child .value") == "3.125nats"
    assert page.locator("#rounds tbody tr").count() == 10
    assert page.text_content("#people tbody tr .who") == f"Rabi {COORDINATOR.peer_id[-8:]} this node"
    assert (page.text_content("#rounds tbody td") or "").endswith(" v1.0")


def test_the_page_follows_what_happens(watched: Watched, stored: StoredHome) -> None:
    stored.grow(3)
    with local_dashboard(stored.home.path) as dashboard:
        page = watched.open(dashboard.url)
        path = page.get_attribute("#loss-chart path.second", "d")
        stored.grow(2)
        playwright.expect(page).to_have_title("sample · round 5")
        assert page.text_content("#rounds tbody tr:first-child th") == "5"
        assert page.get_attribute("#loss-chart path.second", "d") != path
        assert "Round 5 is merged" in (page.text_content("#announcer") or "")
        assert state_of(page) == page.evaluate("fetch('data.json').then((answer) => answer.json())")
        show(page, shown=False)
        stored.grow()
        show(page, shown=True)
        playwright.expect(page).to_have_title("sample · round 6")


def test_a_round_that_cannot_end_is_seen_at_once(watched: Watched, stored: StoredHome) -> None:
    stored.grow(3)
    waits, warning = "a merge needs 2 contributions and 1 is here", "alone: no other node was heard for 28 s"
    view = NodeView(
        "sample", stored.chain.event.digest.hex(), COORDINATOR.peer_id, round=3, phase="collecting",
        message="collecting contributions: 1 of 2", waits=waits, warning=warning,
    )  # fmt: skip
    swarm: dict[str, Any] = {"peers": {Identity(bytes(31) + b"\2").peer_id: {"trains": True, "done": True, "rate": 345.0}}}
    answers = {"status": lambda: view.to_dict(), "swarm": lambda: swarm}
    with answering(stored.home, answers), local_dashboard(stored.home.path) as dashboard:
        page = watched.open(dashboard.url)
        assert page.locator("#alarm li").all_text_contents() == [f"{text[0].upper()}{text[1:]}." for text in (waits, warning)]
        assert page.text_content("#figures > div:nth-child(2) .value") == "0samples/s"
        assert "A merge needs 2" in (page.text_content("#announcer") or "")
        view = replace(view, waits="", warning="", phase="catching_up", message="catching_up")
        playwright.expect(page.locator("#alarm")).to_be_hidden()
        assert page.text_content("#phase-words") == "Catching up"
        assert page.locator("#phases").is_hidden()


@pytest.mark.parametrize(
    ("decided", "words"),
    [
        (Close(after=3), "The event is over: round 3 was its last."),
        (Pause(reason="a look"), "The coordinators paused the event: a look."),
    ],
)
def test_an_event_that_rests_or_is_over_says_so(watched: Watched, stored: StoredHome, decided: Body, words: str) -> None:
    stored.grow(3)
    stored.decide(Announce(text="tea at nine"), decided)
    with local_dashboard(stored.home.path) as dashboard:
        page = watched.open(dashboard.url)
        assert page.text_content("#phase-words") == words
        assert page.locator("#phases").is_hidden()
        assert page.locator("#announcements li").all_text_contents() == ["Announced tea at nine"]


def test_a_server_that_comes_back_is_found_again(watched: Watched, stored: StoredHome) -> None:
    stored.grow()
    with local_dashboard(stored.home.path) as first:
        page = watched.open(first.url)
        port = first.url.split(":")[2].strip("/")
    page.wait_for_selector("#link[data-state=lost]")
    stored.grow()
    with local_dashboard(stored.home.path, "--port", port):
        playwright.expect(page).to_have_title("sample · round 2", timeout=20_000)
        page.wait_for_selector("#link[data-state=idle]")
    watched.problems = [problem for problem in watched.problems if "ERR_CONNECTION_REFUSED" not in problem]
    watched.problems = [problem for problem in watched.problems if "ERR_INCOMPLETE_CHUNKED_ENCODING" not in problem]


def test_everything_is_reached_by_keyboard(watched: Watched, served: LocalDashboard) -> None:
    page = watched.open(served.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName + document.activeElement.role"))
        if reached[-1] == "rounds-more":
            break
    assert {"against-round", "DIVslider", "rounds", "rounds-more"} <= set(reached)
    assert reached.count("SUMMARYnull") == 4
    page.keyboard.press("Enter")
    assert page.locator("#rounds tbody tr").count() == 31
    assert page.get_attribute("#rounds-more", "aria-expanded") == "true"


def test_a_chart_is_read_by_arrow_keys_and_as_a_table(watched: Watched, served: LocalDashboard) -> None:
    page = watched.open(served.url)
    chart = page.locator("#loss-chart [role=slider]")
    assert chart.get_attribute("aria-valuetext") == "round 30 · held-out 3.125 · training 3.250"
    chart.focus()
    page.keyboard.press("ArrowLeft")
    assert chart.get_attribute("aria-valuetext") == "round 29 · training 3.250"
    page.keyboard.press("Home")
    assert chart.get_attribute("aria-valuenow") == "0"
    page.click("#loss-chart summary")
    assert page.text_content("#loss-chart tbody tr:first-child") == "round 303.1253.250"
    page.check("#against-bytes", force=True)
    assert "B" in (page.text_content("#loss-chart .axes text:last-child") or "")


def test_landmarks_headings_and_names_are_there(watched: Watched, served: LocalDashboard) -> None:
    page = watched.open(served.url)
    assert page.locator("h1").count() == 1
    assert page.locator("header, main, footer").count() == 3
    unnamed = "(tag) => [...document.querySelectorAll(tag)].filter((node) => !node.getAttribute('aria-labelledby')).length"
    assert page.evaluate(unnamed, "section") == 0
    headings = page.eval_on_selector_all("section h2", "(all) => all.map((node) => node.textContent)")
    assert len(set(headings)) == len(headings)
    assert page.get_attribute("html", "lang") == "en"
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.get_attribute("#swarm-map svg", "aria-label") == page.text_content("#swarm-words")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(chromium: playwright.Browser, served: LocalDashboard, scheme: Any) -> None:
    context = chromium.new_context(color_scheme=scheme)
    page = Watched(context.new_page()).open(served.url)
    colours = page.evaluate("""() => {
        const style = getComputedStyle(document.documentElement);
        const names = ["paper", "ink", "muted", "accent", "soft", "bad", "quiet"];
        return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    }""")
    context.close()
    for front, back, least in [
        ("ink", "paper", 7), ("muted", "paper", 4.5), ("accent", "paper", 4.5), ("bad", "paper", 4.5), ("paper", "accent", 4.5),
        ("ink", "soft", 4.5), ("quiet", "paper", 3),
    ]:  # fmt: skip
        assert contrast(colours[front], colours[back]) >= least, (front, back)


def contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""
    low, high = sorted(luminance(colour) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_it_fits_a_phone(chromium: playwright.Browser, served: LocalDashboard) -> None:
    context = chromium.new_context(viewport={"width": 320, "height": 640}, has_touch=True)
    page = Watched(context.new_page()).open(served.url)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    context.close()


def test_text_from_the_network_is_only_text(watched: Watched, stored: StoredHome, chain: Chain) -> None:
    stored.grow()
    other = Identity(bytes(31) + b"\2").peer_id
    view = NodeView("sample", chain.event.digest.hex(), COORDINATOR.peer_id, phase="training", message=ATTACK, device=ATTACK)
    swarm = {
        "peers": {other: {"version": ATTACK, "trains": True}, ATTACK: {"version": ATTACK * 500}},
        "refused": {ATTACK: 3}, "parts": {ATTACK: True}, "committee": [],
    }  # fmt: skip
    with answering(stored.home, {"status": view.to_dict, "swarm": lambda: swarm}), local_dashboard(stored.home.path) as dashboard:
        page = watched.open(dashboard.url)
        page.click("#swarm-details summary")
        playwright.expect(page.locator("#phase-words")).to_contain_text("onerror")
        assert ATTACK in (page.text_content("#swarm-details table") or "")
        assert page.locator("img, main script, iframe").count() == 0
        longest = "Math.max(...[...document.querySelectorAll('td')].map((cell) => cell.textContent.length))"
        assert page.evaluate(longest) <= 300


def test_a_round_that_has_just_begun_shows_the_last_ones_throughput(watched: Watched, stored: StoredHome, chain: Chain) -> None:
    stored.grow(3)
    peers: dict[str, dict[str, Any]] = {COORDINATOR.peer_id: {"trains": True, "self": True}}
    view = NodeView("sample", chain.event.digest.hex(), COORDINATOR.peer_id, phase="training")
    swarm = {"peers": peers, "refused": {}, "parts": {}, "committee": []}
    with answering(stored.home, {"status": view.to_dict, "swarm": lambda: swarm}), local_dashboard(stored.home.path) as dashboard:
        figure = watched.open(dashboard.url).locator("#figures > div:nth-child(2) .value span")
        last = figure.text_content()
        assert last not in ("0", "–")
        peers[COORDINATOR.peer_id]["rate"] = 1234.0
        playwright.expect(figure).to_have_text("1,230")
        peers[COORDINATOR.peer_id] = {"trains": False, "self": True}
        playwright.expect(figure).to_have_text("0")


def test_scripts_of_others_do_not_run(watched: Watched, served: LocalDashboard) -> None:
    page = watched.open(served.url)
    page.evaluate("""() => {
        const inline = document.createElement("script");
        inline.textContent = "window.wasRun = true";
        document.body.append(inline);
    }""")
    assert page.evaluate("window.wasRun") is None
    assert page.evaluate("fetch('https://example.com/').then(() => 'sent', () => 'refused')") == "refused"
    assert any("Content Security Policy" in problem for problem in watched.problems)
    watched.problems.clear()
    watched.hosts.discard("example.com")


def test_a_token_opens_the_page_once_and_for_all(watched: Watched, stored: StoredHome) -> None:
    stored.grow()
    with local_dashboard(stored.home.path, "--host", "0.0.0.0") as dashboard:
        found = re.fullmatch(r"http://[\d.]+:(\d+)/\?token=(\S{32})", dashboard.url)
        assert found is not None
        port, token = found.groups()
        page = watched.page
        assert page.request.get(f"http://127.0.0.1:{port}/").status == 401
        watched.open(f"http://127.0.0.1:{port}/?token={token}")
        assert page.url == f"http://127.0.0.1:{port}/"
        watched.open(f"http://127.0.0.1:{port}/")


def test_an_export_opens_from_a_disk(watched: Watched, stored: StoredHome, tmp_path: Path) -> None:
    stored.grow(3)
    export_page(stored.reader(), tmp_path / "page")
    page = watched.open((tmp_path / "page" / "index.html").as_uri(), ready="#link[data-state=stored]")
    assert page.title() == "sample · round 3"
    assert page.locator("#rounds tbody tr").count() == 4
    assert page.is_hidden("#this-node")
    assert page.is_hidden("#phase")
    assert (page.text_content("#link") or "").startswith("As of")


# Gates and releases


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> StoredHome:
    """A history of three commits, two of them tested here, the third released."""
    stored = StoredHome(tmp_path_factory.mktemp("released") / "home", chain_with_gates())
    stored.grow(3)
    with Store.open(stored.folder.store_path) as store:
        first, second = (store.commit(store.at_round(round) or b"") for round in (1, 2))
    run_gate_here(stored, first, measured())
    run_gate_here(stored, second, measured(passed=False))
    release_as_first(stored, stored.chain.head)
    return stored


def test_gates_and_releases_are_read_on_the_page(watched: Watched, released: StoredHome) -> None:
    with local_dashboard(released.home.path) as dashboard:
        page = watched.open(dashboard.url)
        cells = page.locator("#gates tbody tr:first-child").locator("th, td").all_text_contents()
        assert cells[:5] == ["held-out", "loss", "every commit", "1 of 2", "–"]
        assert cells[5] == "held-out failed: loss 0.2 worse where 0.01 worse is allowed"
        assert page.locator("#rounds td.gated").all_text_contents() == ["–", "held-out failed", "1 passed", "–"]
        page.click("#tested-details summary")
        assert page.locator("#tested tbody th").all_text_contents() == ["2", "1"]
        assert page.text_content("#releases tbody th") == "1.0.0"
        assert "1 of 1, run by 1 peer" in (page.text_content("#releases tbody tr") or "")
        page.click("#verdicts-title")
        assert "poetry passed" in (page.text_content("#verdicts li") or "")
        assert page.text_content("#release-words") == "It rhymes."


def test_a_new_release_is_said_aloud(watched: Watched, tmp_path: Path) -> None:
    stored = StoredHome(tmp_path / "home", chain_with_gates())
    stored.grow(2)
    with local_dashboard(stored.home.path) as dashboard:
        page = watched.open(dashboard.url)
        assert page.is_hidden("#releases-section")
        release_as_first(stored, stored.chain.head)
        playwright.expect(page.locator("#release-announcer")).to_have_text("Version 1.0.0 is released.", timeout=20_000)
        assert page.is_visible("#releases-section")
        assert page.get_attribute("#release-announcer", "aria-live") == "polite"


def test_releases_that_cannot_be_trusted_say_why(watched: Watched, tmp_path: Path) -> None:
    stored = StoredHome(tmp_path / "home", chain_with_gates())
    stored.grow(2)
    release_as_first(stored, stored.chain.head, datetime.now(UTC).replace(microsecond=0) - timedelta(days=90))
    with local_dashboard(stored.home.path) as dashboard:
        page = watched.open(dashboard.url)
        assert "stale" in (page.text_content("#releases-problem") or "")
        assert page.is_hidden("#releases table")


def test_an_event_without_gates_and_releases_says_nothing_of_them(watched: Watched, served: LocalDashboard) -> None:
    page = watched.open(served.url)
    assert page.is_hidden("#gates-section")
    assert page.is_hidden("#releases-section")
    assert page.locator("#rounds th.gated").is_hidden()


@pytest.mark.parametrize("width", [320, 390])
def test_gates_and_releases_fit_on_a_phone(
    chromium: playwright.Browser, released: StoredHome, tmp_path: Path, width: int
) -> None:
    export_page(released.reader(), tmp_path / "site")
    context = chromium.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto((tmp_path / "site" / "index.html").as_uri())
    page.wait_for_selector("#releases tbody tr")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
