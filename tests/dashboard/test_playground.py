"""The playground in Chromium over tiny models of many tasks: what is asked, and how answers are drawn."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from modeldeploy.schema.tasks import TASKS, file_fields
from modeldeploy.worker.dialects.native import Native
from modeldeploy.worker.http import requests
from modeldeploy.worker.http.openapi import document
from modeldeploy.worker.http.operations import About
from tests.cli.test_summary import parts_of
from tests.dashboard.browser import WAIT_MS, grave_faults
from tests.dashboard.conftest import front_door
from tests.e2e.instance import Instance
from tests.models import sounds, tables, tiny, vision
from tests.models.common import encoded

pytestmark = pytest.mark.e2e

expect.set_options(timeout=WAIT_MS)
MODELS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "boxes": (vision.yolos, "object-detection"),
    "masks": (vision.segformer, "image-segmentation"),
    "listen": (sounds.whisper, "automatic-speech-recognition"),
    "speak": (sounds.vits, "text-to-speech"),
    "table": (tables.tapas, "table-question-answering"),
    "pairs": (partial(tiny.sentence_encoder, pooling="mean"), "sentence-similarity"),
    "labels": (tiny.entailer, "zero-shot-classification"),
    "words": (tiny.tagger, "token-classification"),
}


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with front_door(MODELS) as one:
        yield one


def opened(page: Page, instance: Instance, name: str) -> None:
    page.goto(f"{instance.front}/#/{name}/playground")
    expect(page.locator(".title")).to_contain_text(name)
    page.get_by_role("button", name="Ask").wait_for()


def ask(page: Page) -> Locator:
    """Where the answer is, once it is there."""
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".request .took")).to_contain_text("in the model")
    return page.locator(".answer")


def test_what_was_detected_lies_in_boxes_over_the_picture(page: Page, instance: Instance) -> None:
    opened(page, instance, "boxes")
    page.get_by_text("Parameters").click()
    page.get_by_label("Threshold").fill("0")
    found = ask(page).locator(".scored").count()
    boxes = page.locator(".canvas rect.box")
    assert boxes.count() == found > 0
    width, height = page.locator(".canvas img").evaluate("i => [i.naturalWidth, i.naturalHeight]")
    assert page.locator(".canvas svg").get_attribute("viewBox") == f"0 0 {width} {height}"
    colours = boxes.evaluate_all("all => all.map(one => getComputedStyle(one).stroke)")
    swatches = page.locator(".answer .swatch").evaluate_all(
        "all => all.map(one => getComputedStyle(one).backgroundColor)"
    )
    assert colours == swatches, "the answer tells which box is which"
    page.get_by_label("Threshold").fill("1")
    expect(ask(page)).to_contain_text("Nothing was found.")
    expect(boxes).to_have_count(0)


def test_what_was_segmented_lies_as_veils_over_the_picture(page: Page, instance: Instance) -> None:
    opened(page, instance, "masks")
    found = ask(page).locator(".swatch").count()
    veils = page.locator(".canvas canvas")
    expect(veils).to_have_count(found)
    covered = veils.evaluate_all(
        """all => all.map(one => { const {width, height} = one;
        const pixels = one.getContext("2d").getImageData(0, 0, width, height).data;
        return pixels.filter((_, at) => at % 4 === 3 && pixels[at]).length / (width * height); })"""
    )
    assert found > 1
    assert all(0 < share < 1 for share in covered)
    assert sum(covered) == pytest.approx(1, abs=0.01), "each pixel is of one kind"


def test_a_sound_is_heard_and_its_words_are_shown(
    page: Page, instance: Instance, tmp_path: Path
) -> None:
    opened(page, instance, "listen")
    file = tmp_path / "said.wav"
    file.write_bytes(sounds.encoded(sounds.noise(0.5)))
    page.locator("input[type=file]").set_input_files(file)
    expect(page.locator(".drop")).to_contain_text("said.wav")
    sent = page.locator(".drop audio")
    expect(sent).to_have_js_property("readyState", 4)
    assert sent.evaluate("a => a.duration") == pytest.approx(0.5, abs=0.05)
    expect(ask(page).locator(".written")).to_have_count(1)
    expect(page.locator(".curl code")).to_contain_text("-F 'audio=@said.wav'")


@pytest.mark.parametrize("name", ["boxes", "listen"])
def test_swagger_sends_a_file_in_a_form(
    page: Page, instance: Instance, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "file"
    is_sound = name == "listen"
    file.write_bytes(sounds.encoded(sounds.noise(0.5)) if is_sound else encoded(vision.picture()))
    page.goto(f"{instance.front}/deployments/{name}/docs")
    block = page.locator("[id$='post_predict']").first
    block.locator(".opblock-summary-control").click()
    block.locator(".content-type").first.select_option("multipart/form-data")
    block.locator("input[type=file]").set_input_files(file)
    block.get_by_role("button", name="Execute").click()
    status = block.locator(".live-responses-table .response .response-col_status")
    expect(status).to_contain_text("200")


def test_a_text_is_spoken_and_can_be_played(page: Page, instance: Instance) -> None:
    opened(page, instance, "speak")
    page.get_by_label("Text", exact=True).fill("hello")
    audio = ask(page).locator("audio")
    expect(audio).to_have_js_property("readyState", 4)
    assert audio.evaluate("a => a.duration") > 0


def test_a_table_is_typed_into_cells_and_the_answer_is_marked_in_it(
    page: Page, instance: Instance
) -> None:
    opened(page, instance, "table")
    page.get_by_label("Query").fill("Where does Alan live?")
    page.get_by_role("button", name="Add a row").click()
    page.get_by_label("Row 3, column 1").fill("Alan")
    page.get_by_label("Row 3, column 2").fill("Wilmslow")
    page.get_by_role("button", name="Add a row").click()  # an empty one is not sent
    with page.expect_response("**/table/predict") as answered:
        ask(page)
    asked = json.loads(answered.value.request.post_data or "")
    assert asked["table"] == {
        "name": ["Ada", "Grace", "Alan"],
        "city": ["London", "New York", "Wilmslow"],
    }
    result = answered.value.json()["result"]
    expect(page.locator(".answer")).to_contain_text(result["answer"])
    marked = page.locator(".sheet .found input")
    assert sorted(marked.evaluate_all("all => all.map(one => one.value)")) == sorted(
        result["cells"]
    )
    page.get_by_role("button", name="Add a column").click()
    page.get_by_label("Name of column 3").fill("born")
    expect(page.locator(".curl code")).to_contain_text('"born":["","",""]')


def test_pairs_are_compared_and_the_other_shape_of_the_request_is_there(
    page: Page, instance: Instance
) -> None:
    opened(page, instance, "pairs")
    page.get_by_label("Source sentence").fill("one two")
    page.get_by_label("Sentences").fill("one two\nthree")
    (same, other) = (float(text) for text in ask(page).locator(".scored .score").all_inner_texts())
    assert same == pytest.approx(1, abs=0.01)
    assert other < same
    expect(page.locator(".answer .scored .name").nth(1)).to_have_text("three")
    page.get_by_role("button", name="Feature extraction").click()
    page.get_by_label("Text", exact=True).fill("one")
    expect(ask(page)).to_contain_text("numbers, of length")


def test_labels_of_ones_own_are_scored(page: Page, instance: Instance) -> None:
    opened(page, instance, "labels")
    page.get_by_label("Candidate labels").fill("sport\nweather\nfood")
    names = ask(page).locator(".scored .name").all_inner_texts()
    assert sorted(names) == ["food", "sport", "weather"]


def test_words_are_marked_in_their_text(page: Page, instance: Instance) -> None:
    opened(page, instance, "words")
    text = page.get_by_label("Text", exact=True)
    written = ask(page).locator(".written")
    assert written.locator("mark").count() > 0
    marked = re.sub(r" \S+ \d\.\d\d", "", written.inner_text())
    assert marked == text.input_value()


def test_every_task_has_a_form_that_begins_with_its_example(page: Page, instance: Instance) -> None:
    """By the tasks' own documents, which are given to the page in place of a deployment's."""
    for task in TASKS.values():
        about = About(task=task, deployment="digits", model_id="org/name")
        described = document(Native.operations(about), about.schemas.parts, "one")
        told = partial(Route.fulfill, body=described)
        page.route("**/digits/openapi.json", lambda route, _, told=told: told(route))
        page.goto("about:blank")
        opened(page, instance, "digits")
        command = shlex.split(page.locator(".curl code").inner_text())
        files = {*file_fields(task.inputs)} & {*task.example}
        for file in files:  # one of the asker's own, in place of the one that is shown
            drop = page.get_by_role("group", name=file, exact=True)
            shown = drop.locator(".stage [src]").get_attribute("src") or ""
            assert shown.partition(",")[2] == task.example[file]
        if files:
            asked = requests.from_form(task, parts_of(command[2:]), most=1)
            assert asked.parameters == requests.example(task, task.example).parameters, task.name
        else:
            assert json.loads(command[-1]) == json.loads(msgspec.json.encode(task.example))
        assert "Not supported" not in page.locator(".request").inner_html(), task.name
        page.unroute("**/digits/openapi.json")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", MODELS)
def test_each_can_be_used_by_everybody_also_on_a_phone(
    page: Page, instance: Instance, name: str, scheme: str
) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    opened(page, instance, name)
    ask(page)
    assert not grave_faults(page)
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for way in page.locator(".drop label").all():
        expect(way).to_be_visible()
    assert not grave_faults(page)
