/** Answers, drawn by their shape: labels as bars, entities in their text, sounds to hear. */

import { el } from "./dom.js";
import { colour } from "./overlay.js";
import { number } from "./units.js";

const WRITTEN = ["generated_text", "summary_text", "translation_text"];
const MOST_BARS = 12;

/** Nodes for a result; `asked` is the request's body. What has no shape of its own is shown as JSON. */
export function drawn(result, asked) {
  const each = Array.isArray(result) ? result : [result];
  const [first] = each;
  if (typeof first === "number") return asked.sentences ? each.map((score, at) => bar(asked.sentences[at], score)) : vector(each);
  if (!each.length) return [el("p", { class: "note" }, "Nothing was found.")];
  if (Array.isArray(first)) return each.every(Array.isArray) && typeof first[0] === "object" ? each.flatMap((one) => drawn(one, asked)) : [json(result)];
  const key = WRITTEN.find((name) => name in first);
  if (key) return each.map((one) => el("p", { class: "written" }, one[key]));
  if ("entity" in first || "entity_group" in first) return [entities(each, asked.text ?? "")];
  if ("audio" in first) return [el("audio", { controls: true, src: `data:audio/wav;base64,${first.audio}`, "aria-label": "The answer" })];
  if ("depth" in first) return [el("img", { class: "depth", src: `data:image/png;base64,${first.depth}`, alt: "Depth, the farther the lighter" })];
  if ("answer" in first) return each.map((one) => bar(one.answer || "(no answer)", one.score));
  if ("sequence" in first) return bars(each, (one) => one.token_str);
  if ("label" in first) return "box" in first || "mask" in first ? [legend(each)] : bars(each, (one) => one.label);
  if ("index" in first && "score" in first) return bars(each, (one) => asked.texts?.[one.index] ?? `text ${one.index}`);
  if ("text" in first) return each.flatMap(transcript);
  return [json(result)];
}

function bars(found, name) {
  return found.slice(0, MOST_BARS).map((one) => bar(name(one), one.score));
}

/** All that was drawn over the picture, each with its colour there. */
function legend(found) {
  const rows = found.map((one, at) => bar(one.label, one.score, colour(at)));
  return el("div", { class: "legend", role: "group", "aria-label": "What was found", tabindex: 0 }, rows);
}

function bar(label, score, hue) {
  const name = el("span", { class: "name" }, hue && swatch(hue), String(label));
  if (typeof score !== "number") return el("div", { class: "scored" }, name);
  const done = el("span", { class: "done" });
  done.style.width = `${Math.max(0, Math.min(1, score)) * 100}%`;
  if (hue) done.style.background = hue;
  return el("div", { class: "scored" }, name, el("span", { class: "score" }, score.toFixed(3)), el("span", { class: "track" }, done));
}

/** The colour that it was drawn with over the picture. */
function swatch(hue) {
  const node = el("span", { class: "swatch", "aria-hidden": "true" });
  node.style.background = hue;
  return node;
}

function entities(found, text) {
  const node = el("p", { class: "written" });
  let at = 0;
  for (const one of found.filter((each) => each.start !== null)) {
    if (one.start < at) continue;
    node.append(text.slice(at, one.start));
    node.append(el("mark", {}, text.slice(one.start, one.end), el("small", {}, ` ${one.entity_group ?? one.entity} ${one.score.toFixed(2)}`)));
    at = one.end;
  }
  node.append(text.slice(at));
  return node;
}

function transcript(one) {
  const chunks = (one.chunks ?? []).map((chunk) => el("li", {}, el("span", { class: "score" }, chunk.timestamp.map((t) => (t === null ? "…" : t.toFixed(2))).join(" – ")), ` ${chunk.text}`));
  return [el("p", { class: "written" }, one.text), chunks.length ? el("ol", { class: "chunks" }, chunks) : null].filter(Boolean);
}

function vector(numbers) {
  const length = Math.hypot(...numbers);
  const first = numbers.slice(0, 8).map((one) => one.toFixed(3)).join("  ");
  return [el("p", {}, `${number(numbers.length)} numbers, of length ${length.toFixed(3)}`), el("p", { class: "mono" }, `${first}${numbers.length > 8 ? "  …" : ""}`)];
}

/** Whatever it is, as JSON; files in it are cut short. */
export function json(value) {
  const short = (_, one) => (typeof one === "string" && one.length > 300 && !one.includes(" ") ? `${one.slice(0, 60)}…` : one);
  return el("pre", { tabindex: 0, "aria-label": "The answer as JSON" }, JSON.stringify(value, short, 2));
}
