"""The site of `make docs`: it has every page and the API, asks no other machine, and is the same in every build.

Without mkdocs these tests skip (`make docs` installs it).
"""

from __future__ import annotations

import filecmp
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chromium import open_chromium

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.campaign


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    return build(tmp_path_factory.mktemp("site"))


def build(out: Path) -> Path:
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return out


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_it_has_every_page_and_what_pages_link_to(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"README"}
    assert {f"docs/{page}.html" for page in pages} <= set(files(site))
    assert {"index.html", "docs/index.html", "results/mini/index.html", "CONTRIBUTING.html"} <= set(files(site))
    assert {"results/mini/report.html", "results/mini/accuracy-params.svg", "CITATION.cff"} <= set(files(site))


def test_the_api_has_the_docstrings(site: Path) -> None:
    library, methods = ((site / "api" / f"{name}.html").read_text() for name in ("library", "methods"))
    for name in ("adapt", "merge", "count", "save_adapter", "load_adapter"):
        assert f'id="glorabench.library.adaptation.{name}"' in library
    modules = {path.stem for path in (ROOT / "src/glorabench/methods").glob("[!_]*.py")}
    assert all(f'id="glorabench.methods.{module}"' in methods for module in modules)
    assert 'id="glorabench.methods.lora.LoRA"' in methods
    assert "_fold_back" not in methods


def test_the_same_pages_give_the_same_bytes(site: Path, tmp_path: Path) -> None:
    again = build(tmp_path)
    assert files(again) == files(site)
    assert filecmp.cmpfiles(site, again, files(site), shallow=False)[1:] == ([], [])


def test_a_page_that_asks_another_machine_is_refused(site: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns("__pycache__", "runs")
    for name in ("docs", "results", "src", "conf", "examples"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for path in ROOT.glob("[!.]*.*"):
        if path.is_file():
            shutil.copy(path, copy)
    with (copy / "docs" / "cost.md").open("a") as page:
        page.write('\n<img src="https://example.org/pixel.png">\n')
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(words, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert 'docs/cost.html asks another machine: <img src="https://example.org/pixel.png' in done.stdout + done.stderr


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("width", [390, 1440])
def test_pages_open_in_a_browser_without_an_error_or_a_request_elsewhere(address: str, width: int) -> None:
    browser = open_chromium()
    try:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for page in (
            "index.html",
            "docs/tables.html",
            "docs/search.html",
            "api/methods.html",
            "results/mini/index.html",
        ):
            browser.get(f"{address}/{page}")
            assert browser.execute_script("return document.querySelector('article').innerText.length") > 500
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        browser.get(f"{address}/docs/tables.html?q=supernet")
        found = "return document.querySelectorAll('.md-search-result__item').length"
        for _ in range(100):
            if browser.execute_script(found):
                break
            browser.execute_async_script("setTimeout(arguments[0], 100)")
        assert browser.execute_script(found) > 3, "the search works"
        problems = [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        assert not problems
        asked = re.findall(r'"url":"(https?://[^"]+)"', "".join(e["message"] for e in browser.get_log("performance")))
        assert not [url for url in asked if not url.startswith(address)]
    finally:
        browser.quit()


def test_a_page_opens_from_a_folder_with_its_style(site: Path) -> None:
    browser = open_chromium()
    try:
        browser.get((site / "docs" / "tables.html").as_uri())
        assert browser.execute_script("return document.styleSheets.length") >= 2
        assert (
            browser.execute_script("return getComputedStyle(document.querySelector('.md-header')).position") == "sticky"
        )
        assert "policy" not in "".join(entry["message"].lower() for entry in browser.get_log("browser"))
    finally:
        browser.quit()
