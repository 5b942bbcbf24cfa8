"""The review in a real browser: the page from disk and inside MLflow's artifact viewer, the description, and the saved view.

With the environment variable `SCREENSHOTS` set to a folder, what is looked at is kept there.
"""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from dualsweep.analysis.figures import payload
from dualsweep.analysis.figures.marks import MARKS
from dualsweep.analysis.publish import publish
from dualsweep.analysis.reading import read_sweep
from dualsweep.analysis.review import Review, review
from dualsweep.analysis.server import UiServer, front_link, ui
from dualsweep.analysis.thumbnails import thumbnails
from dualsweep.analysis.trials import SweepRecord
from tests.analysis.browser import CHROMIUM, DRIVER, chromium, enter_front, point_at, points, until, wait_until_drawn
from tests.analysis.made_up import log_parent, log_trial, made_up_sweep, made_up_trials, new_store

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="neither chromium nor chromedriver was found on the PATH"),
]
_CORNER = """
const plot = document.getElementById('plot'), layout = plot._fullLayout, box = plot.getBoundingClientRect();
return [Math.round(layout.xaxis._offset + 3 - box.width / 2),
  Math.round(layout.yaxis._offset + layout.yaxis._length - 3 - box.height / 2)]
"""
#: What of the card lies outside of it, to the right.
_CUT_OFF = """
const card = document.getElementById('card'), right = card.getBoundingClientRect().right;
return [...card.querySelectorAll('th, td')].filter(cell => cell.getBoundingClientRect().right > right).map(cell => cell.innerText)
"""
_ROWS = "return [...document.querySelectorAll('#table tr[data-trial]')].map(row => row.dataset.trial)"


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def from_disk(tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepRecord, Review]:
    record = made_up_sweep(40)
    return record, review(record, tmp_path_factory.mktemp("disk"), base_url="http://127.0.0.1:9")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SweepRecord, Review, str | None, UiServer]]:
    folder = tmp_path_factory.mktemp("served")
    uri, experiment = new_store(folder)
    client, parent = MlflowClient(uri), log_parent(uri, experiment)
    Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)).save(folder / "samples.png")
    for trial in made_up_trials(12):
        client.log_artifact(log_trial(uri, experiment, parent, trial), str(folder / "samples.png"))
    record = read_sweep(uri, parent)
    found = review(record, folder / "out")
    made = review(record, folder / "out", thumbnails=thumbnails(uri, record, found.front))
    view = publish(uri, record, made)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ui(uri, port=port) as server:
        yield record, made, view, server
    assert server.process is not None and server.process.poll() is not None


def keep(browser: webdriver.Chrome, name: str) -> bytes:
    """A screenshot, kept where the environment says."""
    png: bytes = browser.get_screenshot_as_png()
    if folder := os.environ.get("SCREENSHOTS"):
        (Path(folder) / f"{name}.png").write_bytes(png)
    return png


def test_from_disk_every_trial_with_values_is_drawn_by_its_kind(
    browser: webdriver.Chrome, from_disk: tuple[SweepRecord, Review]
) -> None:
    record, made = from_disk
    browser.get(made.front_html.as_uri())
    wait_until_drawn(browser)
    drawn = sum("objective" in trial.metrics for trial in record.trials)
    assert len(points(browser)) == drawn
    assert sum(point["name"] == "front" for point in points(browser)) == len(made.front_ids)
    traces = browser.execute_script("return document.getElementById('plot').data.map(t => [t.name, t.line && t.line.shape])")
    assert ["steps", "hv"] in traces and {"band", "predicted", "tangents"} <= {name for name, _ in traces}
    assert browser.execute_script(_ROWS)[: len(made.front_ids)] == sorted(made.front_ids)  # rank 1 first
    log = browser.get_log("browser")
    assert [entry for entry in log if entry["level"] == "SEVERE"] == []


def test_from_disk_the_legend_draws_every_kind_of_mark(
    browser: webdriver.Chrome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = list(MARKS)
    monkeypatch.setattr(payload, "kinds", lambda record, _: [every[row % len(every)] for row in range(len(record.trials))])
    browser.get(review(made_up_sweep(40), tmp_path).front_html.as_uri())
    wait_until_drawn(browser)
    label = "[label.querySelector('input').dataset.kind, label.querySelectorAll('svg *').length]"
    glyphs = f"return [...document.querySelectorAll('#legend label')].map(label => {label})"
    drawn = dict(browser.execute_script(glyphs))
    assert set(every) <= set(drawn) and min(drawn.values()) > 0
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_browser_that_cannot_unpack_the_page_is_told_where_the_trials_are(from_disk: tuple[SweepRecord, Review]) -> None:
    _, made = from_disk
    with chromium() as old:
        old.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": "delete window.DecompressionStream"})
        old.get(made.front_html.as_uri())
        until(lambda: old.execute_script("return document.body.dataset.ready") == "failed")
        said = old.find_element(By.ID, "loading").text
    assert said.startswith("This browser cannot read the page: ReferenceError") and said.endswith(
        "trials.csv beside it has the trials."
    )


def test_from_disk_the_card_shows_the_trial_and_the_point_is_a_link(
    browser: webdriver.Chrome, from_disk: tuple[SweepRecord, Review]
) -> None:
    _, made = from_disk
    browser.get(made.front_html.as_uri())
    wait_until_drawn(browser)
    trial = made.front.trials[len(made.front.trials) // 2]
    point_at(browser, trial.trial_id)
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
    titles = ["multiplier/four (objective per unit of value)", "slack/five (≥ 0: satisfied)"]
    until(lambda: browser.execute_script(layout) == titles)
    lines = "return document.getElementById('plot').data.filter(t => t.mode === 'lines').length"
    assert browser.execute_script(lines) == 0  # the front's steps, its band and its slopes belong to other axes
    index = [trial.trial_id for trial in record.trials].index(made.front_ids[0])
    trials = "document.getElementById('plot').data.filter(t => t.customdata)"
    at = f"return {trials}.flatMap(t => t.x.filter((x, i) => t.customdata[i] === arguments[0]))"
    assert browser.execute_script(at, index) == [pytest.approx(made.front.trials[0].metrics["multiplier/four"], rel=1e-6)]


def test_from_disk_ranges_and_boxes_filter_points_and_table(
    browser: webdriver.Chrome, from_disk: tuple[SweepRecord, Review]
) -> None:
    record, made = from_disk
    browser.get(made.front_html.as_uri())
    wait_until_drawn(browser)
    steps = {trial.trial_id: float(str(trial.params["dual.step_size"])) for trial in record.trials}
    inside = {trial_id for trial_id, step in steps.items() if step <= 0.02}
    field = browser.find_element(By.CSS_SELECTOR, "#axis-fields input[aria-label='dual.step_size at most']")
    field.send_keys("0.02\t")
    until(lambda: set(browser.execute_script(_ROWS)) == inside)
    clear = {record.trials[int(str(point["index"]))].trial_id for point in points(browser) if float(str(point["opacity"])) > 0.2}
    assert clear == {trial_id for trial_id in inside if "objective" in record.trials[int(trial_id)].metrics}
    browser.find_element(By.ID, "clear").click()
    until(lambda: len(browser.execute_script(_ROWS)) == 25)
    # The other way: a box in the scatter, here from the empty corner below the front to one of its points, keeps what is in it.
    front = [point for point in points(browser) if point["name"] == "front"]
    chosen = sorted(front, key=lambda point: float(str(point["left"])))[len(front) // 2]
    x, y = (round(float(str(chosen[end]))) for end in ("left", "top"))
    corner_x, corner_y = browser.execute_script(_CORNER)
    plot = browser.find_element(By.ID, "plot")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    mouse = ActionChains(browser).move_to_element_with_offset(plot, corner_x, corner_y).click_and_hold()
    mouse.move_to_element_with_offset(plot, x, y).move_to_element_with_offset(plot, x + 5, y - 5).release().perform()
    expected = record.trials[int(str(chosen["index"]))].trial_id
    rows = until(lambda: found if len(found := browser.execute_script(_ROWS)) < 10 else [])
    assert [trial_id for trial_id in rows if trial_id in made.front_ids] == [expected]
    item = browser.find_element(By.CSS_SELECTOR, "#legend input[data-kind=front]")
    item.click()  # the legend is made of ordinary check boxes
    until(lambda: expected not in browser.execute_script(_ROWS))


def test_in_mlflow_the_point_opens_the_run(
    browser: webdriver.Chrome, served: tuple[SweepRecord, Review, str | None, UiServer]
) -> None:
    record, made, _, server = served
    first = browser.current_window_handle
    browser.get(front_link(server.base_url, record))
    frame = enter_front(browser)
    trial = made.front.trials[0]
    point_at(browser, trial.trial_id)
    # The page was made for http://127.0.0.1:5000, but is shown by this server: the link must lead here.
    link = browser.find_element(By.ID, "target").get_attribute("href")
    assert link == f"{server.base_url}/#/experiments/{record.experiment_id}/runs/{trial.run_id}?workflowType=machine_learning"
    # MLflow's viewer forbids what a plain click would need; it pins the card, which says how to go on.
    browser.find_element(By.ID, "target").click()
    card = browser.find_element(By.ID, "card")
    assert "pinned" in (card.get_attribute("class") or "") and "Ctrl-click" in card.text
    samples = "const image = document.querySelector('#card img.samples'); return image && image.complete && image.naturalWidth"
    assert browser.execute_script(samples) == 64
    assert browser.execute_script(_CUT_OFF) == []
    browser.switch_to.default_content()
    keep(browser, "front-in-mlflow")
    browser.switch_to.frame(frame)
    target = browser.find_element(By.ID, "target")
    ActionChains(browser).key_down("\ue009").click(target).key_up("\ue009").perform()
    opened = until(lambda: [handle for handle in browser.window_handles if handle != first])[0]
    browser.switch_to.window(opened)
    until(lambda: f"trial {trial.trial_id}" in browser.find_element(By.TAG_NAME, "body").text)
    assert browser.current_url.startswith(link)
    browser.close()
    browser.switch_to.window(first)


def test_in_mlflow_the_saved_view_opens_with_its_charts_drawn(
    browser: webdriver.Chrome, served: tuple[SweepRecord, Review, str | None, UiServer]
) -> None:
    record, _, view, server = served
    browser.get(f"{server.base_url}/{view}")
    shown = sum(trial.status != "diverged" and "objective" in trial.metrics for trial in record.trials)
    marks = "return [...document.querySelectorAll('.scatterlayer')].map(layer => layer.querySelectorAll('path.point').length)"
    until(lambda: any(count == shown for count in browser.execute_script(marks)))
    text = until(lambda: found if "Pareto front" in (found := browser.find_element(By.TAG_NAME, "body").text) else "")
    assert "value/max" in text and "Something went wrong" not in text
    picture = np.asarray(Image.open(io.BytesIO(keep(browser, "saved-view"))).convert("L"))
    assert picture.std() > 10


def test_in_mlflow_the_description_links_to_the_runs(
    browser: webdriver.Chrome, served: tuple[SweepRecord, Review, str | None, UiServer]
) -> None:
    record, made, _, server = served
    browser.get(f"{server.base_url}/#/experiments/{record.experiment_id}/runs/{record.parent_run_id}")
    trial = made.front.trials[0]
    more = until(lambda: browser.find_elements(By.XPATH, "//*[text()='Show more']"))
    more[0].click()
    selector = f"td a[href*='/runs/{trial.run_id}']"
    link = until(lambda: [link for link in browser.find_elements(By.CSS_SELECTOR, selector) if link.is_displayed()])[0]
    pictures = "return [...document.querySelectorAll('img[src*=get-artifact]')].filter(i => i.naturalWidth > 0).length"
    until(lambda: browser.execute_script(pictures) > 0)
    keep(browser, "description")
    link.click()
    until(lambda: trial.run_id in browser.current_url or len(browser.window_handles) > 1)
    browser.switch_to.window(browser.window_handles[-1])
    until(lambda: f"trial {trial.trial_id}" in browser.find_element(By.TAG_NAME, "body").text)
