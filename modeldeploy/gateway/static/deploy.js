/** A form for a deployment, made from the control API's own schema. */

import { control } from "./api.js";
import { el, say } from "./dom.js";
import { field } from "./fields.js";
import { described, resolved } from "./schema.js";

const FIRST = ["task", "device", "dtype", "optimize"];
const LEFT_OUT = new Set(["model_id", "cache_dir", "batching", ...FIRST]);
const WORDS = {
  revision: "A branch, tag or commit of the model.",
  model_type: "The kind of model, to check what was found out.",
  optimize: "Equal: faster with equal results. Close: also where they differ a little. No: as transformers runs it.",
  backend: "What computes: torch, or a graph in ONNX Runtime.",
  trust_remote_code: "Run code from the model's repository.",
  allow_pickle: "Load weights that can run code.",
  allow_origins: "Pages that may ask from a browser: scheme://host[:port].",
  allow_media_urls: "Hosts that requests may name media of: host[:port].",
  download_timeout: "Seconds that the download may take.",
  force_gpu: "Fail where there is no GPU.",
  port: "A port of its own.",
};
const EXAMPLES = ["builtin/sentiment", "builtin/digits"];

export class DeployDialog {
  constructor(made) {
    this.made = made;
    this.problem = el("p", { class: "problem", role: "alert" });
    this.form = el("form", { onsubmit: (event) => this.#deploy(event) });
    this.node = el("dialog", { class: "deploy", "aria-labelledby": "deploy-title" }, this.form);
    document.body.append(this.node);
  }

  async open() {
    if (!this.fields) await this.#make();
    say(this.problem, "");
    this.node.showModal();
  }

  async #make() {
    const [defaults, document_] = await Promise.all([control.defaults(), control.document()]);
    const parts = document_.components.schemas;
    this.defaults = defaults;
    const of = (name) => this.#field(name, parts.Spec.properties[name], parts);
    this.model = field("model", { kind: "text", optional: false, description: "org/name of the Hugging Face Hub, a directory, or builtin/…" });
    this.name = field("name", { kind: "text", optional: true, description: "Its name here. Default: the model's, made unique." });
    this.token = field("token", { kind: "text", optional: true, description: "Of the Hub, for gated models. It is kept in memory only." });
    this.token.control.type = "password";
    this.token.control.autocomplete = "off";
    this.model.control.setAttribute("list", "models");
    const first = FIRST.map(of);
    const more = Object.keys(parts.Spec.properties).filter((name) => !LEFT_OUT.has(name)).map(of);
    const batching = Object.entries(parts.Batching.properties).map(([name, one]) => this.#field(name, one, parts));
    this.fields = [...first, ...more];
    this.batching = batching;
    first[0].control.setAttribute("list", "tasks");
    this.form.append(
      el("div", { class: "dialog-head" }, el("h2", { id: "deploy-title" }, "Deploy a model"), el("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => this.node.close() }, "✕")),
      list("models", EXAMPLES),
      list("tasks", defaults.tasks),
      this.model.node,
      el("div", { class: "grid" }, this.name.node, first.map((one) => one.node)),
      el("details", {}, el("summary", {}, "More"), el("div", { class: "grid" }, [...more, ...batching, this.token].map((one) => one.node))),
      this.problem,
      el("div", { class: "go" }, (this.go = el("button", { class: "primary" }, "Deploy"))),
    );
  }

  #field(name, property, parts) {
    const about = described(property, parts, false);
    const given = { ...about, default: this.defaults[name] ?? about.default };
    if (resolved(property, parts).type === "array") given.default = undefined;
    const one = field(name, { ...given, description: WORDS[name] ?? about.description });
    if (name === "task") one.control.placeholder = "found out";
    return one;
  }

  #read(fields) {
    return Object.fromEntries(fields.map((one) => [one.name, one.read()]).filter(([, value]) => value !== undefined));
  }

  async #deploy(event) {
    event.preventDefault();
    const { cache_dir, device, dtype, hub } = this.defaults;
    const model = this.model.read().trim();
    const batching = this.#read(this.batching);
    const spec = { cache_dir, device, dtype, ...this.#read(this.fields), model_id: model, batching };
    const request = { spec, hub: { ...hub, token: this.token.read() ?? null } };
    const name = this.name.read();
    this.go.disabled = true;
    try {
      const made = await control.deploy(name ? { ...request, name } : request);
      this.node.close();
      this.form.reset();
      this.made(made.name);
    } catch (error) {
      say(this.problem, [error.message, error.hint].filter(Boolean).join(". "));
    }
    this.go.disabled = false;
  }
}

function list(id, values) {
  return el("datalist", { id }, values.map((value) => el("option", { value })));
}
