/** The deployments as they live. */

import { control } from "./api.js";

const AGAIN_MS = 1000;

/**
 * Tells `change` whenever something has changed, and `heard` is whether anybody tells. While the tab is
 * hidden nothing is listened to: browsers open few connections to one server, for all tabs together.
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
    const following = (this.following = new AbortController());
    while (!following.signal.aborted) {
      try {
        for await (const told of await control.watch(following.signal)) this.#take(told.deployments);
      } catch (error) {
        if (error.status === 401) return location.reload(); // the session is over
      }
      if (following.signal.aborted) return;
      this.heard = false;
      this.dispatchEvent(new Event("change"));
      await new Promise((go) => setTimeout(go, AGAIN_MS));
    }
  }

  #take(deployments) {
    this.deployments = deployments;
    this.known = this.heard = true;
    this.dispatchEvent(new Event("change"));
  }
}

const MOVING = new Set(["PENDING", "FETCHING", "STARTING", "DRAINING", "BACKOFF"]);

/** Whether it is on its way to another state. */
export const isMoving = (deployment) => MOVING.has(deployment.state);
export const isParked = (deployment) => deployment.state === "STOPPED" || deployment.state === "FAILED";
