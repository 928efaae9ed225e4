/** The gateway, asked by this page: the control API below /api, deployments below /deployments. */

import { here } from "./hints.js";
import { keyHeaders } from "./keys.js";
import { jsonLines } from "./streams.js";

/** What was answered instead; `hint` says what to do. */
export class Refused extends Error {
  constructor(status, problem) {
    super(here(problem.message || `it was answered ${status}`));
    this.status = status;
    this.hint = here(problem.hint || "");
  }
}

async function checked(response) {
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  const error = answer.error ?? answer;
  throw new Refused(response.status, typeof error === "string" ? { ...answer, message: error } : error);
}

const KEY = "modeldeploy-session";

/** The page's half of its session: storage is of one origin, while the cookie goes to every port of a host. */
const sessionKey = () => {
  const key = localStorage.getItem(KEY);
  return key ? { "x-modeldeploy-session": key } : {};
};

async function ask(path, { headers = {}, ...options } = {}) {
  const isOurs = path === "session" || path.startsWith("api/");
  if (isOurs && path !== "session" && !localStorage.getItem(KEY)) throw new Refused(401, { message: "signed out" });
  return checked(await fetch(path, { credentials: "same-origin", ...options, headers: { ...(isOurs && sessionKey()), ...headers } }));
}

async function getJson(path, headers) {
  return (await ask(path, { headers })).json();
}

function post(path, body, signal, more) {
  const headers = { "content-type": "application/json", ...more };
  return ask(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

/** Whether there is a session; a ticket begins one. */
export async function session(ticket) {
  const answer = await (ticket ? await post("session", { ticket }) : await ask("session")).json();
  if (answer.key) localStorage.setItem(KEY, answer.key);
  return answer.signed_in;
}

export async function signOut() {
  const headers = sessionKey();
  localStorage.removeItem(KEY); // first: no tab asks for anything that would be refused
  await ask("session", { method: "DELETE", headers });
}

/** Calls `told` when another tab has signed in or out. */
export function onOtherSession(told) {
  addEventListener("storage", (event) => event.key === KEY && told());
}

const at = (name, verb = "") => `api/v1/deployments/${encodeURIComponent(name)}${verb}`;

export const control = {
  defaults: () => getJson("api/defaults"),
  figures: (since) => getJson(`api/figures?since=${since}`),
  document: () => getJson("api/openapi.json"),
  deploy: async (request) => (await post("api/v1/deployments", request)).json(),
  start: (name, hub) => post(at(name, "/start"), { hub }),
  restart: (name, hub) => post(at(name, "/restart"), { hub }),
  stop: (name) => post(at(name, "/stop"), {}),
  remove: (name) => ask(at(name), { method: "DELETE" }),
  watch: async (signal) => jsonLines(await ask("api/v1/watch", { signal })),
  logs: async (name, query, signal) =>
    jsonLines(await ask(`${at(name, "/logs")}?${new URLSearchParams(query)}`, { signal })),
};

/** One deployment's own routes, through the front door. */
export function deploymentPath(name, path) {
  return `deployments/${encodeURIComponent(name)}${path}`;
}

/** They are asked with its API key, where the page knows one. */
export const deployment = {
  get: (name, path) => getJson(deploymentPath(name, path), keyHeaders(name)),
  post: (name, path, body, signal) => post(deploymentPath(name, path), body, signal, keyHeaders(name)),
};
