/** How a deployment does: its progress while it starts, its figures while it runs, what it is. */

import { deployment as own } from "./api.js";
import { button, el, say } from "./dom.js";
import { isMoving, isParked } from "./fleet.js";
import { here } from "./hints.js";
import { isKnown } from "./keys.js";
import { Bar } from "./list.js";
import { Plot } from "./plot.js";
import { bytes, number, seconds, span } from "./units.js";

const STAGES = ["validate", "download", "load", "pipeline", "server", "complete"];
const CARDS = [
  ["throughput", "Throughput", (value) => `${number(value)} req/s`],
  ["latency", "Latency, mean", seconds],
  ["memory", "Memory", bytes],
  ["queue", "Waiting", number],
  ["tokens", "Tokens written", (value) => `${number(value)} /s`],
];

export class Overview {
  constructor(name, again) {
    this.name = name;
    this.again = button("Deploy again with…", () => again(this.deployment));
    this.run = "";
    this.progress = new Progress(name);
    this.error = el("div", { class: "failure" });
    this.cards = Object.fromEntries(CARDS.map(([key, title, unit]) => [key, new Card(title, unit)]));
    this.cards.tokens.node.hidden = true;
    this.board = el("div", { class: "cards" }, CARDS.map(([key]) => this.cards[key].node));
    this.heading = el("h2", {});
    this.facts = el("dl", { class: "facts" });
    this.rows = {};
    this.info = {};
    this.node = el(
      "div",
      { class: "overview" },
      this.progress.node,
      this.error,
      this.board,
      this.heading,
      this.facts,
    );
  }

  draw(deployment) {
    this.deployment = deployment;
    this.progress.draw(deployment);
    this.#drawError(deployment.error);
    this.again.hidden = !isParked(deployment);
    this.board.hidden = isParked(deployment); // nothing computes: there is nothing to plot
    say(this.heading, isParked(deployment) ? "What it is" : "How it runs");
    const isTold = !deployment.keys || isKnown(this.name);
    const run = deployment.state === "RUNNING" && isTold ? deployment.replicas.map((one) => one.id).join() : "";
    if (run !== this.run) this.#ask(run);
    this.#drawFacts();
  }

  figures(points) {
    for (const [key, card] of Object.entries(this.cards)) card.draw(points, key);
    this.cards.tokens.node.hidden = !points.some((point) => point.tokens);
  }

  /** What only the worker knows; once in each of its runs, and again when it may have improved. */
  async #ask(run) {
    this.run = run;
    this.info = {};
    while (run && this.run === run) {
      try {
        this.info = await own.get(this.name, "/info");
      } catch (error) {
        if (error.status === 401) return; // the key is none: it is typed in the playground
      }
      this.#drawFacts();
      await new Promise((go) => setTimeout(go, 10_000));
    }
  }

  close() {
    this.run = "";
  }

  #drawError(error) {
    this.error.hidden = !error;
    const parts = error ? [here(error.message), here(error.hint), (error.details ?? []).join("\n")] : [];
    if (this.shownError === parts.join()) return;
    this.shownError = parts.join();
    const [message, hint, details] = parts;
    this.error.replaceChildren(
      ...(error
        ? [el("h2", {}, "Last error"), el("p", {}, message), hint && el("p", { class: "hint" }, hint), details && el("pre", { tabindex: 0 }, details), this.again].filter(Boolean)
        : []),
    );
  }

  #drawFacts() {
    const one = this.deployment;
    const replica = one.replicas[0];
    const info = { ...replica, ...this.info };
    const facts = {
      Task: one.task,
      Model: one.model_id,
      Revision: one.revision,
      Device: [one.device, info.dtype ?? one.dtype].filter(Boolean).join(", "),
      Parameters: info.parameters && number(info.parameters),
      "Longest input": info.max_input_length && `${number(info.max_input_length)} tokens`,
      Threads: info.threads && `${info.threads.count}, ${info.threads.why}`,
      ...Object.fromEntries(Object.entries(info.runs ?? {}).map(([key, value]) => [capital(key), calm(value)])),
      Notes: (info.notes ?? []).join(" "),
      "API keys": one.keys ? `${one.keys}${isKnown(this.name) ? "" : "; more is told here once one is typed in the playground"}` : null,
      Port: one.port,
      Process: replica && `${replica.pid}, for ${span(Date.now() / 1000 - replica.started_at)}`,
      Requests: number(one.requests),
      Restarts: one.restarts || null,
    };
    const told = Object.entries(facts).filter(([, value]) => value || value === 0);
    told.forEach(([key, value], at) => {
      const row = (this.rows[key] ??= new Fact(key));
      row.draw(value);
      if (this.facts.children[at] !== row.node) this.facts.insertBefore(row.node, this.facts.children[at] ?? null);
    });
    while (this.facts.childElementCount > told.length) this.facts.lastChild.remove();
  }
}

const CALM_LENGTH = 80;

/** A long text without the brackets at its end, which tell how it was found, and these. */
const calm = (text) => (text.length > CALM_LENGTH && /^(.+) \(([^()]+)\)$/.exec(text)?.slice(1)) || text;

/** What something is, and for who asks how that was found. */
class Fact {
  constructor(key) {
    this.value = el("span", {});
    this.found = el("p", {});
    this.more = el("details", {}, el("summary", {}, "How that was found"), this.found);
    this.node = el("div", { "data-of": key }, el("dt", {}, key), el("dd", {}, this.value, this.more));
  }

  draw(value) {
    const [short, found = ""] = [value].flat();
    say(this.value, String(short));
    say(this.found, found);
    this.more.hidden = !found;
  }
}

const capital = (word) => word[0].toUpperCase() + word.slice(1).replaceAll("_", " ");

/** One figure: what it is now, and how it was. */
class Card {
  constructor(title, unit) {
    this.unit = unit;
    this.value = el("p", { class: "value" }, "–");
    this.plot = new Plot(`${title}, of the last minutes`);
    this.node = el("div", { class: "card" }, el("h3", {}, title), this.value, this.plot.node);
  }

  draw(points, key) {
    const latest = points.findLast((point) => point[key] !== null)?.[key];
    say(this.value, latest === undefined ? "–" : this.unit(latest));
    this.plot.draw(points, key);
  }
}

/** The stages of a deployment that is on its way. */
class Progress {
  constructor(name) {
    this.bar = new Bar(`Progress of ${name}`);
    this.stages = STAGES.map((stage) => el("li", {}, stage));
    this.message = el("p", { class: "message" });
    this.node = el("div", { class: "way" }, el("ol", {}, this.stages), this.bar.node, this.message);
  }

  draw(deployment) {
    this.node.hidden = !isMoving(deployment);
    const at = STAGES.indexOf(deployment.stage);
    this.stages.forEach((node, place) => (node.className = place < at ? "past" : place === at ? "now" : ""));
    this.bar.draw(deployment);
    say(this.message, `${Math.round(deployment.percent)} % · ${deployment.message}`);
  }
}
