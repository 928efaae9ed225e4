"""What somebody meets who does more with the dashboard than the plain way: keys, phones, many windows."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, ViewportSize, expect

import modeldeploy
from tests.builtin.test_digits import EXAMPLES
from tests.dashboard.browser import WAIT_MS, Visitor, grave_faults
from tests.e2e.instance import Instance, eventually

pytestmark = pytest.mark.e2e

expect.set_options(timeout=WAIT_MS)
PHONE = ViewportSize(width=390, height=844)


def deploy_form(page: Page) -> None:
    page.get_by_role("button", name="Deploy a model").click()
    expect(page.get_by_label("Model", exact=True)).to_be_visible()


def answer_with(page: Page, path: str, result: object) -> None:
    whole = {"status": "success", "result": result, "inference_time_ms": 1}
    page.route(path, lambda route: route.fulfill(json=whole))


def test_on_a_phone_a_file_is_chosen_and_read(page: Page, instance: Instance) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{instance.front}/#/digits/playground")
    with page.expect_file_chooser() as choosing:
        page.get_by_text("choose one").click()
    choosing.value.set_files(EXAMPLES[1])
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".scored .name").first).to_have_text(EXAMPLES[1].stem)
    endpoint = page.locator(".endpoint code")
    expect(endpoint).to_have_text(f"{instance.front}/deployments/digits/predict")
    assert endpoint.evaluate("code => code.scrollWidth <= code.clientWidth"), "nothing is cut off"


def test_a_key_is_made_in_the_form_and_asked_for_once(page: Page, instance: Instance) -> None:
    deploy_form(page)
    page.get_by_label("Model", exact=True).fill("builtin/sentiment")
    page.get_by_label("Name", exact=True).fill("locked")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("API key").select_option("make one, shown once")
    page.get_by_role("button", name="Deploy", exact=True).click()
    shown = page.get_by_role("dialog")
    expect(shown).to_contain_text("The API key of locked")
    key = shown.locator("pre").inner_text()
    assert not grave_faults(page)
    shown.get_by_role("button", name="I have it").click()
    expect(page.locator(".title")).to_contain_text("running")
    expect(page.get_by_text("end to end, without padding")).to_be_visible()
    asked = instance.inspect("locked")
    assert asked["keys"] == 1
    assert key not in json.dumps(asked)

    page.reload()  # and the key is forgotten
    expect(page.locator("[data-of=Threads]")).to_be_visible()
    expect(page.locator("[data-of='API keys']")).to_contain_text("typed in the playground")
    page.get_by_role("link", name="Playground").click()
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("alert")).to_contain_text("API key")
    expect(page.get_by_label("API key")).to_be_focused()
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".answer")).to_contain_text("TIVE")
    command = page.locator(".curl code")
    expect(command).to_contain_text('-H "authorization: Bearer $KEY"')
    assert key not in command.inner_text()
    assert not grave_faults(page)
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_text("end to end, without padding")).to_be_visible()
    instance.run("rm", "-f", "locked")


def test_a_chat_shows_its_key(page: Page, instance: Instance) -> None:
    page.goto(f"{instance.front}/#/chat/playground")
    key = instance.run("keys", "add", "chat").stdout.split()[-1]
    try:
        page.get_by_label("API key").fill(key)
        page.get_by_label("at most").fill("4")
        page.get_by_label("Message").fill("Say hello.")
        page.get_by_label("Message").press("Enter")
        expect(page.locator(".took")).to_contain_text("first word after")
        expect(page.locator(".curl code")).to_contain_text("Bearer $KEY")
    finally:
        for one in json.loads(instance.run("keys", "ls", "chat", "--json").stdout):
            instance.run("keys", "revoke", "chat", one["id"], "--open")


def test_the_form_is_made_once_and_says_why_it_is_not(page: Page, owner: Visitor) -> None:
    page.route("**/api/defaults", lambda route: route.fulfill(status=503, json={"error": "gone"}))
    page.get_by_role("button", name="Deploy a model").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text("gone")
    expect(dialog.get_by_role("button", name="Deploy", exact=True)).to_be_hidden()
    dialog.get_by_role("button", name="Close").click()
    page.unroute("**/api/defaults")
    (refused,), _ = owner.held_against()
    assert "503" in refused
    page.get_by_role("button", name="Deploy a model").evaluate("b => { b.click(); b.click(); }")
    expect(page.get_by_label("Model", exact=True)).to_have_count(1)
    page.get_by_label("Model", exact=True).fill("kept")
    page.keyboard.press("Escape")
    deploy_form(page)
    expect(page.get_by_label("Model", exact=True)).to_have_value("kept")


def test_what_failed_is_deployed_again_with_something_else(
    page: Page, owner: Visitor, instance: Instance
) -> None:
    instance.run("deploy", "builtin/sentiment", "--name", "wrong", "--task", "fill-mask", ok=False)
    assert instance.inspect("wrong")["state"] == "FAILED"
    page.goto(f"{instance.front}/#/wrong")
    expect(page.get_by_role("heading", name="What it is")).to_be_visible()
    expect(page.locator(".cards")).to_be_hidden()
    page.get_by_role("button", name="Deploy again with").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("wrong")
    task = page.get_by_label("Task", exact=True)
    expect(task).to_have_value("fill-mask")
    task.fill("no-such-task")
    page.get_by_role("button", name="Deploy", exact=True).press("Enter")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("no-such-task")
    expect(page.get_by_role("button", name="Deploy", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".title")).to_contain_text("failed")  # what was refused took no place
    (refused,), _ = owner.held_against()
    assert "422" in refused
    page.get_by_role("button", name="Deploy again with").click()
    task.fill("text-classification")
    page.get_by_role("button", name="Deploy", exact=True).click()
    expect(page.locator(".title")).to_contain_text("running")
    assert instance.inspect("wrong")["task"] == "text-classification"
    expect(page.locator(".endpoint a")).to_have_attribute("href", "deployments/wrong/docs")
    instance.run("rm", "-f", "wrong")


def test_what_was_typed_stays_over_other_tabs_and_a_restart(page: Page, instance: Instance) -> None:
    page.goto(f"{instance.front}/#/chat/playground")
    page.get_by_label("Message").fill("Say hello.")
    page.get_by_label("Message").press("Enter")
    expect(page.locator(".took")).to_contain_text("first word after")
    page.get_by_label("Message").fill("not sent yet")
    page.get_by_role("link", name="Logs").click()
    page.get_by_role("link", name="Playground").click()
    with page.expect_response("**/chat/openapi.json"):
        page.get_by_role("button", name="Restart").click()
    page.wait_for_timeout(300)
    expect(page.locator(".turns .user p")).to_have_text("Say hello.")
    expect(page.get_by_label("Message")).to_have_value("not sent yet")


def test_the_keyboard_asks_again_and_an_empty_text_is_not_sent(
    page: Page, instance: Instance
) -> None:
    page.goto(f"{instance.front}/#/chat/playground")
    page.get_by_role("button", name="Request", exact=True).click()
    ask = page.get_by_role("button", name="Ask")
    ask.focus()
    for _ in range(2):
        with page.expect_response("**/chat/predict"):
            page.keyboard.press("Enter")
        expect(page.locator(".request .took")).to_contain_text("in the model")
        expect(ask).to_be_focused()
    page.get_by_label("Text", exact=True).fill("")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    ask.click()
    assert page.get_by_label("Text", exact=True).evaluate("node => node.validity.valueMissing")
    assert not [url for url in asked if url.endswith("/predict")]


def test_an_answer_is_drawn_over_the_picture_that_was_asked_about(
    page: Page, instance: Instance
) -> None:
    page.goto(f"{instance.front}/#/digits/playground")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/digits/predict", hold)
    found = [{"label": "cat", "score": 0.9, "box": {"xmin": 1, "ymin": 2, "xmax": 5, "ymax": 7}}]
    whole = {"status": "success", "result": found, "inference_time_ms": 1}
    for picture, boxes in ((EXAMPLES[0], 0), (None, 1)):
        with page.expect_request("**/digits/predict"):
            page.get_by_role("button", name="Ask").click()
        if picture:
            page.locator("input[type=file]").set_input_files(picture)
            expect(page.locator(".drop")).to_contain_text(picture.name)
        held.pop().fulfill(json=whole)
        expect(page.locator(".answer .scored")).to_have_count(1)
        note = page.locator(".answer").get_by_text("of the image that was there before")
        expect(note).to_have_count(1 - boxes)
        expect(page.locator(".canvas rect.box")).to_have_count(boxes)


def test_what_can_only_be_one_thing_is_not_asked_and_texts_are_typed_a_line_each(
    page: Page, instance: Instance
) -> None:
    page.goto(f"{instance.front}/#/chat/playground")
    page.get_by_role("button", name="Request", exact=True).click()
    page.get_by_text("Parameters").click()
    expect(page.get_by_label("Seed")).to_be_visible()
    for one in ("Best of", "Watermark", "Grammar"):
        expect(page.get_by_label(one)).to_have_count(0)
    page.get_by_label("Stop", exact=True).fill("the end\n\n###")
    page.get_by_label("Details").select_option("brief")
    page.get_by_label("Do sample").select_option("false")
    command = page.locator(".curl code")
    expect(command).to_contain_text('"stop":["the end","###"]')
    expect(command).to_contain_text('"details":"brief"')
    expect(command).to_contain_text('"do_sample":false')
    with page.expect_response("**/chat/predict") as answered:
        page.get_by_role("button", name="Ask").click()
    assert answered.value.status == 200


def test_beside_the_list_is_the_first_deployment_or_how_to_have_one(
    page: Page, instance: Instance
) -> None:
    title = page.locator(".title")
    expect(title).to_contain_text("digits")
    chosen = page.locator(".rows [aria-current]")
    expect(chosen).to_contain_text("digits")
    page.set_viewport_size(PHONE)
    expect(title).to_have_count(0)  # there is room for the list alone
    expect(chosen).to_have_count(0)
    page.get_by_role("link", name="chat").click()
    expect(title).to_contain_text("chat")
    line = json.dumps({"deployments": []}) + "\n"
    page.route("**/api/v1/watch", lambda route: route.fulfill(status=200, body=line))
    page.set_viewport_size({"width": 1280, "height": 820})
    page.goto("about:blank")
    page.goto(instance.front)
    expect(page.get_by_role("heading", name="Deploy your first model")).to_be_visible()


def test_commands_leave_the_keyboard_where_it_is(page: Page, instance: Instance) -> None:
    instance.deploy("builtin/digits", "--name", "keyed")
    page.goto(f"{instance.front}/#/keyed")
    title = page.locator(".title")
    stop, start, restart, remove = (
        page.get_by_role("button", name=name, exact=True)
        for name in ("Stop", "Start", "Restart", "Remove")
    )
    stop.press("Enter")
    expect(title).to_contain_text("stopped")
    expect(start).to_be_focused()
    page.keyboard.press("Enter")
    expect(title).to_contain_text("running")
    expect(stop).to_be_focused()
    pid = instance.inspect("keyed")["replicas"][0]["pid"]
    restart.press("Enter")
    eventually(lambda: [one["pid"] for one in instance.inspect("keyed")["replicas"]] != [pid])
    expect(title).to_contain_text("running")
    expect(restart).to_be_focused()
    remove.press("Enter")
    page.keyboard.press("Enter")  # keep it
    expect(remove).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Remove it").press("Enter")
    expect(page.get_by_text("There is no deployment named keyed.")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="All deployments")).to_be_focused()


def test_where_there_is_nothing_the_keyboard_stays_too(page: Page, instance: Instance) -> None:
    page.goto(f"{instance.front}/#/nobody")
    link = page.get_by_role("link", name="All deployments")
    link.focus()
    instance.deploy("builtin/digits", "--name", "newcomer")
    expect(page.get_by_role("link", name="newcomer")).to_be_visible()
    expect(link).to_be_focused()
    instance.run("rm", "-f", "newcomer")


def test_how_it_runs_is_calm_and_in_order(page: Page, instance: Instance) -> None:
    measured = "measured: 1: 430 inputs/s, 2: 520, 4: 610; 2 at a time: 1: 610, 2: 700, 4: 720"
    calls = f"of up to 4 inputs; when several wait, 2 at a time with 1 thread each ({measured})"
    notes = "It is one of many (and what stands in brackets is no less of it), as everybody knows (or not)"
    told = {"parameters": 1234, "runs": {"calls": calls, "weights": "plain"}, "notes": [notes]}
    page.route("**/deployments/digits/info", lambda route: route.fulfill(json=told))
    page.goto("about:blank")
    page.goto(f"{instance.front}/#/digits")
    fact = page.locator("[data-of=Calls]")
    expect(fact.get_by_text("of up to 4 inputs")).to_be_visible()
    expect(fact.get_by_text("measured")).to_be_hidden()
    fact.get_by_text("How that was found").click()
    expect(fact.get_by_text(measured)).to_be_visible()
    expect(page.locator("[data-of=Notes]").get_by_text(notes)).to_be_visible()
    expect(page.locator("[data-of=Weights] summary")).to_be_hidden()
    names = page.locator(".facts dt").all_inner_texts()
    places = [names.index(one) for one in ("Task", "Parameters", "Calls", "Weights", "Port")]
    assert places == sorted(places), "also of what was told later"
    assert not grave_faults(page)


def _said(room: str) -> Iterator[str]:
    """What the package's programs say of the command line."""
    for file in (Path(modeldeploy.__file__).parent / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                parts = getattr(node.value, "values", [node.value])
                texts = (one.value if isinstance(one, ast.Constant) else "a-name" for one in parts)
                text = "".join(map(str, texts))
                if "--" in text or "modeldeploy " in text:
                    yield text


def test_what_is_advised_can_be_done_on_the_page(page: Page) -> None:
    hints = [hint for room in ("supervisor", "hub", "worker") for hint in _said(room)]
    assert len(hints) > 30
    shown = page.evaluate(
        "async (hints) => hints.map((await import('/dashboard/hints.js')).here)", hints
    )
    # What the form has no field for, and other programs' options.
    elsewhere = r"--(?!cache-dir|open|merge)\w|modeldeploy (?!daemon|keys|serves|does|loads)\w"
    left = [text for text in shown if re.search(elsewhere, text)]
    assert not left


def test_leaving_ends_what_was_asked(page: Page, instance: Instance) -> None:
    page.goto(f"{instance.front}/#/digits/playground")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/digits/predict", hold)
    with page.expect_request("**/digits/predict") as asked:
        page.get_by_role("button", name="Ask").click()
    with page.expect_event("requestfailed") as failed:
        page.get_by_role("link", name="Overview").click()
    assert failed.value == asked.value
    page.unroute("**/digits/predict")


def test_each_of_many_that_were_found_has_its_own_colour(page: Page, instance: Instance) -> None:
    page.goto(f"{instance.front}/#/digits/playground")
    boxes = [
        {
            "label": f"thing {at}",
            "score": None,
            "box": {"xmin": at, "ymin": 0, "xmax": 9, "ymax": 9},
        }
        for at in range(40)
    ]
    answer_with(page, "**/digits/predict", boxes)
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".legend .scored")).to_have_count(40)
    expect(page.locator(".legend .track")).to_have_count(0)  # where there is no score
    colours = page.locator(".legend .swatch").evaluate_all(
        "all => all.map(one => getComputedStyle(one).backgroundColor)"
    )
    assert len(set(colours)) == 40
    drawn = page.locator("rect.box").evaluate_all(
        "all => all.map(one => getComputedStyle(one).stroke)"
    )
    assert drawn == colours
    assert not grave_faults(page)


def test_a_phone_says_that_the_supervisor_is_gone(page: Page, instance: Instance) -> None:
    page.set_viewport_size(PHONE)
    page.route("**/api/v1/watch", lambda route: route.fulfill(status=200, body=""))
    page.goto("about:blank")
    page.goto(instance.front)
    expect(page.get_by_text("The supervisor does not answer")).to_be_visible()


def test_an_address_that_is_none_names_a_deployment_that_is_none(
    page: Page, instance: Instance
) -> None:
    page.goto("about:blank")
    page.goto(f"{instance.front}/#/%E0%A4%A")
    expect(page.get_by_text("There is no deployment named %E0%A4%A.")).to_be_visible()
    page.get_by_label("Filter deployments").fill("null")
    expect(page.get_by_text("No deployment is like")).to_be_visible()


def test_a_task_that_is_not_known_yet_is_not_found_as_null(page: Page, instance: Instance) -> None:
    told = [{**one, "task": None} for one in json.loads(instance.run("inspect", "digits").stdout)]
    line = json.dumps({"deployments": told}) + "\n"
    page.route("**/api/v1/watch", lambda route: route.fulfill(status=200, body=line))
    page.goto("about:blank")
    page.goto(instance.front)
    page.get_by_role("link", name="digits").wait_for()
    page.get_by_label("Filter deployments").fill("null")
    expect(page.get_by_role("link", name="digits")).to_have_count(0)


def test_many_windows_leave_the_browser_connections(owner: Visitor, instance: Instance) -> None:
    """It opens six to one server; each window followed the deployments and a log."""
    asked: list[str] = []
    owner.context.on("request", lambda request: asked.append(request.url))
    windows = [owner.page() for _ in range(4)]
    for window in windows:
        window.goto(f"{instance.front}/#/digits/logs")
        expect(window.locator(".title")).to_contain_text("running")
        expect(window.locator(".log li").first).to_be_visible()
    assert sum(url.endswith("/api/v1/watch") for url in asked) == 1
    lines = windows[3].locator(".log li").count()
    instance.run("restart", "digits")
    for window in windows:
        expect(window.locator(".log li").nth(lines)).to_be_visible()
    windows[0].close()  # the one that read
    instance.run("stop", "digits")
    for window in windows[1:]:
        expect(window.locator(".title")).to_contain_text("stopped")
    instance.run("start", "digits")
    for window in windows[1:]:
        expect(window.locator(".title")).to_contain_text("running")
        window.close()
    assert owner.held_against() == ([], set())


def test_swagger_is_calm_at_first_and_dark_where_it_is_dark(
    owner: Visitor, instance: Instance
) -> None:
    page = owner.page()
    page.emulate_media(color_scheme="dark")
    page.goto(f"{instance.front}/docs")
    page.locator("#operations-tag-digits").wait_for()
    expect(page.locator(".opblock")).to_have_count(0)
    page.locator(".operation-filter-input").fill("chat")
    expect(page.locator("#operations-tag-digits")).to_have_count(0)
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", ground))) < 3 * 40
    page.close()
    assert owner.held_against() == ([], set())
