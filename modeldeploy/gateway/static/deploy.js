/** A form for a deployment, made from the control API's own schema. */

import { control } from "./api.js";
import { el, isBusy, say, setBusy } from "./dom.js";
import { field } from "./fields.js";
import { newKey, showOnce } from "./keys.js";
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
  host: "The address it binds. Where other machines reach it, it needs an API key.",
};
const EXAMPLES = ["builtin/sentiment", "builtin/digits"];
const MAKE_KEY = "make one, shown once";

export class DeployDialog {
  #known = null;
  #before = null;

  constructor(made) {
    this.made = made;
    this.problem = el("p", { class: "problem", role: "alert" });
    this.body = el("div", { class: "fields" });
    this.go = el("button", { class: "primary", hidden: true }, "Deploy");
    this.form = el(
      "form",
      { onsubmit: (event) => this.#deploy(event) },
      el("div", { class: "dialog-head" }, el("h2", { id: "deploy-title" }, "Deploy a model"), el("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => this.node.close() }, "✕")),
      this.body,
      this.problem,
      el("div", { class: "go" }, this.go),
    );
    this.node = el("dialog", { class: "deploy", "aria-labelledby": "deploy-title" }, this.form);
    document.body.append(this.node);
  }

  /** `before` is a deployment to begin from: under its own name the new one takes its place. */
  async open(before = null) {
    if (this.node.open) return;
    say(this.problem, "");
    this.node.showModal();
    try {
      this.#known ??= Promise.all([control.defaults(), control.document()]);
      const [defaults, document_] = await this.#known;
      if (!this.fields || before || this.#before) this.#make(defaults, document_.components.schemas, before);
      this.go.hidden = false;
      this.model.control.focus();
    } catch (error) {
      this.#known = null;
      this.go.hidden = !this.fields;
      this.#tell(error, "Close this and open it again");
    }
  }

  #tell(error, hint = error.hint) {
    say(this.problem, [error.message, hint].filter(Boolean).join(". "));
  }

  #make(defaults, parts, before) {
    this.defaults = defaults;
    this.#before = before;
    const spec = before?.spec ?? {};
    const of = (name) => this.#field(name, parts.Spec.properties[name], parts, spec);
    this.model = field("model", { kind: "text", optional: false, description: "org/name of the Hugging Face Hub, a directory, or builtin/…" }, spec.model_id);
    this.name = field("name", { kind: "text", optional: true, description: before ? "Under the same name it takes the other’s place." : "Its name here. Default: the model's, made unique." }, before?.name);
    this.token = field("token", { kind: "text", optional: true, description: "Of the Hub, for gated models. It is kept in memory only." });
    this.token.control.type = "password";
    this.token.control.autocomplete = "off";
    this.key = field("API key", { kind: "choice", choices: [MAKE_KEY], default: "none", optional: true, description: "Whoever asks must send it. Without one it answers everybody who reaches it." }, before?.keys ? MAKE_KEY : undefined);
    this.model.control.setAttribute("list", "models");
    const first = FIRST.map(of);
    const more = Object.keys(parts.Spec.properties).filter((name) => !LEFT_OUT.has(name)).map(of);
    this.batching = Object.entries(parts.Batching.properties).map(([name, one]) => this.#field(name, one, parts, spec.batching ?? {}));
    this.fields = [...first, ...more];
    first[0].control.setAttribute("list", "tasks");
    this.body.replaceChildren(
      list("models", EXAMPLES),
      list("tasks", defaults.tasks),
      this.model.node,
      el("div", { class: "grid" }, this.name.node, first.map((one) => one.node)),
      el("details", {}, el("summary", {}, "More"), el("div", { class: "grid" }, [this.key, ...more, ...this.batching, this.token].map((one) => one.node))),
    );
  }

  #field(name, property, parts, spec) {
    const about = described(property, parts, false);
    const given = { ...about, default: this.defaults[name] ?? about.default };
    const value = JSON.stringify(spec[name]) === JSON.stringify(given.default) ? undefined : spec[name] ?? undefined;
    if (["array", "object"].includes(resolved(property, parts).type)) given.default = undefined;
    const one = field(name, { ...given, description: WORDS[name] ?? about.description }, value);
    if (name === "task") one.control.placeholder = "found out";
    return one;
  }

  #read(fields) {
    return Object.fromEntries(fields.map((one) => [one.name, one.read()]).filter(([, value]) => value !== undefined));
  }

  #request() {
    const { device, dtype, hub } = this.defaults;
    const cache_dir = this.#before?.spec.cache_dir ?? this.defaults.cache_dir;
    const spec = { cache_dir, device, dtype, ...this.#read(this.fields), model_id: this.model.read().trim(), batching: this.#read(this.batching) };
    return { spec, hub: { ...hub, token: this.token.read() ?? null } };
  }

  async #deploy(event) {
    event.preventDefault();
    if (isBusy(this.go)) return;
    const name = this.name.read();
    setBusy(this.go, true);
    try {
      const request = this.#request();
      const key = this.key.read() ? await newKey() : null;
      if (key) request.keys = [{ digest: key.digest, label: "dashboard" }];
      if (this.#before && name === this.#before.name) request.replace = true;
      const made = await control.deploy(name ? { ...request, name } : request);
      this.node.close();
      this.fields = null;
      this.made(made.name);
      if (key) showOnce(made.name, key.key);
    } catch (error) {
      this.#tell(error);
    }
    setBusy(this.go, false);
  }

}

function list(id, values) {
  return el("datalist", { id }, values.map((value) => el("option", { value })));
}
