"""The page in a real browser, against a real server."""

import base64
import io
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.serving.processes import serving
from tests.serving.servers import geotiff, picture, png, write_checkpoint

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: see `make browser`"),
]
playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: see `make setup`"
)

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
WAIT_MS = 240_000


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    (folder / "before.png").write_bytes(png(np.full((200, 200, 3), 60, np.uint8)))
    (folder / "after.png").write_bytes(png(np.full((200, 200, 3), 190, np.uint8)))
    (folder / "harbour.tif").write_bytes(geotiff(picture(180, 240)))
    (folder / "long.png").write_bytes(png(picture(2000, 2000)))
    return folder


@pytest.fixture(scope="module")
def address(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp("models")
    for name, tasks in (("tiny", ("semantic", "rotated")), ("dates", ("change",))):
        (folder / name).mkdir()
        write_checkpoint(folder / name / "best.safetensors", tasks)
    models = [folder / name / "best.safetensors" for name in ("tiny", "dates")]
    bounds = ("--max_upload_mb", 1, "--max_jobs", 3)
    with serving(*models, "--images", images, "--work", folder / "work", *bounds) as server:
        yield server.address


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))


@pytest.fixture
def opened(browser, address, request):
    """Opens the page; at the end nothing may have been asked of others, nor gone wrong in it."""
    contexts, asked, wrong = [], [], []

    def open_page(viewport=WIDE, **settings):
        context = browser.new_context(viewport=viewport, **settings)  # a new, empty profile
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("request", lambda r: asked.append(r.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if "Content Security" in m.text else None)
        page.goto(address)
        page.wait_for_selector("#jobs li", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
    assert [url for url in asked if not url.startswith((address, "blob:", "data:"))] == []


def keep(page, name):
    """A screenshot, in the folder named by GEOMTP_SCREENSHOTS if there is one."""
    folder = os.environ.get("GEOMTP_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png")


def drawn(page):
    """The pixels of the map (h, w, 4), once all of its tiles have come."""
    frames = "new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))"
    page.evaluate(frames)
    page.wait_for_selector("canvas[aria-busy=false]")
    page.evaluate(frames)
    address = page.evaluate("document.querySelector('canvas').toDataURL()")
    picture = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))
    return np.array(picture.convert("RGBA"))


def upload(page, name, content):
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": content})


def choose(page, image, model="tiny"):
    page.select_option("#model", model)
    page.select_option("#have", f"folder:{image}")
    page.wait_for_selector("#start:enabled")


def start_and_wait(page, score="0"):
    if not page.is_visible("#score"):
        page.click("summary")
    page.fill("#score", score)
    page.click("#start")
    page.wait_for_selector("#results:not([hidden])")


def test_from_an_upload_to_layers_and_files(opened, tmp_path):
    page = opened()
    keep(page, "1-empty")
    upload(page, "Hafen.tif", geotiff(picture(180, 240)))
    page.wait_for_selector("#start:enabled")
    plain = drawn(page)
    assert plain[..., 3].max() == 255  # the image is on the map
    keep(page, "2-image")
    start_and_wait(page)
    assert re.search("#job=[0-9a-f]{32}$", page.url)
    assert page.inner_text("#job-says") == "Done"
    with_layers = drawn(page)
    assert (with_layers != plain).any()
    keep(page, "3-layers")

    objects = page.locator("fieldset[data-task=rotated]")
    cover = page.locator("fieldset[data-task=semantic]")
    for box in cover.locator("input[type=checkbox]").all():
        box.uncheck()
    without_map = drawn(page)
    assert (without_map != with_layers).any()
    counts = lambda: [
        int(text) for text in objects.locator(".class span:last-child").all_inner_texts()
    ]
    before = counts()
    assert sum(before) > 0
    score = objects.locator("input[type=range]")
    assert score.input_value() == "0"
    score.fill("1")
    assert counts() == [0, 0]
    np.testing.assert_array_equal(drawn(page), plain)
    score.fill("0")
    assert counts() == before
    np.testing.assert_array_equal(drawn(page), without_map)

    page.focus("canvas")
    page.keyboard.press("n")
    card = page.locator("#object")
    surest = card.inner_text()
    assert re.search(r"(ship|plane)\s+score\s+0\.\d{3}\s+length\s+[\d.]+ m\s+width", surest)
    keep(page, "4-object")
    page.keyboard.press("n")
    assert card.inner_text() != surest
    page.keyboard.press("Escape")
    assert not card.is_visible()

    with page.expect_download() as download:
        page.click("text=Hafen_semantic.tif")
    download.value.save_as(tmp_path / "map.tif")
    assert (tmp_path / "map.tif").read_bytes()[:4] == b"II*\0"
    names = page.locator("#files a").all_inner_texts()
    assert {"Hafen_rotated.gpkg", "Hafen_rotated.geojson", "Hafen_summary.json"} <= set(names)


def test_a_click_chooses_the_object_below(opened):
    page = opened()
    choose(page, "harbour.tif")
    start_and_wait(page)
    page.focus("canvas")
    for _ in range(4):
        page.keyboard.press("+")
    page.keyboard.press("n")  # comes to the middle of the map where it was outside
    page.keyboard.press("Escape")
    box = page.locator("canvas").bounding_box()
    found = set()
    for dx in range(-200, 201, 40):
        page.mouse.click(box["x"] + box["width"] / 2 + dx, box["y"] + box["height"] / 2)
        if page.is_visible("#object"):
            found.add(page.inner_text("#object"))
    assert found
    assert all(re.match(r"(ship|plane)\s+score", text) for text in found)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("letter.png", b"Dear Sir or Madam", "letter.png cannot be read as an image"),
        ("large.png", bytes(1_200_000), "large.png is larger than 1 MB"),
        ("cut.png", png()[:300], "cut.png cannot be read"),
    ],
)
def test_bad_files_are_told_in_the_servers_words(opened, name, content, sentence):
    page = opened()
    upload(page, name, content)
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem p").startswith(sentence)
    assert page.locator("#problem").get_attribute("role") == "alert"
    keep(page, f"5-problem-{name.split('.')[0]}")
    page.click("#problem button")
    assert not page.is_visible("#problem")
    upload(page, "good.png", png())
    page.wait_for_selector("#start:enabled")


def test_a_job_outlives_a_reload_and_is_cancelled(opened):
    page = opened()
    choose(page, "long.png")
    page.click("#start")
    page.wait_for_selector("#job-progress[value]:not([value='0'])")
    keep(page, "6-progress")
    assert re.match(r"Running: \d+ of \d+ windows", page.inner_text("#job-says"))
    page.reload()
    page.wait_for_selector("#job-progress[value]:not([value='0'])")
    assert drawn(page)[..., 3].max() == 255  # its image is there again
    page.click("#cancel")
    page.wait_for_selector("#job-says:has-text('Cancelled')")
    assert not page.is_visible("#cancel")
    choose(page, "harbour.tif")
    start_and_wait(page)  # the next job runs


def test_two_dates_are_swiped(opened):
    page = opened()
    page.select_option("#model", "dates")
    page.select_option("#have", "folder:before.png")
    page.wait_for_selector("#dates b:has-text('before.png')")
    page.select_option("#have", "folder:after.png")
    page.wait_for_selector("#start:enabled")
    pixels = drawn(page)
    height, width = pixels.shape[:2]
    row = pixels[height // 2, :, 0]
    assert (row[width // 2 - 40], row[width // 2 + 40]) == (60, 190)
    page.locator("#swipe input").fill("100")
    assert drawn(page)[height // 2, width // 2 + 40, 0] == 60
    page.locator("#swipe input").fill("50")
    start_and_wait(page)
    assert page.locator("fieldset[data-task=change] .class").count() == 1
    drawn(page)
    keep(page, "7-change")


def test_the_map_moves_by_keys_wheel_and_fingers(opened):
    page = opened()
    choose(page, "harbour.tif")
    whole = drawn(page)
    lit = lambda: int((drawn(page)[..., 3] > 0).sum())
    at_first = lit()
    page.focus("canvas")
    page.keyboard.press("-")
    assert lit() < at_first
    page.keyboard.press("0")
    np.testing.assert_array_equal(drawn(page), whole)
    page.keyboard.press("ArrowRight")
    assert (drawn(page) != whole).any()
    page.keyboard.press("0")
    box = page.locator("canvas").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.wheel(0, 400)
    assert lit() < at_first
    page.keyboard.press("0")
    page.evaluate(
        """([x, y]) => { const c = document.querySelector("canvas");
        c.setPointerCapture = () => {};
        const tell = (type, id, dx) => c.dispatchEvent(new PointerEvent(type,
          { pointerId: id, clientX: x + dx, clientY: y, pointerType: "touch" }));
        tell("pointerdown", 1, -100); tell("pointerdown", 2, 100);
        tell("pointermove", 1, -50); tell("pointermove", 2, 50);
        tell("pointerup", 1, -50); tell("pointerup", 2, 50); }""",
        list(middle),
    )
    assert lit() < at_first / 3  # half as wide, half as high


def test_a_phone_has_room_for_it(opened):
    page = opened(NARROW, has_touch=True, is_mobile=True)
    choose(page, "harbour.tif")
    start_and_wait(page)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= NARROW["width"]
    page.evaluate("window.scrollTo(0, 0)")
    drawn(page)
    keep(page, "8-phone")
    page.locator("#layers").scroll_into_view_if_needed()
    keep(page, "9-phone-layers")
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, select, .class")].filter((e) =>
        e.offsetParent && e.getBoundingClientRect().height < 24).map((e) => e.outerHTML)"""
    )
    assert small == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(opened, scheme):
    page = opened(color_scheme=scheme)
    choose(page, "harbour.tif")
    start_and_wait(page)
    upload(page, "letter.png", b"Dear Sir or Madam")
    page.wait_for_selector("#problem:not([hidden])")
    drawn(page)
    keep(page, f"10-{scheme}")
    ratios = page.evaluate(CONTRASTS)
    assert len(ratios) > 20
    assert {text: ratio for text, ratio in ratios if ratio < 4.5} == {}


def test_everything_is_reached_by_the_tab_key_and_has_a_name(opened):
    page = opened()
    choose(page, "harbour.tif")
    start_and_wait(page)
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"model", "file", "have", "start", "CANVAS", "closer", "farther", "whole"} <= reached
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas, a")].filter((e) =>
        !(e.ariaLabel || e.labels?.length || e.textContent.trim())).map((e) => e.outerHTML)"""
    )
    assert nameless == []


# WCAG's contrast of each visible text with the nearest ground that is painted behind it.
CONTRASTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = numbers(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("#panel *, #map *:not(.unseen)")].filter((e) =>
      e.offsetParent && !e.disabled
      && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((e) => {
      const [a, b] = [light(numbers(getComputedStyle(e).color)), light(ground(e))];
      return [e.textContent.trim().slice(0, 40),
        (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    });
}"""
