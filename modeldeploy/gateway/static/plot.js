/** Small plots of our own, in SVG. */

import { svg } from "./dom.js";

const [WIDTH, HEIGHT, PAD] = [240, 56, 3];
const FEWEST = 30; // points that fill the width

/** Without a label it says nothing aloud. `draw(values)` takes numbers, and null where there is none. */
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

  draw(values) {
    const top = Math.max(...values.filter((one) => one !== null), 1e-9);
    const step = WIDTH / (Math.max(values.length, FEWEST) - 1);
    const left = WIDTH - step * (values.length - 1);
    const x = (at) => (left + at * step).toFixed(1);
    const y = (value) => (HEIGHT - PAD - (value / top) * (HEIGHT - 2 * PAD)).toFixed(1);
    const runs = runsOf(values);
    const along = (run) => run.map((at) => `${x(at)} ${y(values[at])}`).join("L");
    this.line.setAttribute("d", runs.map((run) => `M${along(run)}${run.length > 1 ? "" : "h0.1"}`).join(""));
    this.area.setAttribute(
      "d",
      runs.map((run) => `M${x(run[0])} ${HEIGHT}L${along(run)}L${x(run.at(-1))} ${HEIGHT}Z`).join(""),
    );
  }
}

/** The places of neighbouring values that are there. */
function runsOf(values) {
  const runs = [];
  values.forEach((value, at) => {
    if (value === null) return;
    if (at > 0 && values[at - 1] !== null && runs.length) runs.at(-1).push(at);
    else runs.push([at]);
  });
  return runs;
}
