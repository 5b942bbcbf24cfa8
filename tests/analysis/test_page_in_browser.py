"""The review page as people read it: by day and by night, samples side by side, columns by choice, a band that says nothing.

With the environment variable `SCREENSHOTS` set to a folder, what is looked at is kept there.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from dualsweep.analysis.comparing import compare
from dualsweep.analysis.figures.compare_html import compare_html
from dualsweep.analysis.review import Review, review
from dualsweep.analysis.thumbnails import shrunk
from dualsweep.analysis.trials import SweepRecord
from tests.analysis.browser import CHROMIUM, DRIVER, chromium, until, wait_until_drawn
from tests.analysis.made_up import made_up_sweep

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="neither chromium nor chromedriver was found on the PATH"),
]
_TRACES = "return document.getElementById('plot').data.map(trace => trace.name)"
_HEADS = "return [...document.querySelectorAll('#table th')].map(cell => cell.innerText.replace(/[^ -~]/g, '').trim())"
#: Moves the slider to a place, as an arrow key does.
_WALK = "const it = document.getElementById('walk'); it.value = arguments[0]; it.dispatchEvent(new Event('input')); return it.max"
#: What axe finds of WCAG 2 A and AA, in words.
_AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}).then(result => done(result.violations.flatMap(rule =>
  rule.nodes.map(node => `${rule.impact}: ${rule.help}: ${node.target} ${node.any.map(one => one.message).join('; ')}`))));
"""
#: The text of the knee and the frame, as boxes: left, top, right, bottom.
_BOXES = """
const box = (element) => {
  const { left, top, right, bottom } = element.getBoundingClientRect();
  return [left, top, right, bottom];
};
const named = [...document.querySelectorAll('#plot .textpoint text')].filter(text => text.textContent.trim());
return [named.map(box), box(document.getElementById('plot'))];
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with chromium() as driver:
        yield driver


def picture(colour: str) -> str:
    file = io.BytesIO()
    Image.new("RGB", (264, 264), colour).save(file, "PNG")
    return shrunk(file.getvalue())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepRecord, Review]:
    record = made_up_sweep(40)
    pictures = {trial.trial_id: picture("red" if place % 2 else "blue") for place, trial in enumerate(record.trials)}
    return record, review(record, tmp_path_factory.mktemp("page"), thumbnails=pictures)


def opened(browser: webdriver.Chrome, page: Review, *, scheme: str = "light") -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.front_html.as_uri())
    wait_until_drawn(browser)


def keep(browser: webdriver.Chrome, name: str) -> Image.Image:
    png = browser.get_screenshot_as_png()
    if folder := os.environ.get("SCREENSHOTS"):
        (Path(folder) / f"{name}.png").write_bytes(png)
    return Image.open(io.BytesIO(png)).convert("L")


def test_the_page_is_dark_where_the_system_is(browser: webdriver.Chrome, made: tuple[SweepRecord, Review]) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        opened(browser, made[1], scheme=scheme)
        grey = keep(browser, scheme).histogram()
        shades[scheme] = max(range(256), key=grey.__getitem__)
        plotted = browser.execute_script("return document.getElementById('plot').layout.paper_bgcolor")
        assert plotted == {"light": "#ffffff", "dark": "#14181e"}[scheme]
    assert shades["light"] > 250 and shades["dark"] < 40


def test_the_knee_s_name_stands_inside_the_frame(browser: webdriver.Chrome, made: tuple[SweepRecord, Review]) -> None:
    opened(browser, made[1])
    for across, up in (("objective", "value/max"), ("value/max", "objective"), ("multiplier/four", "objective")):
        Select(browser.find_element(By.ID, "x-axis")).select_by_value(across)
        Select(browser.find_element(By.ID, "y-axis")).select_by_value(up)
        names, frame = until(lambda: (boxes := browser.execute_script(_BOXES))[0] and boxes)
        for left, top, right, bottom in names:
            assert frame[0] <= left and right <= frame[2] and frame[1] <= top and bottom <= frame[3]


def test_a_band_that_fills_the_plot_is_left_out_and_said(browser: webdriver.Chrome, tmp_path: Path) -> None:
    record = made_up_sweep(40)
    vague = tuple(
        replace(trial, constraints=tuple(replace(each, multiplier_error=50.0, slack_error=0.5) for each in trial.constraints))
        for trial in record.trials
    )
    for record_shown, there in ((record, True), (replace(record, trials=vague), False)):
        opened(browser, review(record_shown, tmp_path / str(there)))
        assert ("band" in browser.execute_script(_TRACES)) == there
        assert ("it fills the plot" in browser.find_element(By.ID, "drawn").text) != there
    keep(browser, "no-band")


def test_columns_are_added_by_choice_and_sort(browser: webdriver.Chrome, made: tuple[SweepRecord, Review]) -> None:
    opened(browser, made[1])
    assert "eval/fid" not in browser.execute_script(_HEADS)
    browser.find_element(By.CSS_SELECTOR, "#columns summary").click()
    box = browser.find_element(By.CSS_SELECTOR, "[data-column='eval/fid']")
    box.click()
    assert "eval/fid" in browser.execute_script(_HEADS)
    assert browser.find_element(By.ID, "kept").text == "40 trials, best rank first; the front has rank 1."
    browser.execute_script("[...document.querySelectorAll('#table th button')].find(b => b.textContent === 'eval/fid').click()")
    first = browser.find_element(By.CSS_SELECTOR, "#table tr[data-trial]").get_attribute("data-trial")
    assert browser.find_element(By.ID, "kept").text == "40 trials; the front has rank 1."
    assert (
        first == min((trial for trial in made[0].trials if trial.metrics), key=lambda trial: trial.metrics["eval/fid"]).trial_id
    )
    box.click()
    assert "eval/fid" not in browser.execute_script(_HEADS)


def test_a_slider_walks_along_the_front(browser: webdriver.Chrome, made: tuple[SweepRecord, Review]) -> None:
    """From the least value across to the largest, with the card of each trial and its samples."""
    opened(browser, made[1])
    last, card, told = int(browser.execute_script(_WALK, 0)), browser.find_element(By.ID, "card"), []
    assert last + 1 == len(made[1].front.trials) > 3
    for place in range(last + 1):
        browser.execute_script(_WALK, place)
        words = browser.find_element(By.ID, "walked").text
        shown = card.find_element(By.CLASS_NAME, "head").text.split()[1]
        assert words.startswith(f"trial {shown}: ") and "λ four" in words and card.find_elements(By.TAG_NAME, "img")
        told.append(float(words.split(", ")[0].rsplit(" ", 1)[1]))
    assert told == sorted(told) and len(set(told)) > 3
    keep(browser, "walk")
    browser.find_element(By.ID, "walk").send_keys(Keys.HOME)
    told_aloud = browser.find_element(By.ID, "walk").get_attribute("aria-valuetext")
    assert told_aloud and told_aloud == browser.find_element(By.ID, "walked").text
    browser.find_element(By.ID, "walk").send_keys(Keys.ESCAPE)
    assert not card.is_displayed()


@pytest.mark.parametrize("part", ["a", "table"])
def test_the_card_that_the_slider_shows_can_be_used(
    browser: webdriver.Chrome, made: tuple[SweepRecord, Review], part: str
) -> None:
    """Its link opens the run, and other parts take a click, though either takes the focus from the slider."""
    opened(browser, made[1])
    browser.find_element(By.ID, "walk").send_keys(Keys.END)
    before, card = browser.current_window_handle, browser.find_element(By.ID, "card")
    card.find_element(By.CSS_SELECTOR, f".{'hint' if part == 'a' else 'facts'} {part}").click()
    if part == "a":
        (tab,) = until(lambda: [handle for handle in browser.window_handles if handle != before])
        browser.switch_to.window(tab)
        browser.close()
        browser.switch_to.window(before)
    assert card.is_displayed()


@pytest.mark.parametrize(("keys", "stays"), [([Keys.SHIFT, Keys.TAB], True), ([Keys.TAB], False)])
def test_the_keyboard_leads_from_the_slider_into_its_card(
    browser: webdriver.Chrome, made: tuple[SweepRecord, Review], keys: list[str], stays: bool
) -> None:
    """The card stands before the slider; who goes on has done with it."""
    opened(browser, made[1])
    browser.find_element(By.ID, "walk").send_keys(Keys.END)
    browser.find_element(By.ID, "walk").send_keys(*keys)
    card = browser.find_element(By.ID, "card")
    assert card.is_displayed() == stays
    assert browser.execute_script("return arguments[0].contains(document.activeElement)", card) == stays


@pytest.mark.parametrize("end", ["least", "largest"])
def test_a_range_that_is_dragged_to_an_end_of_its_axis_has_the_trial_there(
    browser: webdriver.Chrome, end: str, tmp_path: Path
) -> None:
    """On a logarithmic axis, whose ends the exponential of their logarithm misses; and its other field keeps that end."""
    record = made_up_sweep(40)
    steps = np.geomspace(0.001, 0.1000000001, 40).tolist()
    trials = tuple(
        replace(one, params={**one.params, "dual.step_size": step}) for one, step in zip(record.trials, steps, strict=True)
    )
    opened(browser, review(replace(record, trials=trials), tmp_path))
    names = [each.text.replace("\u200b", "") for each in browser.find_elements(By.CSS_SELECTOR, "#axis-names .axis-name")]
    canvas = browser.find_element(By.ID, "lines")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    across = round((names.index("dual.step_size") + 0.5) / len(names) * canvas.size["width"] - canvas.size["width"] / 2)
    beyond = 118 if end == "least" else -118  # from the middle of the axis, 220 long, which stands 3 above that of the canvas
    mouse = ActionChains(browser).move_to_element_with_offset(canvas, across, -3).click_and_hold()
    mouse.move_to_element_with_offset(canvas, across, beyond).release().perform()
    until(lambda: "of 40 trials" in browser.find_element(By.ID, "kept").text)
    rows = [row.get_attribute("data-trial") for row in browser.find_elements(By.CSS_SELECTOR, "#table tr[data-trial]")]
    assert trials[0 if end == "least" else -1].trial_id in rows and 15 < len(rows) < 25
    field = f"#axis-fields input[aria-label='dual.step_size {'at most' if end == 'least' else 'at least'}']"
    browser.find_element(By.CSS_SELECTOR, field).clear()
    told = until(lambda: kept if (kept := browser.find_element(By.ID, "kept").text) > "26" else "")
    assert told.startswith("40 of 40 trials")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_nothing_to_say(browser: webdriver.Chrome, made: tuple[SweepRecord, Review], scheme: str) -> None:
    opened(browser, made[1], scheme=scheme)
    browser.execute_script((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    browser.set_script_timeout(120)
    assert browser.execute_async_script(_AXE) == []
    browser.execute_script(_WALK, 1)  # with a card that is shown
    assert browser.execute_async_script(_AXE) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_nothing_to_say_of_a_comparison(browser: webdriver.Chrome, scheme: str, tmp_path: Path) -> None:
    sweeps = [
        replace(made_up_sweep(12, seed=seed), sampler=name, parent_run_id=name) for seed, name in enumerate(("tpe", "random"))
    ]
    page = tmp_path / "compare.html"
    page.write_text(compare_html(compare(sweeps, "sampler")), encoding="utf-8")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.get(page.as_uri())
    until(lambda: browser.find_elements(By.CSS_SELECTOR, ".main-svg"))
    browser.execute_script((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    browser.set_script_timeout(120)
    assert browser.execute_async_script(_AXE) == []


def test_samples_are_enlarged_and_two_trials_stand_side_by_side(
    browser: webdriver.Chrome, made: tuple[SweepRecord, Review]
) -> None:
    opened(browser, made[1])
    thumbs = browser.find_elements(By.CSS_SELECTOR, "#table .thumb")
    assert thumbs[0].size["width"] >= 80
    thumbs[0].click()
    dialog = browser.find_element(By.ID, "large")
    assert len(dialog.find_elements(By.TAG_NAME, "img")) == 1
    assert dialog.find_element(By.TAG_NAME, "img").size["width"] >= 400
    dialog.find_element(By.XPATH, ".//button[contains(., 'beside')]").click()
    browser.find_elements(By.CSS_SELECTOR, "#table .thumb")[1].click()
    pair = browser.find_element(By.ID, "large").find_elements(By.TAG_NAME, "img")
    assert len({each.get_attribute("alt") for each in pair}) == 2 and pair[0].location["y"] == pair[1].location["y"]
    keep(browser, "side-by-side")
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
