"""The review page in a real browser: from disk, and inside MLflow's own artifact viewer."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from analysis.publish import publish
from analysis.reading import read_sweep
from analysis.review import Review, review
from analysis.server import UiServer, front_link, ui
from analysis.trials import SweepRecord
from tests.analysis.made_up import log_parent, log_trial, made_up_sweep, made_up_trials, new_store

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="neither chromium nor chromedriver was found on the PATH"),
]
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--window-size=1400,1000")
T = TypeVar("T")

POINTS = """
const plot = document.getElementById('plot'), layout = plot._fullLayout, box = plot.getBoundingClientRect();
return plot.data.filter(t => t.mode === 'markers').flatMap(t => t.x.map((x, i) => ({
  name: t.name, index: t.customdata[i],
  left: layout.xaxis._offset + layout.xaxis.d2p(x) - box.width / 2,
  top: layout.yaxis._offset + layout.yaxis.d2p(t.y[i]) - box.height / 2})))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def from_disk(tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepRecord, Review]:
    record = made_up_sweep(40)
    return record, review(record, tmp_path_factory.mktemp("disk"), base_url="http://127.0.0.1:9")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SweepRecord, Review, UiServer]]:
    folder = tmp_path_factory.mktemp("served")
    uri, experiment = new_store(folder)
    parent = log_parent(uri, experiment)
    for trial in made_up_trials(12):
        log_trial(uri, experiment, parent, trial)
    record = read_sweep(uri, parent)
    made = review(record, folder / "out")
    publish(uri, record, made)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ui(uri, port=port) as server:
        yield record, made, server
    assert server.process is not None and server.process.poll() is not None


def until(found: Callable[[], T], seconds: float = 60.0) -> T:
    """Return the first truthy answer."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, "the browser did not get there in time"
        time.sleep(0.1)
    return answer


def wait_until_drawn(browser: webdriver.Chrome) -> None:
    ready = until(lambda: browser.execute_script("return document.body && document.body.dataset.ready"))
    assert ready == "yes", browser.find_element(By.ID, "loading").text


def point_at(browser: webdriver.Chrome, record: SweepRecord, trial_id: str) -> None:
    """Put the pointer on a trial's point and wait for its card."""
    index = [trial.trial_id for trial in record.trials].index(trial_id)
    place = next(point for point in browser.execute_script(POINTS) if point["index"] == index)
    plot = browser.find_element(By.ID, "plot")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    ActionChains(browser).move_to_element_with_offset(plot, round(place["left"]), round(place["top"])).perform()
    until(lambda: browser.find_element(By.ID, "target").is_displayed(), 15)


def test_from_disk_every_trial_with_values_is_drawn_by_its_kind(
    browser: webdriver.Chrome, from_disk: tuple[SweepRecord, Review]
) -> None:
    record, made = from_disk
    browser.get(made.front_html.as_uri())
    wait_until_drawn(browser)
    names = [point["name"] for point in browser.execute_script(POINTS)]
    drawn = sum("objective" in trial.metrics for trial in record.trials)
    assert len(names) == drawn
    assert sum(name.startswith("on the front") for name in names) == len(made.front_ids)
    shapes = browser.execute_script("return document.querySelectorAll('#plot .scatterlayer path.point').length")
    assert shapes == drawn
    step = browser.execute_script("return document.getElementById('plot').data[0].line.shape")
    assert step == "hv"
    log = browser.get_log("browser")
    assert [entry for entry in log if entry["level"] == "SEVERE"] == []


def test_from_disk_the_card_shows_the_trial_and_the_point_is_a_link(
    browser: webdriver.Chrome, from_disk: tuple[SweepRecord, Review]
) -> None:
    record, made = from_disk
    browser.get(made.front_html.as_uri())
    wait_until_drawn(browser)
    trial = made.front.trials[len(made.front.trials) // 2]
    point_at(browser, record, trial.trial_id)
    card = browser.find_element(By.ID, "card").text
    four = next(outcome for outcome in trial.constraints if outcome.name == "four")
    expected = [f"Trial {trial.trial_id}", "converged", "dual.step_size", "constraints.*.at_most", "four", "five", "seven"]
    expected += [f"{four.value:.4g}", f"≤ {four.budget:.4g}", f"{four.slack:.4g} ± 0.0015", f"{four.multiplier:.4g}"]
    assert [text for text in expected if text not in card] == []
    link = browser.find_element(By.ID, "target").get_attribute("href")
    assert link == f"http://127.0.0.1:9/#/experiments/1/runs/{trial.run_id}?workflowType=machine_learning"


def test_from_disk_the_menus_switch_the_axes(browser: webdriver.Chrome, from_disk: tuple[SweepRecord, Review]) -> None:
    record, made = from_disk
    browser.get(made.front_html.as_uri())
    wait_until_drawn(browser)
    Select(browser.find_element(By.ID, "x-axis")).select_by_value("multiplier/four")
    Select(browser.find_element(By.ID, "y-axis")).select_by_value("slack/five")
    layout = "return [0, 1].map(i => document.getElementById('plot').layout[['xaxis', 'yaxis'][i]].title.text)"
    assert browser.execute_script(layout) == ["multiplier/four", "slack/five (≥ 0: satisfied)"]
    lines = "return document.getElementById('plot').data.filter(t => t.mode === 'lines').length"
    assert browser.execute_script(lines) == 0  # the front's steps belong to the objectives
    index = [trial.trial_id for trial in record.trials].index(made.front_ids[0])
    at = "return document.getElementById('plot').data.flatMap(t => t.x.filter((x, i) => t.customdata[i] === arguments[0]))"
    assert browser.execute_script(at, index) == [pytest.approx(made.front.trials[0].metrics["multiplier/four"], rel=1e-6)]


def test_in_mlflow_the_point_opens_the_run(
    browser: webdriver.Chrome, served: tuple[SweepRecord, Review, UiServer], tmp_path: Path
) -> None:
    record, made, server = served
    first = browser.current_window_handle
    browser.get(front_link(server.base_url, record))
    frame = until(lambda: browser.find_elements(By.CSS_SELECTOR, "iframe.mlflow-html-iframe"))[0]
    browser.switch_to.frame(frame)
    wait_until_drawn(browser)
    trial = made.front.trials[0]
    point_at(browser, record, trial.trial_id)
    # The page was made for http://127.0.0.1:5000, but is shown by this server: the link must lead here.
    link = browser.find_element(By.ID, "target").get_attribute("href")
    assert link == f"{server.base_url}/#/experiments/{record.experiment_id}/runs/{trial.run_id}?workflowType=machine_learning"
    # MLflow's viewer forbids what a plain click would need; it pins the card, which says how to go on.
    browser.find_element(By.ID, "target").click()
    card = browser.find_element(By.ID, "card")
    assert "pinned" in (card.get_attribute("class") or "") and "Ctrl-click" in card.text
    browser.switch_to.default_content()
    browser.save_screenshot(str(tmp_path / "in-mlflow.png"))
    browser.switch_to.frame(frame)
    target = browser.find_element(By.ID, "target")
    ActionChains(browser).key_down("\ue009").click(target).key_up("\ue009").perform()
    opened = until(lambda: [handle for handle in browser.window_handles if handle != first])[0]
    browser.switch_to.window(opened)
    until(lambda: f"trial {trial.trial_id}" in browser.find_element(By.TAG_NAME, "body").text)
    assert browser.current_url.startswith(link)
    browser.close()
    browser.switch_to.window(first)


def test_in_mlflow_the_description_links_to_the_runs(
    browser: webdriver.Chrome, served: tuple[SweepRecord, Review, UiServer]
) -> None:
    record, made, server = served
    browser.get(f"{server.base_url}/#/experiments/{record.experiment_id}/runs/{record.parent_run_id}")
    trial = made.front.trials[0]
    more = until(lambda: browser.find_elements(By.XPATH, "//*[text()='Show more']"))
    more[0].click()
    selector = f"td a[href*='/runs/{trial.run_id}']"
    until(lambda: [link for link in browser.find_elements(By.CSS_SELECTOR, selector) if link.is_displayed()])[0].click()
    until(lambda: trial.run_id in browser.current_url or len(browser.window_handles) > 1)
    browser.switch_to.window(browser.window_handles[-1])
    until(lambda: f"trial {trial.trial_id}" in browser.find_element(By.TAG_NAME, "body").text)
