/** One deployment: what it is, what can be done with it, and its tabs. */

import { control, deploymentPath } from "./api.js";
import { announce, button, copyButton, el, hide, isBusy, say, setBusy } from "./dom.js";
import { isMoving, isParked } from "./fleet.js";
import { StateMark } from "./list.js";
import { Logs } from "./logs.js";
import { Overview } from "./overview.js";
import { Playground } from "./playground.js";

const TABS = { overview: Overview, playground: Playground, logs: Logs };
const TITLES = { overview: "Overview", playground: "Playground", logs: "Logs" };

/** The right-hand pane. It is made anew for each deployment, and then only changes. */
export class Detail {
  constructor(fleet, figures, deploy) {
    this.fleet = fleet;
    this.figures = figures;
    this.deploy = deploy;
    this.name = "";
    this.node = el("section", { class: "detail", "aria-label": "Deployment", tabindex: -1 });
    this.one = null;
    this.why = null;
    fleet.addEventListener("change", () => this.#change());
    figures.addEventListener("change", () => this.one?.figures(this.figures.of(this.name)));
  }

  show(name, tab) {
    if (name !== this.name || !this.one) {
      this.one?.close();
      this.one = null;
      this.name = name;
    }
    this.tab = tab in TABS ? tab : "overview";
    this.#change();
  }

  #change() {
    const deployment = this.fleet.find(this.name);
    if (!deployment) {
      this.one?.close();
      this.one = null;
      if (this.fleet.known) this.#empty();
      return;
    }
    this.why = null;
    if (!this.one) {
      this.one = new One(this.name, this.deploy);
      this.#put(this.one.node);
    }
    this.one.draw(deployment, this.tab);
    this.one.figures(this.figures.of(this.name));
  }

  /** What had the focus goes with what was here: the pane has it then, and Tab goes on from there. */
  #put(...nodes) {
    const had = this.node.contains(document.activeElement);
    this.node.replaceChildren(...nodes);
    if (had) this.node.focus();
  }

  /** Says why there is nothing, once: what is drawn anew takes the focus from whoever goes on. */
  #empty() {
    const why = `${this.name} ${this.fleet.deployments.length > 0}`;
    if (why !== this.why) this.#put(...this.#nothing());
    this.why = why;
  }

  #nothing() {
    if (this.name) {
      return [el("div", { class: "empty" }, el("p", {}, `There is no deployment named ${this.name}.`), el("a", { href: "#/" }, "All deployments"))];
    }
    if (this.fleet.deployments.length) return []; // the list is all there is room for
    return [
      el(
        "div",
        { class: "empty" },
        el("h1", {}, "Deploy your first model"),
        el("p", {}, "A model of the Hugging Face Hub, a directory, or one that comes with modeldeploy, such as builtin/sentiment."),
        button("Deploy a model", () => this.deploy(), { class: "primary" }),
      ),
    ];
  }
}

class One {
  #tab = null;
  #kept = {};
  #deployment = null;

  constructor(name, deploy) {
    this.name = name;
    this.deploy = deploy;
    this.state = new StateMark();
    this.model = el("p", { class: "model" });
    this.problem = el("p", { class: "problem", role: "alert" });
    this.endpoint = el("code", {});
    this.docs = el("a", { href: deploymentPath(name, "/docs") }, "API docs");
    this.tabs = el("nav", { class: "tabs", "aria-label": `Parts of ${name}` });
    this.links = Object.entries(TITLES).map(([tab, title]) => [tab, el("a", { href: `#/${name}/${tab}` }, title)]);
    this.tabs.append(...this.links.map(([, link]) => link));
    this.body = el("div", { class: "body" });
    this.actions = new Actions(name, (error) => say(this.problem, error ? `${error.message}. ${error.hint ?? ""}` : ""));
    this.node = el(
      "div",
      { class: "one" },
      el("a", { class: "back", href: "#/" }, "All deployments"),
      el(
        "div",
        { class: "head" },
        el("div", { class: "title" }, el("h1", {}, name), this.state.node),
        this.actions.node,
      ),
      this.model,
      el("p", { class: "endpoint" }, this.endpoint, copyButton(() => this.endpoint.textContent, "the endpoint"), this.docs),
      this.problem,
      this.tabs,
      this.body,
    );
  }

  draw(deployment, tab) {
    const before = this.#deployment?.state;
    this.#deployment = deployment;
    if (before && before !== deployment.state) announce(`${this.name} is ${deployment.state.toLowerCase()}`);
    this.state.draw(deployment);
    say(this.model, [deployment.model_id, deployment.task].filter(Boolean).join(" · "));
    say(this.endpoint, `${location.origin}/deployments/${this.name}/predict`);
    this.docs.hidden = deployment.state !== "RUNNING";
    this.actions.draw(deployment);
    if (this.#tab?.is !== tab) this.#open(tab);
    this.#tab.part.draw(deployment);
  }

  figures(points) {
    this.#tab?.part.figures?.(points);
  }

  close() {
    this.#tab?.part.close?.();
  }

  #open(tab) {
    this.close();
    for (const [each, link] of this.links) {
      if (each === tab) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const part = this.#kept[tab] ?? new TABS[tab](this.name, this.deploy);
    if (part.stays) this.#kept[tab] = part;
    this.#tab = { is: tab, part };
    this.body.replaceChildren(this.#tab.part.node);
  }
}

/** What can be done in its present state. Commands say what is wanted: the fleet shows that it happens. */
class Actions {
  constructor(name, tell) {
    this.name = name;
    this.tell = tell;
    this.start = button("Start", () => this.#do(async () => control.start(name, await hub())));
    this.stop = button("Stop", () => isBusy(this.stop) || this.#do(() => control.stop(name)));
    this.restart = button("Restart", () => isBusy(this.restart) || this.#do(async () => control.restart(name, await hub())));
    this.remove = button("Remove", () => this.#remove(), { class: "danger" });
    this.node = el("div", { class: "actions", role: "group", "aria-label": `Commands for ${name}` }, this.start, this.restart, this.stop, this.remove);
  }

  draw(deployment) {
    const [shown, hidden] = isParked(deployment) ? [[this.start], [this.stop, this.restart]] : [[this.stop, this.restart], [this.start]];
    for (const each of shown) each.hidden = false;
    for (const each of hidden) hide(each, shown[0]);
    setBusy(this.stop, deployment.state === "DRAINING" && deployment.desired !== "running");
    setBusy(this.restart, isMoving(deployment));
  }

  async #do(command) {
    this.tell(null);
    try {
      await command();
    } catch (error) {
      this.tell(error);
    }
  }

  #remove() {
    const dialog = el(
      "dialog",
      { class: "ask", "aria-labelledby": "ask-title", onclose: () => dialog.remove() },
      el("h2", { id: "ask-title" }, `Remove ${this.name}?`),
      el("p", {}, "It is stopped and forgotten, with its port. The model stays on this disk."),
      el(
        "form",
        { method: "dialog" },
        el("button", { autofocus: true }, "Keep it"),
        el("button", { class: "danger", value: "yes", onclick: () => this.#do(() => control.remove(this.name)) }, "Remove it"),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  }
}

async function hub() {
  return (await control.defaults()).hub;
}
