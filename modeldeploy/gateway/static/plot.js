/** Small plots of our own, in SVG. */

import { svg } from "./dom.js";

const [WIDTH, HEIGHT, PAD] = [240, 56, 3];
const FEWEST_SECONDS = 60; // that fill the width
const GAP_SECONDS = 30; // without a point: nothing is known of what was between

/** Without a label it says nothing aloud. */
export class Plot {
  constructor(label) {
    this.line = svg("path", { class: "line" });
    this.area = svg("path", { class: "area" });
    this.node = svg(
      "svg",
      { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", ...(label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" }) },
      svg("path", { class: "base", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` }),
      this.area,
      this.line,
    );
  }

  /** `points` have a time `at`, the oldest first, and under `key` a number, or null where there is none. */
  draw(points, key) {
    const top = Math.max(...points.map((point) => point[key] ?? 0), 1e-9);
    const end = points.at(-1)?.at ?? 0;
    const seconds = Math.max(end - (points[0]?.at ?? end), FEWEST_SECONDS);
    const x = (point) => (WIDTH * (1 - (end - point.at) / seconds)).toFixed(1);
    const y = (point) => (HEIGHT - PAD - (point[key] / top) * (HEIGHT - 2 * PAD)).toFixed(1);
    const runs = runsOf(points, key);
    const along = (run) => run.map((point) => `${x(point)} ${y(point)}`).join("L");
    this.line.setAttribute("d", runs.map((run) => `M${along(run)}${run.length > 1 ? "" : "h0.1"}`).join(""));
    this.area.setAttribute("d", runs.map((run) => `M${x(run[0])} ${HEIGHT}L${along(run)}L${x(run.at(-1))} ${HEIGHT}Z`).join(""));
  }
}

/** Neighbouring points whose value is there. */
function runsOf(points, key) {
  const runs = [];
  let before = null;
  for (const point of points) {
    const isThere = point[key] !== null;
    const goesOn = before && before[key] !== null && point.at - before.at < GAP_SECONDS;
    if (isThere && goesOn) runs.at(-1).push(point);
    else if (isThere) runs.push([point]);
    before = point;
  }
  return runs;
}
