/** What a deployment's worker writes, as it writes it. */

import { control } from "./api.js";
import { button, el, say } from "./dom.js";

const TAIL = 500;
const KEPT = 3000;
const AGAIN_MS = 1000;
const NEAR = 40; // pixels from the end that still count as being there

export class Logs {
  #closed = new AbortController();
  #last = null;

  constructor(name) {
    this.name = name;
    this.lines = el("ol", {});
    this.box = el("div", { class: "log", role: "log", "aria-live": "off", "aria-label": `Log of ${name}`, tabindex: 0 }, this.lines);
    this.note = el("p", { class: "note" }, "Nothing is written yet.");
    this.follow = button("To the end", () => this.#toEnd(), { class: "quiet small" });
    this.follow.hidden = true;
    this.box.addEventListener("scroll", () => (this.follow.hidden = this.#atEnd()));
    this.node = el("div", { class: "logs" }, this.note, this.box, this.follow);
    this.#read();
  }

  draw() {}

  close() {
    this.#closed.abort();
  }

  async #read() {
    while (!this.#closed.signal.aborted) {
      if (!document.hidden) await this.#news().catch(() => undefined); // the next try will tell
      await new Promise((go) => setTimeout(go, AGAIN_MS));
    }
  }

  /** What came since. It is asked again and again, and not followed: browsers open few connections to a server. */
  async #news() {
    const { signal } = this.#closed;
    for await (const line of await control.logs(this.name, this.#last ? { after: this.#last } : { tail: TAIL }, signal)) {
      this.#last = line.position;
      this.#add(line);
    }
  }

  #add(line) {
    const wasAtEnd = this.#atEnd();
    say(this.note, "");
    const time = new Date(line.time * 1000).toLocaleTimeString("en-GB");
    this.lines.append(el("li", { class: weight(line.text) }, el("time", {}, time), el("span", {}, line.text)));
    while (this.lines.childElementCount > KEPT) this.lines.firstChild.remove();
    if (wasAtEnd) this.#toEnd();
  }

  #atEnd() {
    return this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < NEAR;
  }

  #toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
  }
}

function weight(text) {
  if (/\b(ERROR|CRITICAL|Traceback)\b/.test(text)) return "error";
  return /\bWARN(ING)?\b/.test(text) ? "warning" : "";
}
