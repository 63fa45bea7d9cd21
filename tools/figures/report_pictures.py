"""The pictures of docs/howto/report.md: parts of a report of the shipped network, as Chromium draws them.

python tools/figures/report_pictures.py

Needs Chromium with its driver, selenium and the extra ``report``. Times in the pictures are those of the machine that
it runs on. About a minute.
"""

from __future__ import annotations

import base64
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from selenium import webdriver

import graphprune

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "pictures"
MODELS = ROOT / "models"
WIDTH = 760
_OPEN = "location.hash = 'part-3'"  # as a tap on the part does
_ROOM = """
const boxes = [...document.querySelectorAll(arguments[0])].map(each => each.getBoundingClientRect());
const top = Math.min(...boxes.map(box => box.top)) + scrollY - 12;
return [top, Math.max(...boxes.map(box => box.bottom)) + scrollY + 12 - top];
"""
_LARGEST_BYTES = 200_000


def main() -> None:
    """Make the run, and take the pictures."""
    with tempfile.TemporaryDirectory() as name:
        page = Path(name) / "report.html"
        run(page)
        browser = opened(Path(name))
        try:
            browser.get(page.as_uri())
            take(browser, "report_headline", ".note, #headline")
            browser.execute_script(_OPEN)
            take(browser, "report_network", "#network")
        finally:
            browser.quit()


def run(page: Path) -> None:
    """So many blocks less that the page has something to warn of."""
    options = graphprune.RunOptions(
        report=page,
        data=graphprune.DataOptions(evaluation=str(MODELS / "fashion_eval.npz"), samples=128),
        timing=graphprune.TimingOptions(allow_slower=True, seconds=3.0),
    )
    source, data = MODELS / "fashion_resnet32.onnx", str(MODELS / "fashion_calibration.npz")
    graphprune.prune(source, ["layer-cka", "filter-magnitude"], data, "flops=0.3", options=options)


def opened(folder: Path) -> Any:
    """A browser of the width of the pictures, light."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium") or shutil.which("google-chrome"))
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={folder / 'profile'}")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(shutil.which("chromedriver"))))
    size = {"width": WIDTH, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    return browser


def take(browser: Any, name: str, selector: str) -> None:
    """The part of the page that holds all that ``selector`` finds."""
    top, height = browser.execute_script(_ROOM, selector)
    clip = {"x": 0, "y": top, "width": WIDTH, "height": height, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    content = base64.b64decode(shot["data"])
    if len(content) > _LARGEST_BYTES:
        sys.exit(f"{name}.png has {len(content):,} bytes, which is more than {_LARGEST_BYTES:,}")
    (PICTURES / f"{name}.png").write_bytes(content)
    print(f"{name}.png: {len(content):,} bytes")


if __name__ == "__main__":
    main()
