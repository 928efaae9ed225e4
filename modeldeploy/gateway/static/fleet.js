/** The deployments as they live. */

import { control } from "./api.js";
import { shared } from "./shared.js";

const AGAIN_MS = 1000;

/**
 * Tells `change` whenever something has changed, and `heard` is whether anybody tells. While the tab is
 * hidden nothing is listened to.
 */
export class Fleet extends EventTarget {
  constructor() {
    super();
    this.deployments = [];
    this.known = false;
    this.heard = false;
    this.following = null;
  }

  start() {
    document.addEventListener("visibilitychange", () => this.#follow());
    this.#follow();
  }

  find(name) {
    return this.deployments.find((one) => one.name === name);
  }

  async #follow() {
    this.following?.abort();
    if (document.hidden) return;
    const { signal } = (this.following = new AbortController());
    await shared("modeldeploy-watch", signal, (tell) => watch(signal, tell), (deployments) => this.#take(deployments));
  }

  /** Null where the supervisor does not answer. */
  #take(deployments) {
    this.heard = deployments !== null;
    if (this.heard) [this.deployments, this.known] = [deployments, true];
    this.dispatchEvent(new Event("change"));
  }
}

/** Until `signal`: reads what the supervisor tells, again where it ends. */
async function watch(signal, tell) {
  while (!signal.aborted) {
    try {
      for await (const told of await control.watch(signal)) tell(told.deployments);
    } catch (error) {
      if (error.status === 401) return location.reload(); // the session is over
    }
    if (signal.aborted) return;
    tell(null);
    await new Promise((go) => setTimeout(go, AGAIN_MS));
  }
}

const MOVING = new Set(["PENDING", "FETCHING", "STARTING", "DRAINING", "BACKOFF"]);

/** Whether it is on its way to another state. */
export const isMoving = (deployment) => MOVING.has(deployment.state);
export const isParked = (deployment) => deployment.state === "STOPPED" || deployment.state === "FAILED";
