"""The report in a real browser: two themes, two widths, no error, no request, nothing wider than the screen."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphprune
from graphprune.report.html.heatmap import LEVELS
from tests.graphs import residual_mlp

webdriver = pytest.importorskip("selenium.webdriver", reason="driving a browser needs selenium")
pytest.importorskip("jinja2", reason="the report needs the extra 'report'")
pytest.importorskip("matplotlib", reason="the report needs the extra 'report'")

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with its driver here"),
]
FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "disable-dev-shm-usage",
    "hide-scrollbars",
)
LUMINANCE = """
const [r, g, b] = getComputedStyle(arguments[0])[arguments[1]].match(/[0-9.]+/g).map(Number);
return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
"""
WIDER = """
return [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 &&
  !e.closest('svg') && !e.closest('.table')).map(e => e.tagName + '.' + e.className);
"""
OUTSIDE = """
return [...document.querySelectorAll('svg.strip, svg.chart, svg.heat, svg.blocks')].filter(e => {
  const box = e.getBBox(), view = e.viewBox.baseVal;
  return box.x < view.x - 12 || box.y < view.y - 12 || box.x + box.width > view.x + view.width + 12
    || box.y + box.height > view.y + view.height + 12;
}).map(e => e.getAttribute('class'));
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blocks and units removed, under names as long as they get."""
    path = tmp_path_factory.mktemp("browser") / "report.html"
    proto = residual_mlp(6)
    for node in proto.graph.node:
        node.name = f"encoder/a_rather_long_name_for_a_layer/of_a_network_with_many_levels/{node.name}"
    data = {"x": np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)}
    options = graphprune.RunOptions(
        data=graphprune.DataOptions(evaluation=data),
        timing=graphprune.TimingOptions(seconds=0.05, allow_slower=True),
        report=path,
    )
    graphprune.prune(proto, ["layer-cka{floor=4}", "filter-magnitude"], data, "flops=0.5", options=options)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in (*FLAGS, f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


def show(browser: Any, report: Path, theme: str, width: int, media: str = "screen") -> None:
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for log in ("browser", "performance"):
        browser.get_log(log)  # reading empties it
    browser.get(report.as_uri())


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 900, 1400])
def test_page_fits_and_is_quiet(theme: str, width: int, browser: Any, report: Path) -> None:
    show(browser, report, theme, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(WIDER) == []
    assert browser.execute_script(OUTSIDE) == []
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert urls == [report.as_uri()]


def test_a_tapped_part_opens_its_words(browser: Any, report: Path) -> None:
    """By keyboard as well: the parts are in the tab order, and the list below the picture opens at the row."""
    show(browser, report, "light", 400)
    (row, opens) = ("#part-1", "return document.querySelector('#part-1').closest('details').open")
    assert not browser.execute_script(opens)
    link = browser.find_element("css selector", f"svg.strip a[href='{row}']")
    assert browser.execute_script("return arguments[0].tabIndex", link) == 0
    browser.execute_script("arguments[0].focus()", link)
    webdriver.ActionChains(browser).send_keys("\ue007").perform()
    assert browser.execute_script(opens)
    ground = "return getComputedStyle(document.querySelector('#part-1')).backgroundColor"
    assert browser.execute_script(ground) != browser.execute_script(ground.replace("part-1", "part-0"))


def test_themes_differ_in_page_and_charts(browser: Any, report: Path) -> None:
    found = {}
    for theme in ("light", "dark"):
        show(browser, report, theme, 1400)
        pick = browser.find_element("css selector", "body")
        shades = [browser.execute_script(LUMINANCE, pick, which) for which in ("backgroundColor", "color")]
        for text in ("svg.chart text", "svg.strip text"):
            shades.append(browser.execute_script(LUMINANCE, browser.find_element("css selector", text), "fill"))
        found[theme] = shades
    assert found["light"][0] > 0.9 and max(found["light"][1:]) < 0.5
    assert found["dark"][0] < 0.15 and min(found["dark"][1:]) > 0.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_shades_of_the_heat_map_go_from_the_page_to_the_ink(theme: str, browser: Any, report: Path) -> None:
    """The least similar blocks are nearly the page, the most similar stand out, and each shade is a step on the way."""
    show(browser, report, theme, 1400)
    page = browser.execute_script(LUMINANCE, browser.find_element("css selector", "body"), "backgroundColor")
    squares = browser.find_elements("css selector", "svg.heat rect[class^=q]")  # of the legend
    contrasts = [abs(browser.execute_script(LUMINANCE, square, "fill") - page) for square in squares]
    assert len(contrasts) == LEVELS
    assert contrasts == sorted(contrasts) and len(set(contrasts)) == LEVELS
    assert contrasts[0] < 0.12 and contrasts[-1] > 0.4


def test_print_is_on_white(browser: Any, report: Path) -> None:
    show(browser, report, "dark", 800, media="print")
    body = browser.find_element("css selector", "body")
    assert browser.execute_script(LUMINANCE, body, "backgroundColor") > 0.99
    assert browser.execute_script(LUMINANCE, body, "color") < 0.3
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert len(pdf) > 20_000


def test_embedded_result_can_be_read_by_a_script(browser: Any, report: Path) -> None:
    show(browser, report, "light", 1400)
    text = browser.execute_script("return document.getElementById('result').textContent")
    assert json.loads(text)["schema"].startswith("graphprune.result/")
    assert re.search("layer-cka", text)
