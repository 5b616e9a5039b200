"""The real server and a real browser: text shows, no script of a stranger's runs, and nobody else is asked."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.show.records import full_run, make_record, write_results

from zoobench.results.row import row_of
from zoobench.results.watch import reference

pytest.importorskip("streamlit")
sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = "<img src=x onerror=alert(1)>|**x**"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("dashboard")
    write_results(home / "results", [*full_run(), make_record(HOSTILE, p50=1.0)])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (home / "log").open("w+") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "zoobench", "dashboard", "results", "--port", str(port), "--no-browser"],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HOME": str(home)},
        )
        url = f"http://127.0.0.1:{port}"
        try:
            _wait(f"{url}/_stcore/health", server)
            yield url
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == 0
        finally:
            server.kill()
            server.wait()
        log.seek(0)
        said = log.read()
    assert said.startswith(f"zoobench dashboard: {url}")
    assert "Traceback" not in said
    assert len(said.splitlines()) < 5, said


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            assert server.poll() is None, "the server ended"
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as started:
        found = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


class Visit:
    """A tab, with all that it asked for and all that went wrong in it."""

    def __init__(self, browser: Any, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.asked: list[str] = []
        self.alerts: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("dialog", lambda dialog: (self.alerts.append(dialog.message), dialog.dismiss()))

    def strangers(self, address: str) -> list[str]:
        return [url for url in self.asked if not url.startswith((address, "data:", "blob:", "about:"))]


def test_a_visit(address: str, browser: Any) -> None:
    visit = Visit(browser)
    page = visit.page
    page.goto(address)
    page.get_by_role("heading", name="Leaderboard").wait_for()
    page.get_by_text("cells fit the filters").wait_for()
    page.get_by_test_id("stDataFrame").first.wait_for()
    page.get_by_role("link", name="Failures").click()
    page.get_by_text("the worker was killed for memory").wait_for()
    row = row_of(make_record(HOSTILE, p50=1.0))
    page.goto(f"{address}/detail?record={reference(row)}")
    page.get_by_role("heading", name="Run detail").wait_for()
    page.get_by_text(f"{HOSTILE} · onnx_cpu").first.wait_for()
    assert page.locator("img[src=x]").count() == 0
    assert visit.alerts == []
    assert visit.strangers(address) == []


def test_what_a_link_chose_survives_every_change_of_page(address: str, browser: Any) -> None:
    page = Visit(browser).page
    page.goto(f"{address}/?batch=8&backend=onnx_cpu")
    page.get_by_text("of 26 cells fit the filters").wait_for()
    for name in ("Pareto", "History", "Leaderboard", "Pareto"):
        page.get_by_role("link", name=name).click()
        page.get_by_role("heading", name=name).wait_for()
        page.wait_for_url(lambda url: "batch=8" in url and "backend=onnx_cpu" in url)
    page.wait_for_url(lambda url: "/pareto?" in url)
    assert "batch=8" in page.url and "batch=1" not in page.url


def test_back_leads_to_where_a_button_was_pressed(address: str, browser: Any) -> None:
    page = Visit(browser).page
    page.goto(f"{address}/failures")
    page.wait_for_url(lambda url: "machine=" in url)
    page.get_by_role("button", name="Show what is invalid").click()
    page.get_by_role("heading", name="Leaderboard").wait_for()
    page.wait_for_url(lambda url: "verdict=invalid" in url)
    page.get_by_text("cells fit the filters: 1 invalid").wait_for()
    page.go_back(wait_until="commit")
    page.get_by_role("heading", name="Failures").wait_for()
    # The page's script writes its address when it has run to its end.
    page.wait_for_url(lambda url: "/failures" in url and "verdict=invalid" not in url)
    page.get_by_text("the worker was killed for memory").wait_for()
    assert page.get_by_role("heading", name="Leaderboard").count() == 0


@pytest.mark.parametrize(("host", "answer"), [("127.0.0.1", 101), ("localhost", 101), ("evil.example", 403)])
def test_a_name_that_was_made_to_point_here_is_refused(host: str, answer: int, address: str) -> None:
    port = int(address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        line.sendall(
            f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: http://{host}:{port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert line.recv(100).split()[1] == str(answer).encode()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(scheme: str, address: str, browser: Any) -> None:
    visit = Visit(browser, width=390, scheme=scheme)
    page = visit.page
    for name in ("pareto", "failures"):
        page.goto(f"{address}/{name}")
        page.locator(".zb").nth(1).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # A row is a card, so that why a cell failed is not beyond the edge.
    box = page.get_by_text("the worker was killed for memory").bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= 390
