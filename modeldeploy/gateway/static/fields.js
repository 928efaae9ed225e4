/** Controls for the properties of a JSON schema. */

import { el } from "./dom.js";
import { FileField } from "./media.js";
import { TableField } from "./table.js";

let made = 0;

/** A control for what `described` says. `read()` is its value, undefined where it was left alone. */
export function field(name, about, value, long = false) {
  return new KINDS[about.kind](name, about, value, long);
}

export const label = (name) => (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " ");

class Field {
  constructor(name, about, control) {
    this.name = name;
    this.about = about;
    this.control = control;
    const id = (control.id = `field-${++made}`);
    const help = about.description && el("small", { id: `${id}-help` }, about.description);
    if (help) control.setAttribute("aria-describedby", help.id);
    if (!about.optional) control.setAttribute("required", "");
    this.node = el("div", { class: `field ${about.kind}` }, el("label", { htmlFor: id }, label(name)), control, help);
  }
}

class Text extends Field {
  constructor(name, about, value, long) {
    const given = { value: value ?? "", placeholder: shown(about.default), spellcheck: "false" };
    const rows = Math.min(8, Math.max(3, Math.ceil((value ?? "").length / 80)));
    super(name, about, long ? el("textarea", { ...given, rows }) : el("input", { type: "text", ...given }));
  }

  read() {
    return this.control.value || (this.about.optional ? undefined : "");
  }
}

class Count extends Field {
  constructor(name, about, value) {
    const given = { type: "number", min: about.minimum, max: about.maximum, step: about.whole ? 1 : "any" };
    super(name, about, el("input", { ...given, value: value ?? "", placeholder: shown(about.default) }));
  }

  read() {
    return this.control.value === "" ? undefined : Number(this.control.value);
  }
}

class Choice extends Field {
  constructor(name, about, value) {
    const unsaid = about.default ?? "the model's own";
    const options = [el("option", { value: "" }, `${unsaid} (default)`), ...options_(about)];
    super(name, about, el("select", {}, options));
    if (value !== undefined) this.control.value = String(value);
  }

  read() {
    return this.about.choices.find((one) => String(one) === this.control.value);
  }
}

function options_(about) {
  return about.choices.filter((one) => one !== about.default).map((one) => el("option", { value: one }, String(one)));
}

class Lines extends Field {
  constructor(name, about, value) {
    const hint = about.description ? `${about.description} One a line.` : "One a line.";
    const texts = [value ?? []].flat(); // a lone text may stand for its list
    const control = el("textarea", { rows: Math.max(3, texts.length), value: texts.join("\n"), spellcheck: "false" });
    super(name, { ...about, description: hint }, control);
  }

  read() {
    const lines = this.control.value.split("\n").filter((line) => line.trim());
    return lines.length ? lines : undefined;
  }
}

class Json extends Field {
  constructor(name, about, value) {
    const text = value === undefined ? "" : JSON.stringify(value, null, 1);
    super(name, { ...about, description: `${about.description} As JSON.`.trim() }, el("textarea", { rows: Math.min(8, Math.max(2, text.split("\n").length)), value: text, class: "mono", spellcheck: "false" }));
  }

  read() {
    if (!this.control.value.trim()) return undefined;
    try {
      return JSON.parse(this.control.value);
    } catch {
      throw new Error(`${label(this.name)} is not JSON`);
    }
  }
}

const shown = (value) => (value === undefined || value === null || typeof value === "object" ? "" : String(value));

const KINDS = { text: Text, number: Count, choice: Choice, lines: Lines, json: Json, table: TableField, file: FileField };
