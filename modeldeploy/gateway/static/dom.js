/** Nodes. Whatever is a value becomes text, never HTML. */

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["checked", "className", "disabled", "hidden", "htmlFor", "textContent", "value"]);

/** An element: `on…` are listeners, what is undefined, null or false is left out. */
export function el(tag, given = {}, ...children) {
  return filled(document.createElement(tag), given, children);
}

export function svg(tag, given = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), given, children);
}

function filled(node, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((one) => one !== undefined && one !== null && one !== false));
  return node;
}

/** Change a node's text only where it is another: what reads aloud would begin again. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Tell those who listen instead of looking. */
export function announce(text) {
  say(document.getElementById("announcer"), text);
}

export function button(label, onclick, given = {}) {
  return el("button", { type: "button", onclick, ...given }, label);
}

/** While it is, a button does nothing. It keeps the focus, which a disabled one loses. */
export const isBusy = (node) => node.getAttribute("aria-disabled") === "true";
export const setBusy = (node, busy) => node.setAttribute("aria-disabled", String(busy));

/** Hide a node; where it had the focus, `next` has it. */
export function hide(node, next) {
  const had = node === document.activeElement;
  node.hidden = true;
  if (had) next.focus();
}

/** A button that puts a text into the clipboard, and says so. */
export function copyButton(text, what) {
  const node = button("Copy", copy, { class: "quiet small", "aria-label": `Copy ${what}` });
  async function copy() {
    await navigator.clipboard.writeText(text());
    say(node, "Copied");
    announce(`Copied ${what}`);
    setTimeout(() => say(node, "Copy"), 1500);
  }
  return node;
}
