/** A conversation, as OpenAI's clients hold it, written token by token. */

import { deployment, deploymentPath } from "./api.js";
import { curl } from "./curl.js";
import { announce, button, copyButton, el, hide, isBusy, say, setBusy } from "./dom.js";
import { serverEvents } from "./streams.js";
import { seconds } from "./units.js";

const PATH = "/v1/chat/completions";
const MOST_TOKENS = 128;

export class Chat {
  #turns = [];

  /** `key` is where its API key is typed, if it wants one. */
  constructor(name, key) {
    this.name = name;
    this.key = key;
    this.log = el("ol", { class: "turns", "aria-label": "Conversation" });
    this.text = el("textarea", { rows: 2, "aria-label": "Message", placeholder: "Say something", onkeydown: (event) => this.#key(event), oninput: () => this.#drawCommand() });
    this.most = el("input", { type: "number", min: 1, max: 100000, value: MOST_TOKENS, id: "chat-most", oninput: () => this.#drawCommand() });
    this.send = el("button", { class: "primary" }, "Send");
    this.stop = button("Stop", () => this.asking?.abort());
    this.stop.hidden = true;
    this.took = el("p", { class: "took", role: "status" });
    this.command = el("code", {});
    this.node = el(
      "div",
      { class: "chat" },
      this.log,
      el(
        "form",
        { onsubmit: (event) => this.#submit(event) },
        this.text,
        el("div", { class: "go" }, this.send, this.stop, button("Clear", () => this.#clear(), { class: "quiet" }), el("span", { class: "most" }, el("label", { htmlFor: "chat-most" }, "at most"), this.most, "tokens"), this.took),
      ),
      el("section", { class: "curl", "aria-label": "The same with curl" }, el("div", { class: "curl-head" }, el("h2", {}, "The same with curl"), copyButton(() => this.command.textContent, "the curl command")), el("pre", { tabindex: 0 }, this.command)),
    );
    this.#drawCommand();
  }

  close() {
    this.asking?.abort();
  }

  #request(message) {
    const messages = message ? [...this.#turns, { role: "user", content: message }] : this.#turns;
    return { model: this.name, messages, max_tokens: Number(this.most.value) || MOST_TOKENS, stream: true };
  }

  #drawCommand() {
    const request = this.#request(this.text.value || "Say hello.");
    const command = curl(deploymentPath(this.name, PATH), request, { keyed: Boolean(this.key) });
    say(this.command, command.replace("curl ", "curl -N "));
  }

  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  }

  #clear() {
    this.asking?.abort();
    this.#turns = [];
    this.log.replaceChildren();
    say(this.took, "");
    this.text.focus();
  }

  #submit(event) {
    event.preventDefault();
    const message = this.text.value.trim();
    if (!message || isBusy(this.send)) return;
    this.text.value = "";
    this.#turn("user", message);
    this.#answer();
  }

  #turn(role, content) {
    const text = el("p", {}, content);
    const turn = { role, content };
    this.#turns.push(turn);
    this.log.append(el("li", { class: role }, el("span", { class: "who" }, role === "user" ? "You" : this.name), text));
    text.scrollIntoView({ block: "nearest" });
    return { turn, text };
  }

  /** A turn that was not answered is none: it may be sent again. */
  #failed(messages, text, error) {
    this.text.value = messages.at(-1).content;
    this.#turns = messages.slice(0, -1);
    text.className = "problem";
    text.setAttribute("role", "alert");
    say(text, [error.message, error.hint].filter(Boolean).join(". "));
  }

  async #answer() {
    const request = this.#request("");
    const { turn, text } = this.#turn("assistant", "");
    this.asking = new AbortController();
    setBusy(this.send, true);
    this.stop.hidden = false;
    const began = performance.now();
    let [count, first] = [0, 0];
    try {
      this.key?.check();
      for await (const chunk of serverEvents(await deployment.post(this.name, PATH, request, this.asking.signal))) {
        if (chunk.error) throw new Error(chunk.error.message);
        const piece = chunk.choices[0]?.delta.content;
        if (!piece) continue;
        first ||= performance.now() - began;
        count += 1;
        turn.content += piece;
        text.append(piece);
        text.scrollIntoView({ block: "nearest" });
      }
      const whole = (performance.now() - began) / 1000;
      say(this.took, count ? `first word after ${seconds(first / 1000)}, ${(count / whole).toFixed(0)} pieces/s` : "");
      announce("Answered");
    } catch (error) {
      if (error.name !== "AbortError") this.#failed(request.messages, text, error);
    }
    setBusy(this.send, false);
    hide(this.stop, this.send);
    this.#drawCommand();
  }
}
