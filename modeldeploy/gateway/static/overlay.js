/** Boxes and masks, over the picture that they were found in. */

import { el, svg } from "./dom.js";

const LABEL_PIXELS = 12;
const FIRST_HUE = 222;
const GOLDEN_ANGLE = 137.508; // no two of many steps along it end near each other

export const colour = (at) => `hsl(${((FIRST_HUE + at * GOLDEN_ANGLE) % 360).toFixed(1)} 70% ${[50, 40, 62][at % 3]}%)`;

/** Draw what was found over an image, in place of what was drawn before. */
export async function draw(image, found) {
  clear(image);
  await image.decode();
  const frame = { class: "over", viewBox: `0 0 ${image.naturalWidth} ${image.naturalHeight}`, "aria-hidden": "true" };
  const boxes = svg("svg", frame);
  for (const [at, one] of found.entries()) {
    if (one.mask) image.after(await mask(one.mask, at));
    if (one.box) boxes.append(...box(one, at, image));
  }
  image.parentElement.append(boxes);
}

export function clear(image) {
  image?.parentElement.querySelectorAll(".over").forEach((node) => node.remove());
}

function box({ box: { xmin, ymin, xmax, ymax }, label, score }, at, image) {
  const size = (LABEL_PIXELS * image.naturalWidth) / (image.clientWidth || image.naturalWidth);
  const text = [label, score !== undefined && score !== null && score.toFixed(2)].filter(Boolean).join(" ");
  const place = { x: xmin, y: ymin, width: Math.max(0, xmax - xmin), height: Math.max(0, ymax - ymin) };
  const above = ymin > size * 1.4 ? ymin - size * 0.35 : ymin + size;
  return [
    svg("rect", { ...place, class: "box", stroke: colour(at) }),
    svg("text", { x: xmin + size * 0.2, y: above, "font-size": size, class: "box-label" }, text),
  ];
}

/** A mask is white where it is: it becomes a veil of a colour. */
async function mask(base64, at) {
  const picture = el("img", { src: `data:image/png;base64,${base64}`, alt: "" });
  await picture.decode();
  const canvas = el("canvas", { class: "over", width: picture.naturalWidth, height: picture.naturalHeight, "aria-hidden": "true" });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let each = 0; each < pixels.data.length; each += 4) pixels.data[each + 3] = pixels.data[each];
  context.putImageData(pixels, 0, 0);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = colour(at);
  context.fillRect(0, 0, canvas.width, canvas.height);
  return canvas;
}
