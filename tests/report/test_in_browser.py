"""The page in Chromium: no errors, no requests, points that show their structures, by mouse, touch and keyboard."""

import io
import shutil

import numpy as np
import pytest
from browser import browser, find_chromium
from matplotlib.image import imread

from equitensor.report import watched

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="needs Chromium (Debian: apt install chromium)")

VIEWER = "document.getElementById('viewer')"
FORCES = "document.querySelectorAll('#predictions .plot')[1]"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


def drawn(chromium, selector):
    """Share of pixels in the element's place that differ from its most frequent color."""
    x, y, width, height = chromium.js(
        f"(() => {{ const b = document.querySelector('{selector}').getBoundingClientRect();"
        "return [b.x + scrollX, b.y + scrollY, b.width, b.height]; })()"
    )
    shot = imread(io.BytesIO(chromium.screenshot(whole=True, x=x, y=y, width=width, height=height)))
    colors, count = np.unique(shot.reshape(-1, shot.shape[-1]), axis=0, return_counts=True)
    assert len(colors) > 20
    return 1 - count.max() / count.sum()


def point(chromium, content, k):
    """Its place in the window, once it has been scrolled there."""
    chromium.js(f"{FORCES}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    return chromium.js(f"{FORCES}.whereIs({k})")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1360], ids=["narrow", "wide"])
def test_a_point_that_is_clicked_shows_its_structure(chromium, report, content_of, width, dark):
    content = content_of(report)
    chromium.open(report.as_uri(), width=width, dark=dark)
    chromium.wait(f"{FORCES}.querySelector('canvas') !== null")
    assert chromium.js("document.documentElement.scrollWidth") <= width
    assert chromium.js(f"{VIEWER}.hidden") is (width < 1100)
    shown = content["parts"][0]["parity"][1]["points"]
    outermost = int(np.argmax(shown["x"]))  # no other point is near
    chromium.click(*point(chromium, content, outermost))
    place, atom = shown["s"][outermost], shown["a"][outermost]
    chromium.wait(f"{VIEWER}.dataset.place === '{place}'")
    structure = content["structures"][place]
    text = chromium.js(f"{VIEWER}.textContent")
    assert structure["name"] in text and f"{structure['symbols'][atom]} {atom}" in text
    assert drawn(chromium, "#viewer .molecule") > 0.02
    background = chromium.js("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(18, 22, 28)" if dark else "rgb(255, 255, 255)")
    assert chromium.errors() == [] and chromium.requests() == [report.as_uri()]


def test_everything_can_be_done_by_keyboard(chromium, report, content_of):
    content = content_of(report)
    chromium.open(report.as_uri())
    chromium.wait(f"{FORCES}.querySelector('canvas') !== null")
    chromium.js(f"{FORCES}.focus()")
    chromium.press("ArrowRight")
    shown = content["parts"][0]["parity"][1]["points"]
    worst = int(np.argmax(np.abs(np.subtract(shown["y"], shown["x"]))))
    assert chromium.js(f"{VIEWER}.dataset.place") == str(shown["s"][worst])

    outliers = content["parts"][0]["outliers"]
    column = next(i for i, each in enumerate(outliers["columns"]) if each["title"] == "forces RMSE")
    chromium.js(f"document.querySelectorAll('#outliers thead button')[{column}].focus()")
    for order in ("descending", "ascending"):
        chromium.press("Enter")
        head = f"document.querySelectorAll('#outliers thead th')[{column}]"
        assert chromium.js(f"{head}.getAttribute('aria-sort')") == order
        cells = "[...document.querySelectorAll('#outliers tbody tr')].map((row) => Number(row.dataset.place))"
        value = {p: row[column] for p, row in zip(outliers["structures"], outliers["rows"], strict=True)}
        values = [value[place] for place in chromium.js(cells)]
        assert values == sorted(values, reverse=order == "descending") and len(set(values)) > 10
    chromium.js("document.querySelector('#outliers tbody button').focus()")
    chromium.press("Enter")
    first = chromium.js("document.querySelector('#outliers tbody tr').dataset.place")
    assert chromium.js(f"{VIEWER}.dataset.place") == first
    assert chromium.js("document.querySelector('tr.chosen').dataset.place") == first
    assert chromium.errors() == []


def test_every_choice_redraws_without_errors(chromium, report):
    chromium.open(report.as_uri())
    chromium.js("for (const box of document.querySelectorAll('input[type=checkbox]')) box.click()")
    chromium.js(
        "for (let i = 0; i < document.querySelectorAll('select').length; i++) {"
        "  const select = document.querySelectorAll('select')[i];"
        "  select.selectedIndex = select.options.length - 1; select.dispatchEvent(new Event('change')); }"
    )
    chromium.wait("document.querySelector('#predictions h2').textContent === 'Predictions (train)'")
    chromium.wait("document.querySelectorAll('.plot canvas').length === document.querySelectorAll('.plot').length")
    assert chromium.js("document.querySelectorAll('#error-bars .plot').length") == 4
    for selector in ("#learning .plot", "#predictions .plot", "#error-bars .plot", "#viewer .molecule"):
        assert drawn(chromium, selector) > 0.01, selector
    assert chromium.errors() == []


def test_a_live_page_follows_its_run(chromium, run, tmp_path):
    shutil.copy(run / "config.yaml", tmp_path)
    header, first, *others = (run / "metrics.csv").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.csv").write_text(header)
    state = "document.getElementById('state').textContent"
    with watched(tmp_path) as address:
        chromium.open(address)
        assert chromium.js(state) == "no validation yet" and chromium.js(f"{VIEWER}.hidden")
        (tmp_path / "metrics.csv").write_text("".join([header, first, *others]))
        chromium.wait("document.querySelectorAll('#learning canvas').length === 4")
        assert chromium.js(state).startswith("going on: ")
        asked = set(chromium.requests())
        assert asked == {address, f"{address}data.json"} and chromium.errors() == []
    chromium.wait(f"{state}.includes('The run has ended')")
