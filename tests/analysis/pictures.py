"""The guides' pictures of the review, from a sweep that MLflow serves: those that docs/sweep.md and the README show.

    dualsweep ui sweeps/digits.yaml &
    python -m tests.analysis.pictures runs/digits FRONT CHARTS [--output docs/images]

FRONT and CHARTS are the links that `dualsweep ui` prints. `front.png` and the page are taken from the sweep's folder, the rest
is drawn by Chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.analysis.browser import chromium, enter_front, point_at, until, wait_until_drawn

_WIDTH = 1200
#: What the window's frame takes off its size, of Chromium without a window.
_FRAME = 143
#: The store's place on this machine, which is nobody's business.
_HIDE_PLACES = """
for (const each of document.querySelectorAll('*'))
  if (!each.children.length && /^Path:|file:\\/\\//.test(each.textContent.trim())) each.parentElement.style.visibility = 'hidden';
"""
_CLOSE_ASSISTANT = "const it = document.querySelector('[aria-label=\"Close\"]'); if (it) it.click()"
_CHARTS = "return [...document.querySelectorAll('.scatterlayer')].some(layer => layer.querySelectorAll('path.point').length)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the sweep's folder")
    parser.add_argument("front", help="link to the page inside MLflow")
    parser.add_argument("charts", help="link to MLflow's own charts")
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    shutil.copyfile(options.folder / "front.png", options.output / "front.png")
    page = (options.folder / "front.html").resolve()
    with chromium() as browser:
        _page(browser, page, options.output)
        _mlflow(browser, options.front, options.charts, options.output)


def _page(browser: webdriver.Chrome, page: Path, output: Path) -> None:
    _open(browser, page.as_uri(), 1200, 1096)
    wait_until_drawn(browser)
    Select(browser.find_element(By.ID, "x-axis")).select_by_value("value/max")
    Select(browser.find_element(By.ID, "y-axis")).select_by_value("objective")
    point_at(browser, "0000")
    _keep(browser, output / "review-page.png")
    browser.refresh()
    wait_until_drawn(browser)
    field = browser.find_element(By.CSS_SELECTOR, "#axis-fields input[aria-label^='objective'][aria-label$='at most']")
    field.send_keys("0.318\t")
    browser.execute_script("window.scrollTo(0, 0)")
    _keep(browser, output / "review-parallel.png")


def _mlflow(browser: webdriver.Chrome, front: str, charts: str, output: Path) -> None:
    _open(browser, front, 1500, 937)
    enter_front(browser)
    browser.switch_to.default_content()
    _keep(browser, output / "mlflow-front.png")
    _open(browser, charts, 1600, 1340)
    until(lambda: browser.execute_script(_CHARTS))
    _keep(browser, output / "review-saved-view.png")
    browser.execute_script("[...document.querySelectorAll('.scatterlayer')].at(-1).scrollIntoView({block: 'start'})")
    _keep(browser, output / "review-saved-view-more.png")
    _open(browser, front.split("/artifacts/")[0], 1500, 1400)
    until(lambda: browser.find_elements(By.XPATH, "//*[text()='Show more']"))[0].click()
    _keep(browser, output / "review-description.png")


def _open(browser: webdriver.Chrome, address: str, width: int, height: int) -> None:
    browser.set_window_size(width, height + _FRAME)
    browser.get(address)


def _keep(browser: webdriver.Chrome, file: Path) -> None:
    time.sleep(5)  # what is drawn may still move into its place
    browser.execute_script(_CLOSE_ASSISTANT)
    browser.execute_script(_HIDE_PLACES)
    time.sleep(2)
    image = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    image = image.resize((_WIDTH, round(_WIDTH * image.height / image.width)), Image.Resampling.LANCZOS)
    image.quantize(256).save(file, optimize=True)  # a third of the size, and no difference to be seen


if __name__ == "__main__":
    main()
