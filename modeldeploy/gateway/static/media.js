/** Files that are dropped, chosen or pasted: shown, and sent as base64. */

import { el, say } from "./dom.js";

let made = 0;

export class FileField {
  #base64 = undefined;

  constructor(name, about, value) {
    this.name = name;
    this.about = about;
    this.media = about.media.split("/")[0];
    this.filename = `${name}${ENDINGS[this.media] ?? ""}`;
    const id = `file-${++made}`;
    this.input = el("input", { type: "file", accept: about.media, id, class: "unseen", onchange: () => this.#take(this.input.files[0]) });
    this.stage = el("div", { class: "stage" });
    this.caption = el("span", {}, "Drop a file here, paste it, or ");
    this.drop = el(
      "div",
      { class: "drop", role: "group", "aria-label": name, tabindex: 0 },
      this.stage,
      el("p", {}, this.caption, this.input, el("label", { htmlFor: id, class: "choose" }, "choose one")),
    );
    this.#listen();
    this.node = el("div", { class: "field file" }, el("span", { class: "label" }, name[0].toUpperCase() + name.slice(1)), this.drop);
    if (typeof value === "string") this.#show(value, null, "The example. Drop your own, or ");
  }

  read() {
    return this.#base64;
  }

  /** Whether there is something to send, under `filename`. */
  get isFull() {
    return this.#base64 !== undefined;
  }

  /** The picture that is shown, for what is to be drawn over it. */
  get image() {
    return this.stage.querySelector("img");
  }

  #listen() {
    const stop = (event) => event.preventDefault();
    this.drop.addEventListener("dragover", (event) => {
      stop(event);
      this.drop.classList.add("over");
    });
    this.drop.addEventListener("dragleave", () => this.drop.classList.remove("over"));
    this.drop.addEventListener("drop", (event) => {
      stop(event);
      this.drop.classList.remove("over");
      this.#take(event.dataTransfer.files[0]);
    });
    this.drop.addEventListener("paste", (event) => this.#take(event.clipboardData.files[0]));
  }

  async #take(file) {
    if (!file) return;
    const url = await dataUrl(file);
    this.filename = file.name;
    this.#show(url.slice(url.indexOf(",") + 1), file.type, `${file.name}. Drop another, or `);
  }

  #show(base64, type, caption) {
    this.#base64 = base64;
    say(this.caption, caption);
    const url = `data:${type || GUESSED[this.media]};base64,${base64}`;
    this.stage.replaceChildren(this.#shown(url));
    this.stage.dispatchEvent(new Event("change", { bubbles: true }));
  }

  #shown(url) {
    if (this.media === "audio") return el("audio", { controls: true, src: url, "aria-label": "What is sent" });
    const image = el("img", { src: url, alt: "What is sent" });
    image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth < 100));
    if (this.media === "image") return el("div", { class: "canvas" }, image);
    const video = el("video", { controls: true, src: url, "aria-label": "What is sent" });
    video.addEventListener("error", () => video.replaceWith(image)); // an animated picture
    return video;
  }
}

const GUESSED = { image: "image/png", audio: "audio/flac", video: "image/gif" };
const ENDINGS = { image: ".png", audio: ".wav", video: ".gif" }; // of a file of one's own, in place of the example

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
