"""The pages of a finished run in a real Chromium, with the network cut."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import chromium
import pytest
from running import read_table

pytestmark = pytest.mark.browser
READY = "!document.getElementById('map') || document.documentElement.dataset.state === 'ready'"
LABEL = "document.getElementById('spectrum').getAttribute('aria-label')"
LARGEST = {"study": 5e6, "explorer": 10e6}


@pytest.fixture(scope="module")
def browser():
    command = chromium.find()
    if command is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    made = chromium.Chromium(command)
    yield made
    made.close()


@pytest.fixture(scope="module")
def reports(finished) -> Path:
    return finished / "results" / "reports"


@pytest.fixture(scope="module")
def pages(reports) -> list[Path]:
    found = sorted(reports.rglob("*.html"))
    assert {"study.html", "index.html"} <= {path.name for path in found}
    assert {"cells", "explorer"} <= {path.parent.name for path in found}
    return found


@pytest.fixture
def explorer(browser, reports):
    """The page of the spectrum image of a shorted cell, ready."""
    path = next(path for path in sorted((reports / "explorer").glob("*.html")) if "shorted" in path.name)
    browser.size(1440)
    browser.open(path, READY)
    return path


def test_the_harness_sees_faults_and_requests(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='http://example.org/a.png'><script>console.error('wrong'); nothing()</script>")
    browser.open(bad)
    assert any("wrong" in fault for fault in browser.faults)
    assert any("nothing" in fault for fault in browser.faults)
    assert "http://example.org/a.png" in browser.requests


@pytest.mark.parametrize("width", [390, 1440])
def test_pages_load_alone_and_fit_the_window(browser, pages, width):
    browser.size(width)
    for page in pages:
        browser.open(page, READY)
        assert browser.faults == [], page
        outside = [name for name in browser.requests if urlsplit(name).scheme not in {"file", "data", "blob"}]
        assert outside == [], page
        files = {name for name in browser.requests if name.startswith("file:")}
        assert files <= {page.resolve().as_uri()}, page
        wide = browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, page
        kind = page.stem if page.parent.name == "reports" else page.parent.name
        assert page.stat().st_size <= LARGEST.get(kind, 5e6), page


def test_images_have_their_text_and_pages_their_language(browser, pages):
    for page in pages:
        browser.open(page, READY)
        texts = browser.run("[...document.images].map((image) => image.alt)")
        assert all(len(text) > 20 for text in texts), page
        named = "[...document.querySelectorAll('canvas')].every((c) => c.getAttribute('aria-label'))"
        assert browser.run(named), page
        assert browser.run("document.documentElement.lang") == "en"
        assert browser.run("document.querySelectorAll('h1').length") == 1


def test_links_resolve(browser, pages):
    names: dict[Path, set[str]] = {}
    for page in pages:
        browser.open(page, READY)
        for address in set(browser.run("[...document.links].map((link) => link.href)")):
            parts = urlsplit(address)
            assert parts.scheme == "file", (page, address)
            target = Path(unquote(parts.path))
            assert target.is_file(), (page, address)
            if parts.fragment:
                if target not in names:
                    names[target] = set(re.findall(r'\bid="([^"]*)"', target.read_text(encoding="utf-8")))
                assert unquote(parts.fragment) in names[target], (page, address)


def test_a_request_from_data_is_refused(browser, reports, tmp_path):
    """Whatever came into a page, its policy lets nothing run and nothing be asked for."""
    for name, page in (
        ("study", reports / "study.html"),
        ("explorer", next((reports / "explorer").glob("*"))),
    ):
        text = page.read_text(encoding="utf-8")
        bad = "<script>window.ran = 1</script><img src='http://example.org/a.png' onerror='window.ran = 2'>"
        assert "</main>" in text
        copy = tmp_path / f"{name}.html"
        copy.write_text(text.replace("</main>", bad + "</main>"), encoding="utf-8")
        browser.open(copy, READY)
        assert browser.run("window.ran") is None
        assert browser.faults != []


def box(browser) -> dict:
    return browser.run("document.getElementById('map').getBoundingClientRect().toJSON()")


def at(place: dict, x: float, y: float) -> tuple[float, float]:
    return place["x"] + x * place["width"], place["y"] + y * place["height"]


def test_explorer_follows_the_pointer(browser, explorer):
    place = box(browser)
    said = []
    for x in (0.1, 0.5, 0.9):
        before = browser.run(LABEL)
        browser.mouse("mouseMoved", *at(place, x, 0.3))
        browser.wait(f"{LABEL} !== {before!r}")
        said.append(browser.run(LABEL))
    assert len(set(said)) == 3
    assert all(text.startswith("Spectrum, model and residual. Pixel at row") for text in said)


def test_explorer_sums_a_dragged_region(browser, explorer):
    place = box(browser)
    browser.mouse("mouseMoved", *at(place, 0.25, 0.25))
    browser.mouse("mousePressed", *at(place, 0.25, 0.25), buttons=1)
    browser.mouse("mouseMoved", *at(place, 0.75, 0.75), buttons=1)
    browser.mouse("mouseReleased", *at(place, 0.75, 0.75))
    browser.wait(f"{LABEL}.includes('pixels: rows')")
    region = browser.run(LABEL)
    # It stays while the pointer goes elsewhere, until Escape.
    browser.mouse("mouseMoved", *at(place, 0.1, 0.9))
    assert browser.run(LABEL) == region
    browser.run("document.getElementById('map').focus()")
    browser.key("Escape")
    browser.wait(f"{LABEL}.includes('Pixel at row')")


def test_explorer_obeys_the_keyboard(browser, explorer):
    browser.run("document.getElementById('map').focus()")
    before = browser.run(LABEL)
    browser.key("ArrowRight")
    browser.wait(f"{LABEL} !== {before!r}")
    browser.key("ArrowDown", shift=True)
    browser.wait(f"{LABEL}.includes('2 pixels')")
    shown = "document.getElementById('bar').getAttribute('aria-label')"
    first = browser.run(shown)
    browser.run(
        "(() => { const list = document.getElementById('quantity'); list.value = 'O';"
        " list.dispatchEvent(new Event('change')); })()"
    )
    browser.wait(f"{shown} !== {first!r}")


def test_explorer_agrees_with_the_tables(browser, explorer, finished):
    """The sum over the zone of the layer, made in the browser, and the zone's fit in the tables."""
    browser.run("[...document.querySelectorAll('#zones button')][0].click()")
    browser.wait(f"{LABEL}.includes('Zone layer')")
    said = browser.run(LABEL)
    table = read_table(finished / "results" / "tables" / "measurements.tsv")
    rows = {
        row["endpoint"]: row
        for row in table
        if row["acquisition_id"] == explorer.stem and row["zone"] == "layer"
    }
    for element in ("C", "O"):
        row = rows[f"areal_density_{element}_per_nm2"]
        found = re.search(rf"\b{element} ([\d.]+) ± ([\d.]+) ± ([\d.]+)", said)
        value, se, _ = map(float, found.groups())
        assert (
            abs(value - float(row["value"])) < 3 * (se**2 + float(row["se_stat"]) ** 2) ** 0.5 + 0.02 * value
        )
