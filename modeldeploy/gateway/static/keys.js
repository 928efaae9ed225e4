/** API keys of deployments: in this page's memory while it is open, and nowhere else. */

import { button, copyButton, el } from "./dom.js";
import { field } from "./fields.js";

const known = new Map();

/** Headers that show a deployment's key, where one is known. */
export const keyHeaders = (name) => (known.has(name) ? { authorization: `Bearer ${known.get(name)}` } : {});
export const isKnown = (name) => known.has(name);

/** Asks for one of a deployment's keys, once for all that is asked of it. */
export class KeyField {
  constructor(name) {
    const one = field("API key", { kind: "text", optional: true, description: "This deployment answers whoever sends one of its keys. It stays in this page’s memory." }, known.get(name));
    this.control = one.control;
    this.control.type = "password";
    this.control.autocomplete = "off";
    this.control.addEventListener("input", () => remember(name, this.control.value.trim()));
    this.node = el("div", { class: "key" }, one.node);
  }

  /** Throws where there is none yet. */
  check() {
    if (this.control.value.trim()) return;
    this.control.focus();
    throw new Error("Type one of its API keys first");
  }
}

function remember(name, key) {
  if (key) known.set(name, key);
  else known.delete(name);
}

/** A new key, and its digest: all that the supervisor hears of it. */
export async function newKey() {
  const random = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))));
  const key = `mdk_${random.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key)));
  return { key, digest: [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("") };
}

/** Show a key that was made, once; this page goes on using it. */
export function showOnce(name, key) {
  remember(name, key);
  const dialog = el(
    "dialog",
    { class: "ask", "aria-labelledby": "key-title", onclose: () => dialog.remove() },
    el("h2", { id: "key-title" }, `The API key of ${name}`),
    el("p", {}, "It is shown this once: keep it where you keep secrets. Only its hash is stored."),
    el("pre", { tabindex: 0 }, key),
    el("div", { class: "go" }, copyButton(() => key, "the key"), button("I have it", () => dialog.close(), { class: "primary" })),
  );
  document.body.append(dialog);
  dialog.showModal();
}
