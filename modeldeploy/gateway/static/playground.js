/** Ask a deployment: a form made from its own schema, the answer drawn, and the curl that asks the same. */

import { deployment, deploymentPath } from "./api.js";
import { drawn, json } from "./answers.js";
import { Chat } from "./chat.js";
import { curl } from "./curl.js";
import { announce, button, copyButton, el, hide, isBusy, say, setBusy } from "./dom.js";
import { field } from "./fields.js";
import { KeyField } from "./keys.js";
import { clear, draw } from "./overlay.js";
import { described, resolved } from "./schema.js";
import { serverEvents } from "./streams.js";
import { seconds } from "./units.js";

const CHAT = "/v1/chat/completions";
const PREDICT = "/predict";

/** Chosen by what the deployment answers; there is something to ask once it runs. */
export class Playground {
  stays = true; // what was typed and answered is there again after a look at the logs
  #run = "";
  #made = "";
  #parts = {};

  constructor(name) {
    this.name = name;
    this.node = el("div", { class: "playground" });
  }

  draw(one) {
    const run = one.state === "RUNNING" ? [one.keys > 0, ...one.replicas.map((each) => each.id)].join() : "none";
    if (run === this.#run) return;
    const before = this.#run;
    this.#run = run;
    if (run !== "none") this.#make(one.keys > 0, run);
    else if (!before) this.node.replaceChildren(el("p", { class: "note" }, "It answers here once it is running."));
  }

  /** Nobody waits any more for what was asked. */
  close() {
    for (const part of Object.values(this.#parts)) part.close();
  }

  async #make(isKeyed, run) {
    try {
      const document_ = await deployment.get(this.name, "/openapi.json");
      const made = JSON.stringify([isKeyed, document_]);
      if (this.#run !== run || made === this.#made) return; // a restart takes nobody's words
      this.#made = made;
      this.#show(document_, isKeyed);
    } catch (error) {
      if (this.#run !== run) return;
      this.#made = "";
      this.node.replaceChildren(el("p", { class: "problem" }, error.message));
    }
  }

  #show(document_, isKeyed) {
    for (const part of Object.values(this.#parts)) part.close();
    const key = isKeyed ? new KeyField(this.name) : null;
    const chat = document_.paths[CHAT] ? { Chat: new Chat(this.name, key) } : {};
    this.#parts = { ...chat, ...Object.fromEntries(requests(this.name, document_, key)) };
    this.node.replaceChildren(...[key?.node, ...choice(this.#parts)].filter(Boolean));
  }
}

/** One part is shown as it is; of more, one at a time. */
function choice(parts) {
  const titles = Object.keys(parts);
  const place = el("div", {});
  const choose = (title) => {
    for (const each of buttons) each.setAttribute("aria-pressed", String(each.textContent === title));
    place.replaceChildren(parts[title].node);
  };
  const buttons = titles.map((title) => button(title, () => choose(title), { class: "small" }));
  choose(titles[0]);
  return titles.length > 1 ? [el("div", { class: "segments", role: "group", "aria-label": "How to ask" }, buttons), place] : [place];
}

/** `POST /predict`: a title and a form for each shape that its body may have. */
function requests(name, document_, key) {
  const { content } = document_.paths[PREDICT].post.requestBody;
  const { schema, example } = content["application/json"];
  const parts = document_.components.schemas;
  const whole = resolved(schema, parts);
  const shapes = (whole.properties ? [whole] : whole.anyOf).map((one) => resolved(one, parts));
  return shapes.map((shape) => {
    const fits = (shape.required ?? []).every((one) => one in example) && Object.keys(example).every((one) => one in shape.properties);
    const title = shapes.length > 1 ? spaced(shape.title.replace("Request", "")) : "Request";
    return [title, new Request(name, key, { schema: shape, parts, example: fits ? example : {}, forms: "multipart/form-data" in content })];
  });
}

const spaced = (name) => name[0] + name.slice(1).replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

/** One of them. `forms` is whether files may be sent as they are, `key` where an API key is typed. */
class Request {
  constructor(name, key, { schema, parts, example, forms }) {
    this.name = name;
    this.key = key;
    this.forms = forms;
    this.#make(schema, parts, example);
  }

  close() {
    this.asking?.abort();
  }

  #make(schema, parts, example) {
    const plural = schema.oneOf?.[1]?.required?.[0];
    const required = new Set([...(schema.required ?? []), ...(schema.oneOf?.[0]?.required ?? [])]);
    this.fields = [];
    const [asked, steering] = [[], []];
    for (const [name, property] of Object.entries(schema.properties)) {
      const about = described(property, parts, required.has(name));
      about.optional &&= !required.has(name); // null stands for the plural, which is not asked for here
      if (name === plural || about.kind === "none") continue;
      const first = required.has(name) || name in example || name === "stream";
      const one = field(name, about, example[name], first && about.kind === "text");
      this.fields.push(one);
      (first ? asked : steering).push(one.node);
    }
    this.send = el("button", { class: "primary" }, "Ask");
    this.stop = button("Stop", () => this.asking?.abort(), { class: "quiet" });
    this.stop.hidden = true;
    this.took = el("p", { class: "took", role: "status" });
    this.answer = el("div", { class: "answer" });
    this.command = el("code", {});
    this.form = el(
      "form",
      { class: "request", onsubmit: (event) => this.#ask(event), oninput: () => this.#drawCommand(), onchange: () => this.#drawCommand() },
      asked,
      steering.length ? el("details", {}, el("summary", {}, `Parameters (${steering.length})`), el("div", { class: "grid" }, steering)) : null,
      el("div", { class: "go" }, this.send, this.stop, this.took),
    );
    this.node = el(
      "div",
      { class: "ask-answer" },
      this.form,
      el("section", { class: "result", "aria-label": "Answer" }, el("h2", {}, "Answer"), this.answer),
      el("section", { class: "curl", "aria-label": "The same with curl" }, el("div", { class: "curl-head" }, el("h2", {}, "The same with curl"), copyButton(() => this.command.textContent, "the curl command")), el("pre", { tabindex: 0 }, this.command)),
    );
    this.answer.append(el("p", { class: "note" }, "What it says comes here."));
    this.#drawCommand();
  }

  #body() {
    const body = {};
    for (const one of this.fields) {
      const value = one.read();
      if (value !== undefined) body[one.name] = value;
    }
    return body;
  }

  #drawCommand() {
    try {
      const files = this.forms ? Object.fromEntries(this.fields.filter((one) => one.isFull).map((one) => [one.name, one.filename])) : {};
      say(this.command, curl(deploymentPath(this.name, PREDICT), this.#body(), { files, keyed: Boolean(this.key) }));
    } catch (error) {
      say(this.command, error.message);
    }
  }

  get #image() {
    return this.fields.map((one) => one.image).find(Boolean);
  }

  get #table() {
    return this.fields.find((one) => one.mark);
  }

  async #ask(event) {
    event.preventDefault();
    if (isBusy(this.send)) return;
    this.asking = new AbortController();
    setBusy(this.send, true);
    this.stop.hidden = false;
    clear(this.#image);
    this.#table?.mark([]);
    say(this.took, "");
    try {
      this.key?.check();
      const body = this.#body();
      await (body.stream ? this.#stream(body) : this.#whole(body));
    } catch (error) {
      if (error.name !== "AbortError") this.answer.replaceChildren(el("p", { class: "problem", role: "alert" }, error.message), el("p", { class: "hint" }, error.hint ?? ""));
    }
    setBusy(this.send, false);
    hide(this.stop, this.send);
  }

  async #whole(body) {
    const began = performance.now();
    const answer = await (await this.#post(body)).json();
    this.#tell(`${seconds((performance.now() - began) / 1000)} in all, ${seconds(answer.inference_time_ms / 1000)} in the model`);
    const changed = this.#changed(body);
    const note = changed && el("p", { class: "note" }, `It is of the ${changed} that was there before.`);
    const raw = el("details", {}, el("summary", {}, "As JSON"), json(answer));
    this.answer.replaceChildren(...[note, ...drawn(answer.result, body), raw].filter(Boolean));
    if (changed) return;
    const found = Array.isArray(answer.result) ? answer.result.filter((one) => one?.box || one?.mask) : [];
    if (found.length && this.#image) await draw(this.#image, found);
    this.#table?.mark(answer.result?.coordinates ?? []);
  }

  /** The file or the table that is another than what was asked about, by name. */
  #changed(body) {
    const drawnOn = this.fields.filter((one) => one.isFull || one.mark);
    return drawnOn.find((one) => JSON.stringify(one.read()) !== JSON.stringify(body[one.name]))?.name;
  }

  async #stream(body) {
    const began = performance.now();
    const text = el("p", { class: "written" });
    this.answer.replaceChildren(text);
    let [count, first] = [0, 0];
    for await (const event of serverEvents(await this.#post(body))) {
      if (event.error) throw new Error(event.error.message ?? event.error);
      first ||= performance.now() - began;
      count += 1;
      text.append(event.token.special ? "" : event.token.text);
    }
    this.#tell(`first token after ${seconds(first / 1000)}, ${count} tokens in ${seconds((performance.now() - began) / 1000)}`);
  }

  #post(body) {
    return deployment.post(this.name, PREDICT, body, this.asking.signal);
  }

  #tell(took) {
    say(this.took, took);
    announce("Answered");
  }
}
