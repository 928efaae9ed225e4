/** What deployments do, from /metrics: read now and then, and remembered for some minutes. */

import { ask } from "./api.js";

const EVERY_MS = 2000;
const KEPT = 90;
const SAMPLE = /^modeldeploy_([a-z_]+)\{([^}]*)\} (\S+)$/;
const DEPLOYMENT = /deployment="([a-z0-9-]+)"/;

/** Sums by deployment and figure; `tokens_total` is what was written. */
export function parsed(page) {
  const found = new Map();
  for (const line of page.split("\n")) {
    const [, figure, labels, value] = SAMPLE.exec(line) ?? [];
    const name = figure && DEPLOYMENT.exec(labels)?.[1];
    if (!name || (figure === "tokens_total" && !labels.includes('kind="output"'))) continue;
    const figures = found.get(name) ?? {};
    figures[figure] = (figures[figure] ?? 0) + Number(value);
    found.set(name, figures);
  }
  return found;
}

/** What happened between two readings: rates by second, `latency` in seconds or null where none was. */
export function between(before, after, elapsed) {
  const more = (figure) => Math.max(0, (after[figure] ?? 0) - (before[figure] ?? 0));
  const answered = more("request_seconds_count");
  return {
    throughput: more("requests_total") / elapsed,
    latency: answered ? more("request_seconds_sum") / answered : null,
    tokens: more("tokens_total") / elapsed,
    queue: after.queue_depth ?? 0,
    memory: after.memory_bytes ?? 0,
  };
}

/** Tells `change` after each reading; `of` gives a deployment's points, the oldest first. */
export class Figures extends EventTarget {
  #points = new Map();
  #last = null;

  start() {
    const read = () => (document.hidden ? undefined : this.#read());
    document.addEventListener("visibilitychange", read);
    setInterval(read, EVERY_MS);
    read();
    setTimeout(read, EVERY_MS / 3); // a figure is between two readings
  }

  of(name) {
    return this.#points.get(name) ?? [];
  }

  async #read() {
    let page;
    try {
      page = await (await ask("metrics")).text();
    } catch {
      return; // the next reading will tell
    }
    const [now, found] = [performance.now() / 1000, parsed(page)];
    const last = this.#last;
    this.#last = { now, found };
    if (!last || now - last.now < 0.5) return;
    for (const [name, figures] of found) {
      const before = last.found.get(name);
      if (!before) continue;
      const points = [...this.of(name), between(before, figures, now - last.now)];
      this.#points.set(name, points.slice(-KEPT));
    }
    for (const name of this.#points.keys()) if (!found.has(name)) this.#points.delete(name);
    this.dispatchEvent(new Event("change"));
  }
}
