/** What deployments do: the last quarter of an hour, which the gateway remembers, and what comes. */

import { control } from "./api.js";

const EVERY_MS = 2000;
const KEPT_SECONDS = 900;

/** Tells `change` when there is something new; `of` gives a deployment's points, the oldest first. */
export class Figures extends EventTarget {
  #points = new Map();
  #latest = 0;

  start() {
    const read = () => (document.hidden ? undefined : this.#read());
    document.addEventListener("visibilitychange", read);
    setInterval(read, EVERY_MS);
    read();
  }

  of(name) {
    return this.#points.get(name) ?? [];
  }

  async #read() {
    const since = this.#latest;
    const found = Object.entries(await control.figures(since).catch(() => ({}))); // the next reading will tell
    if (!found.length || since !== this.#latest) return;
    this.#latest = Math.max(since, ...found.map(([, points]) => points.at(-1)?.at ?? 0));
    this.#points = new Map(found.map(([name, points]) => [name, this.#kept([...this.of(name), ...points])]));
    this.dispatchEvent(new Event("change"));
  }

  #kept(points) {
    return points.filter((point) => point.at >= this.#latest - KEPT_SECONDS);
  }
}
