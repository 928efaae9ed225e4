/** The page: who may see it, what it shows, which keys it knows. */

import { onOtherSession, session, signOut } from "./api.js";
import { DeployDialog } from "./deploy.js";
import { Detail } from "./detail.js";
import { button, copyButton, el, say } from "./dom.js";
import { Figures } from "./figures.js";
import { Fleet } from "./fleet.js";
import { List } from "./list.js";
import { startTheme } from "./theme.js";

const main = document.getElementById("main");
const TICKET = "#ticket=";
const narrow = matchMedia("(max-width: 820px)");

async function begin() {
  startTheme(document.getElementById("theme"));
  const ticket = location.hash.startsWith(TICKET) ? location.hash.slice(TICKET.length) : null;
  if (ticket) history.replaceState(null, "", location.pathname); // it is a secret, and good once
  let why = "";
  onOtherSession(() => location.reload());
  // A link that is pasted where this page is open already changes the hash only.
  addEventListener("hashchange", () => location.hash.startsWith(TICKET) && location.reload());
  try {
    if (await session(ticket)) return show();
  } catch (error) {
    why = error.message;
    if (ticket && (await session().catch(() => false))) return show(); // signed in already
  }
  main.replaceChildren(gate(why));
}

/** All that somebody without a session is shown. */
function gate(why) {
  const command = "modeldeploy dashboard";
  const other = new URL(location.href);
  other.hostname = location.hostname === "localhost" ? "127.0.0.1" : "localhost";
  return el(
    "section",
    { class: "gate" },
    el("h1", {}, "This page is yours, if this machine is"),
    why && el("p", { class: "problem", role: "alert" }, why),
    el("p", {}, "Type this in a terminal; it opens the dashboard, signed in:"),
    el("p", { class: "command" }, el("code", {}, command), copyButton(() => command, "the command")),
    el("p", { class: "note" }, "Browsers keep localhost and 127.0.0.1 apart. If you are signed in at the other: ", el("a", { href: other.href }, other.host)),
  );
}

function show() {
  const leave = document.getElementById("sign-out");
  leave.hidden = false;
  leave.addEventListener("click", async () => {
    await signOut();
    location.reload();
  });
  const [fleet, figures] = [new Fleet(), new Figures()];
  const dialog = new DeployDialog((name) => (location.hash = `#/${name}`));
  const deploy = button("Deploy a model", () => dialog.open(), { class: "primary" });
  const list = new List(fleet, figures, deploy);
  const detail = new Detail(fleet, figures, (before) => dialog.open(before));
  main.replaceChildren(el("div", { class: "panes" }, list.node, detail.node));

  const supervisor = document.getElementById("supervisor");
  let shown = "";
  const route = () => {
    const [, named = "", tab = ""] = location.hash.split("/").map(decoded);
    const name = named || first();
    const wanted = [named, name, tab].join("/");
    if (wanted === shown) return;
    shown = wanted;
    document.body.classList.toggle("chosen", Boolean(name));
    document.title = named ? `${named} · modeldeploy` : "modeldeploy";
    list.select(name);
    detail.show(name, tab);
  };
  /** What is there to see beside the list, where nobody has chosen. */
  const first = () => (narrow.matches ? "" : (fleet.deployments[0]?.name ?? ""));
  fleet.addEventListener("change", () => {
    supervisor.classList.toggle("lost", !fleet.heard);
    say(supervisor, fleet.heard ? told(fleet.deployments) : "The supervisor does not answer");
    route();
  });
  narrow.addEventListener("change", route);
  addEventListener("hashchange", () => {
    route();
    if (narrow.matches) main.focus(); // the link that was followed is gone
  });
  addEventListener("keydown", (event) => keys(event, list));
  route();
  fleet.start();
  figures.start();
}

/** A part of an address, as it stands where it is none. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function told(deployments) {
  const running = deployments.filter((one) => one.state === "RUNNING").length;
  return deployments.length ? `${running} of ${deployments.length} running` : "";
}

function keys(event, list) {
  const typing = event.target.closest("input, textarea, select, dialog");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    list.filter.focus();
  } else if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    if (event.target === list.filter && list.filter.value) list.clear();
    else if (!typing) location.hash = "#/";
  }
}

begin();
