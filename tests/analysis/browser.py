"""Chromium, and how the tests and benchmarks find their way in it."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from selenium import webdriver
from selenium.common.exceptions import NoSuchFrameException, StaleElementReferenceException
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.analysis.page import own

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--window-size=1400,1000")
T = TypeVar("T")

POINTS = """
const plot = document.getElementById('plot'), layout = plot._fullLayout, box = plot.getBoundingClientRect();
return plot.data.filter(t => t.mode === 'markers').flatMap(t => t.x.map((x, i) => ({
  name: t.name, index: t.customdata[i], opacity: t.marker.opacity[i],
  left: layout.xaxis._offset + layout.xaxis.d2p(x) - box.width / 2,
  top: layout.yaxis._offset + layout.yaxis.d2p(t.y[i]) - box.height / 2})))
"""


@contextlib.contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """A browser without a window, closed at the end."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def until(found: Callable[[], T], seconds: float = 240.0) -> T:
    """Return the first truthy answer. The limit is no figure of the page: it waits for a machine whose cores are all taken."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, "the browser did not get there in time"
        time.sleep(0.05)
    return answer


def wait_until_drawn(browser: webdriver.Chrome) -> None:
    ready = until(lambda: browser.execute_script("return document.body && document.body.dataset.ready"))
    assert ready == "yes", browser.find_element(By.ID, "loading").text


def enter_front(browser: webdriver.Chrome) -> WebElement:
    """Go into the page inside MLflow's artifact viewer, once it is drawn. The viewer may put its frame up anew while it loads."""

    def drawn() -> WebElement | None:
        browser.switch_to.default_content()
        for frame in browser.find_elements(By.CSS_SELECTOR, "iframe.mlflow-html-iframe"):
            with contextlib.suppress(NoSuchFrameException, StaleElementReferenceException):
                browser.switch_to.frame(frame)
                if browser.execute_script("return document.body && document.body.dataset.ready"):
                    return frame
        return None

    frame = until(drawn)
    assert frame is not None
    wait_until_drawn(browser)
    return frame


def points(browser: webdriver.Chrome) -> list[dict[str, object]]:
    """Every point of the scatter: its kind, its trial's index, its opacity and where it is from the plot's middle."""
    found: list[dict[str, object]] = browser.execute_script(POINTS)
    return found


def point_at(browser: webdriver.Chrome, trial_id: str) -> None:
    """Put the pointer on a trial's point and wait for its card."""
    page = browser.execute_script("return document.documentElement.outerHTML")
    index = own(page, "id").index(trial_id)
    place = next(point for point in browser.execute_script(POINTS) if point["index"] == index)
    plot = browser.find_element(By.ID, "plot")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    ActionChains(browser).move_to_element_with_offset(plot, round(place["left"]), round(place["top"])).perform()
    until(lambda: browser.find_element(By.ID, "target").is_displayed())
