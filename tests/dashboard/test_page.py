"""What somebody meets who does more with the dashboard than the plain way: keys, phones, many windows."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, Route, ViewportSize, expect

from tests.builtin.test_digits import EXAMPLES
from tests.dashboard.browser import WAIT_MS, Visitor, grave_faults
from tests.e2e.instance import Instance

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
