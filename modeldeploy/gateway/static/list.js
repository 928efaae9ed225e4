/** All deployments, one a row. */

import { el, say } from "./dom.js";
import { isMoving } from "./fleet.js";
import { here } from "./hints.js";
import { Plot } from "./plot.js";
import { bytes, number } from "./units.js";

export class List {
  #rows = new Map();
  #selected = "";

  constructor(fleet, figures, deploy) {
    this.fleet = fleet;
    this.figures = figures;
    this.filter = el("input", {
      type: "search",
      placeholder: "Filter",
      "aria-label": "Filter deployments",
      "aria-keyshortcuts": "/",
      oninput: () => this.#draw(),
    });
    this.rows = el("ul", { class: "rows" });
    this.note = el("p", { class: "note" });
    this.node = el(
      "section",
      { class: "list", "aria-label": "Deployments" },
      el("div", { class: "bar" }, el("div", { class: "search" }, this.filter, el("kbd", { "aria-hidden": "true" }, "/")), deploy),
      this.rows,
      this.note,
    );
    fleet.addEventListener("change", () => this.#draw());
    figures.addEventListener("change", () => this.#draw());
  }

  clear() {
    this.filter.value = "";
    this.#draw();
  }

  select(name) {
    this.#selected = name;
    this.#draw();
  }

  #draw() {
    const wanted = this.filter.value.trim().toLowerCase();
    const found = this.fleet.deployments.filter((one) =>
      [one.name, one.model_id, one.task ?? "", one.state].join(" ").toLowerCase().includes(wanted),
    );
    const names = new Set(found.map((one) => one.name));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      row.node.remove();
      this.#rows.delete(name);
    }
    found.forEach((one, at) => {
      const row = this.#rows.get(one.name) ?? new Row(one.name);
      this.#rows.set(one.name, row);
      row.draw(one, this.figures.of(one.name), one.name === this.#selected);
      if (this.rows.children[at] !== row.node) this.rows.insertBefore(row.node, this.rows.children[at] ?? null);
    });
    say(this.note, this.#nothing(found.length, wanted));
  }

  #nothing(count, wanted) {
    if (count || !this.fleet.known) return "";
    return wanted ? `No deployment is like “${wanted}”.` : "Nothing is deployed yet.";
  }
}

class Row {
  constructor(name) {
    this.model = el("span", { class: "model" });
    this.state = new StateMark();
    this.figures = el("span", { class: "figures" });
    this.plot = new Plot("");
    this.bar = new Bar(`Progress of ${name}`);
    this.link = el(
      "a",
      { href: `#/${name}` },
      el("span", { class: "name" }, name),
      this.state.node,
      this.model,
      this.figures,
      this.plot.node,
      this.bar.node,
    );
    this.node = el("li", {}, this.link);
  }

  draw(one, points, selected) {
    this.state.draw(one);
    say(this.model, one.model_id);
    this.link.classList.toggle("selected", selected);
    if (selected) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
    const latest = points.at(-1);
    const running = one.state === "RUNNING";
    say(this.figures, running ? `${bytes(one.memory_bytes)} · ${number(latest?.throughput ?? 0)} req/s` : waiting(one));
    this.plot.node.classList.toggle("gone", !running || isMoving(one));
    this.plot.draw(points, "throughput");
    this.bar.draw(one);
  }
}

function waiting(one) {
  return isMoving(one) ? one.message || one.stage : here(one.error?.message ?? one.task ?? "");
}

/** A state as a dot and a word. */
export class StateMark {
  node = el("span", { class: "state" });

  draw(one) {
    say(this.node, one.state.toLowerCase());
    this.node.dataset.state = one.state;
  }
}

/** How far a deployment has come; nothing where it is not on its way. */
export class Bar {
  constructor(label) {
    this.done = el("span", { class: "done" });
    this.node = el(
      "span",
      { class: "progress", role: "progressbar", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100" },
      this.done,
    );
  }

  draw(one) {
    const shown = isMoving(one) && one.state !== "DRAINING";
    this.node.classList.toggle("gone", !shown);
    this.node.setAttribute("aria-valuenow", String(Math.round(one.percent)));
    this.done.style.width = `${one.percent}%`;
  }
}
