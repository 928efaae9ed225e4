"""The dashboard in Chromium, over a real supervisor and real workers: what a person does with it."""

from __future__ import annotations

import http.client
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.builtin.test_digits import EXAMPLES
from tests.dashboard.browser import WAIT_MS, Visitor, grave_faults
from tests.dashboard.conftest import link
from tests.e2e.instance import Instance, eventually, post

pytestmark = pytest.mark.e2e

expect.set_options(timeout=WAIT_MS)
DOCS = Path(__file__).parents[2] / "docs"
_REMEMBER = """() => {
  window.seen = new Set();
  new MutationObserver(() => {
    const bar = document.querySelector('.way [role="progressbar"]');
    if (bar) window.seen.add(Number(bar.getAttribute("aria-valuenow")));
  }).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""

_ASK_FOR_A_WHILE = """async () => {
  const until = performance.now() + 30000;
  while (performance.now() < until) {
    const body = JSON.stringify({text: "so good ".repeat(1 + Math.random() * 20)});
    const headers = {"content-type": "application/json"};
    await fetch("deployments/sentiment/predict", {method: "POST", headers, body});
    await new Promise((go) => setTimeout(go, 60 * (1.3 + Math.sin(performance.now() / 4000))));
  }
}"""


def test_a_model_is_deployed_asked_followed_stopped_and_removed(
    page: Page, instance: Instance
) -> None:
    page.evaluate(_REMEMBER)
    page.get_by_role("button", name="Deploy a model").click()
    page.get_by_label("Model", exact=True).fill("builtin/sentiment")
    page.get_by_label("Name", exact=True).fill("mood")
    page.get_by_role("button", name="Deploy", exact=True).click()
    title = page.locator(".title")
    expect(title).to_contain_text("mood")
    expect(title).to_contain_text("running")
    seen = sorted(page.evaluate("[...window.seen]"))
    assert len(seen) >= 3, "the progress moves"
    assert seen[0] < seen[-1] <= 100
    expect(page.get_by_text("end to end, without padding")).to_be_visible()  # how it runs

    page.get_by_role("link", name="Playground").click()
    page.get_by_label("Text").fill("It's a wonder")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".answer")).to_contain_text("POSITIVE")
    expect(page.locator(".took")).to_contain_text(re.compile(r"ms in all, .* in the model"))
    page.get_by_role("button", name="Copy the curl command").click()
    assert page.evaluate("navigator.clipboard.readText()") == (
        f"curl {instance.front}/deployments/mood/predict -H 'content-type: application/json' "
        """-d '{"text":"It'\\''s a wonder"}'"""
    )

    page.get_by_role("link", name="Logs").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text(re.compile(r"\w{4}"))
    lines = log.get_by_role("listitem").count()
    page.get_by_role("button", name="Restart").click()
    expect(log.get_by_role("listitem").nth(lines)).to_be_visible()
    expect(title).to_contain_text("running")

    page.get_by_role("button", name="Stop").click()
    expect(title).to_contain_text("stopped")
    assert instance.inspect("mood")["state"] == "STOPPED"
    page.get_by_role("button", name="Start").click()
    expect(title).to_contain_text("running")
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Keep it").click()
    assert "mood" in instance.names()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("There is no deployment named mood.")).to_be_visible()
    assert "mood" not in instance.names()


def test_what_cannot_be_deployed_is_told_in_the_form(
    page: Page, owner: Visitor, instance: Instance
) -> None:
    page.get_by_role("button", name="Deploy a model").click()
    page.get_by_label("Model", exact=True).fill("builtin/sentiment")
    page.get_by_label("Name", exact=True).fill("digits")
    page.get_by_role("button", name="Deploy", exact=True).click()
    told = page.get_by_role("dialog").get_by_role("alert")
    expect(told).to_contain_text("digits")
    expect(told).to_contain_text("choose another “Name”")  # as the form has it, not as an option
    page.get_by_role("dialog").get_by_text("More", exact=True).click()
    page.get_by_label("Env").fill("A=1")
    page.get_by_role("button", name="Deploy", exact=True).click()
    expect(told).to_contain_text("Env is not JSON")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert instance.inspect("digits")["model_id"] == "builtin/digits"
    (refused,), _ = owner.held_against()  # the browser's own, of an answer that is no success
    assert "409" in refused


def test_a_picture_that_is_chosen_is_read(page: Page, instance: Instance) -> None:
    page.goto(f"{instance.front}/#/digits/playground")
    digit = EXAMPLES[0]
    page.locator("input[type=file]").set_input_files(digit)
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".scored .name").first).to_have_text(digit.stem)
    expect(page.locator(".curl code")).to_contain_text(f"-F 'image=@{digit.name}'")


def test_boxes_and_masks_lie_over_the_picture(page: Page, instance: Instance) -> None:
    """Drawn from answers that the test makes: no model of ours finds anything worth a look."""
    page.goto(f"{instance.front}/#/digits/playground")
    mask = page.evaluate(
        """() => { const c = document.createElement("canvas"); c.width = c.height = 8;
        const p = c.getContext("2d"); p.fillStyle = "#000"; p.fillRect(0, 0, 8, 8);
        p.fillStyle = "#fff"; p.fillRect(0, 0, 4, 8); return c.toDataURL().split(",")[1]; }"""
    )
    box = {"xmin": 1, "ymin": 2, "xmax": 5, "ymax": 7}
    found = [
        {"label": "<b>cat</b>", "score": 0.9, "box": box},
        {"label": "sky", "score": None, "mask": mask},
    ]
    answer = {
        "status": "success",
        "result": found,
        "deployment_id": "digits",
        "inference_time_ms": 1,
    }
    page.route("**/digits/predict", lambda route: route.fulfill(json=answer))
    page.get_by_role("button", name="Ask").click()
    shape = page.locator(".canvas rect.box")
    expect(shape).to_have_attribute("width", "4")
    expect(page.locator(".canvas text")).to_have_text("<b>cat</b> 0.90")  # as text, not as HTML
    veiled = page.locator(".canvas canvas").evaluate(
        "c => [1, 6].map((x) => c.getContext('2d').getImageData(x, 4, 1, 1).data[3])"
    )
    assert veiled == [255, 0]


def test_a_conversation_streams(page: Page, instance: Instance) -> None:
    page.goto(f"{instance.front}/#/chat/playground")
    page.evaluate(
        """() => { window.lengths = new Set(); new MutationObserver(() => {
        const said = document.querySelector(".turns .assistant p");
        if (said) window.lengths.add(said.textContent.length);
        }).observe(document.body, {subtree: true, childList: true, characterData: true}); }"""
    )
    page.get_by_label("at most").fill("60")
    page.get_by_label("Message").fill("Say hello.")
    page.get_by_label("Message").press("Enter")
    expect(page.locator(".took")).to_contain_text("first word after")
    assert page.evaluate("window.lengths.size") > 3, "it comes piece by piece"
    expect(page.locator(".turns .user p")).to_have_text("Say hello.")

    page.get_by_role("button", name="Request", exact=True).click()
    page.get_by_label("Stream").select_option("true")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".request .took")).to_contain_text("first token after")


def test_swagger_executes(owner: Visitor, instance: Instance) -> None:
    page = owner.page()
    page.goto(f"{instance.front}/docs")
    page.locator("#operations-tag-digits").click()  # of many, none is open at first
    page.locator("[id='operations-digits-digits_post_predict'] .opblock-summary-control").click()
    block = page.locator("[id='operations-digits-digits_post_predict']")
    if block.get_by_role("button", name="Try it out").count():
        block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table .response .response-col_status")).to_contain_text(
        "200"
    )
    page.close()
    assert owner.held_against() == ([], set())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it_also_on_a_phone(page: Page, instance: Instance, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    for hash_ in ("", "#/digits", "#/digits/playground", "#/digits/logs", "#/chat/playground"):
        page.goto(f"{instance.front}/{hash_}")
        expect(page.locator(".detail > *")).to_have_count(1)
        assert not grave_faults(page), hash_
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") == 360, hash_
        page.set_viewport_size({"width": 1280, "height": 820})
    page.goto(f"{instance.front}/#/")
    page.get_by_role("button", name="Deploy a model").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_text("More", exact=True).click()
    assert not grave_faults(page)


def test_the_keyboard_is_enough(page: Page) -> None:
    page.get_by_role("link", name="digits").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("chat")
    expect(page.get_by_role("link", name="digits")).to_have_count(0)
    page.keyboard.press("Escape")
    page.get_by_role("link", name="chat").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".title")).to_contain_text("chat")
    page.keyboard.press("Escape")
    expect(page.locator(".title")).to_contain_text("digits")  # the first
    dark = page.get_by_role("button", name="Dark colours")
    dark.press("Enter")
    page.reload()
    page.get_by_role("button", name="Light colours").press("Enter")


def test_without_a_session_it_shows_nothing_and_a_link_is_good_once(
    browser: Browser, instance: Instance
) -> None:
    once = link(instance)
    stranger = Visitor(browser, instance.front)
    page = stranger.page()
    for url in (instance.front, f"{instance.front}/#ticket=1.x.wrong"):
        page.goto("about:blank")
        page.goto(url)
        expect(page.get_by_role("heading", name="yours")).to_be_visible()
        assert "digits" not in page.content()
        assert page.evaluate("fetch('/api/v1/deployments').then((a) => a.status)") == 401
    page.goto("about:blank")
    page.goto(once)
    page.get_by_role("link", name="digits").wait_for()
    assert "ticket" not in page.url
    (cookie,) = stranger.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert not page.evaluate("document.cookie")
    assert page.evaluate("fetch('/api/v1/status').then((a) => a.status)") == 401  # the cookie alone
    stranger.context.clear_cookies()
    page.goto("about:blank")
    page.goto(once)
    expect(page.get_by_role("alert")).to_contain_text("used")
    assert not stranger.strangers
    stranger.context.close()


def test_a_link_signs_in_where_the_page_is_open_already(
    browser: Browser, instance: Instance
) -> None:
    visitor = Visitor(browser, instance.front)
    page = visitor.page()
    page.goto(instance.front)
    expect(page.get_by_role("heading", name="yours")).to_be_visible()
    for _ in ("outside", "signed in"):
        page.goto(link(instance))  # only the part behind the # is another: nothing is loaded
        page.get_by_role("link", name="digits").wait_for()
        page.wait_for_url(lambda url: "ticket" not in url)
    visitor.context.close()


def test_signing_in_and_out_at_either_name_of_this_machine(
    browser: Browser, instance: Instance
) -> None:
    for host, other in (("localhost", "127.0.0.1"), ("127.0.0.1", "localhost")):
        front = f"http://{host}:{instance.gateway_port}"
        visitor = Visitor(browser, front)
        page, second = visitor.page(), visitor.page()
        second.goto(front)
        expect(second.get_by_role("heading", name="yours")).to_be_visible()
        page.goto(front + link(instance).removeprefix(instance.front))
        page.get_by_role("link", name="digits").wait_for()
        second.get_by_role("link", name="digits").wait_for()  # another tab takes part
        page.reload()
        page.get_by_role("button", name="Sign out").click()
        for each in (page, second):
            expect(each.get_by_role("heading", name="yours")).to_be_visible()
            expect(each.get_by_role("button", name="Sign out")).to_be_hidden()
            there = f"http://{other}:{instance.gateway_port}/"
            expect(each.get_by_role("link", name=other)).to_have_attribute("href", there)
            assert "digits" not in each.content()
        assert visitor.held_against() == ([], set())
        visitor.context.close()


def test_a_session_outlives_the_gateway_and_no_foreign_page_has_it(
    page: Page, owner: Visitor, instance: Instance
) -> None:
    (cookie,) = owner.context.cookies()
    held = {
        "cookie": f"{cookie['name']}={cookie['value']}",
        "x-modeldeploy-session": page.evaluate("localStorage.getItem('modeldeploy-session')"),
    }

    def asked(method: str, path: str, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", instance.gateway_port, timeout=30)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, b"", {**held, **given})
            return connection.getresponse().status
        finally:
            connection.close()

    stop = "/api/v1/deployments/digits/stop"
    assert asked("POST", stop) == 403  # says of no page that it sent it
    assert asked("POST", stop, origin="http://evil.example") == 403
    assert asked("POST", stop, origin="http://127.0.0.1:1") == 403
    assert asked("POST", stop, sec_fetch_site="same-site") == 403
    assert asked("GET", "/api/v1/status", sec_fetch_site="same-site") == 403
    assert instance.inspect("digits")["state"] == "RUNNING"

    before = json.loads(instance.run("daemon", "status", "--json").stdout)["gateway"]["pid"]
    os.kill(before, 9)
    eventually(
        lambda: (
            json.loads(instance.run("daemon", "status", "--json").stdout)["gateway"]["pid"]
            not in (None, before)
        )
    )
    assert asked("GET", "/api/v1/status") == 200
    page.goto("about:blank")
    owner.held_against()  # connections that the death cut
    page.goto(instance.front)
    page.get_by_role("link", name="digits").wait_for()


def test_logs_that_are_followed_repeat_and_lose_nothing_when_the_gateway_dies(
    page: Page, owner: Visitor, instance: Instance
) -> None:
    page.goto(f"{instance.front}/#/digits/logs")
    url = instance.inspect("digits")["url"]

    def shown() -> Any:
        lines = page.locator(".log li span")
        return lines.evaluate_all("all => all.map((one) => one.textContent)")

    def written() -> list[str]:
        return [line.text for line in instance.client.logs("digits", tail=500)]

    for round_ in range(3):
        for number in range(5):
            assert post(f"{url}/predict", {"image": number})[0] == 422
        if round_ == 0:
            assert eventually(lambda: shown() and shown() == written())
            gateway = json.loads(instance.run("daemon", "status", "--json").stdout)["gateway"]
            os.kill(gateway["pid"], 9)
    eventually(lambda: sum("/predict" in line for line in written()) >= 15)
    eventually(lambda: shown() == written())
    owner.held_against()  # connections that the death cut


def test_plots_begin_with_what_was_before_the_page_was_opened(
    page: Page, instance: Instance
) -> None:
    def told_at_first() -> int:
        page.goto("about:blank")
        with page.expect_response("**/api/figures?since=0") as told:
            page.goto(f"{instance.front}/#/digits")
        return len(told.value.json().get("digits", []))

    assert eventually(lambda: told_at_first() > 2)  # the gateway may have begun just now
    line = page.locator(".card .line").first
    expect(line).to_have_attribute("d", re.compile("L.*L"))


def test_pictures_for_the_documentation(page: Page, instance: Instance, tmp_path: Path) -> None:
    """In ``docs/`` where that is asked for: no two runs make the same bytes."""
    folder = DOCS if "MODELDEPLOY_SCREENSHOTS" in os.environ else tmp_path
    instance.deploy("builtin/sentiment")
    instance.run("rm", "-f", "chat")
    page.emulate_media(reduced_motion="reduce")  # or colours are half way from one to the other
    page.goto(f"{instance.front}/#/sentiment")
    page.evaluate(_ASK_FOR_A_WHILE)
    for scheme in ("light", "dark"):
        page.evaluate("(scheme) => (document.documentElement.dataset.theme = scheme)", scheme)
        page.screenshot(path=folder / f"dashboard-{scheme}.png")
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    page.goto(f"{instance.front}/#/digits/playground")
    page.locator("input[type=file]").set_input_files(EXAMPLES[0])
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".scored").first).to_be_visible()
    page.screenshot(path=folder / "playground.png")
    for name in ("dashboard-light", "dashboard-dark", "playground"):
        assert (folder / f"{name}.png").stat().st_size < 200_000
