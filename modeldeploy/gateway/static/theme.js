/** Light or dark: as the system has it, until somebody chooses. */

import { say } from "./dom.js";

const KEY = "modeldeploy-theme";

export function startTheme(node) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const current = () => localStorage.getItem(KEY) ?? (system.matches ? "dark" : "light");
  function show() {
    const chosen = localStorage.getItem(KEY);
    if (chosen) document.documentElement.dataset.theme = chosen;
    const other = current() === "dark" ? "Light" : "Dark";
    say(node, other);
    node.setAttribute("aria-label", `${other} colours`);
  }
  node.addEventListener("click", () => {
    localStorage.setItem(KEY, current() === "dark" ? "light" : "dark");
    show();
  });
  system.addEventListener("change", show);
  show();
}
