/** A small table to type into: what is left empty is left out. */

import { button, el } from "./dom.js";

let made = 0;

export class TableField {
  #rows = [];

  constructor(name, about, value) {
    this.name = name;
    const columns = Object.entries(value ?? {});
    const id = `table-${++made}`;
    this.head = el("tr", {});
    this.rows = el("tbody", {});
    const table = el("table", { "aria-labelledby": id }, el("thead", {}, this.head), this.rows);
    for (const [column] of columns) this.#addColumn(column);
    const count = Math.max(1, ...columns.map(([, cells]) => cells.length));
    for (let at = 0; at < count; at += 1) this.#addRow(columns.map(([, cells]) => cells[at] ?? ""));
    if (!columns.length) this.#addColumn("");
    this.node = el(
      "div",
      { class: "field table" },
      el("span", { class: "label", id }, name[0].toUpperCase() + name.slice(1)),
      el("div", { class: "sheet", role: "group", "aria-labelledby": id }, table),
      el("div", { class: "go" }, button("Add a row", () => this.#addRow([]), { class: "small" }), button("Add a column", () => this.#addColumn(""), { class: "small" })),
    );
  }

  #addColumn(text) {
    const at = this.head.children.length + 1;
    this.head.append(el("th", { scope: "col" }, el("input", { value: text, placeholder: `Column ${at}`, "aria-label": `Name of column ${at}`, spellcheck: "false" })));
    this.#rows.forEach((row, down) => row.append(cell("", down + 1, at)));
  }

  #addRow(texts) {
    const down = this.#rows.length + 1;
    const row = el("tr", {}, [...this.head.children].map((_, at) => cell(texts[at] ?? "", down, at + 1)));
    this.#rows.push(row);
    this.rows.append(row);
  }

  /** Columns by name. */
  read() {
    const rows = this.#filled();
    const names = texts(this.head);
    return Object.fromEntries(names.map((name, at) => [name, rows.map((row) => texts(row)[at])]).filter(([name]) => name));
  }

  #filled() {
    return this.#rows.filter((row) => texts(row).some(Boolean));
  }

  /** Show which cells an answer was found in: pairs of a row and a column, from 0. */
  mark(places) {
    for (const found of this.rows.querySelectorAll(".found")) found.classList.remove("found");
    const names = texts(this.head);
    const columns = names.map((_, at) => at).filter((at) => names[at]);
    for (const [down, across] of places) this.#filled()[down]?.children[columns[across]]?.classList.add("found");
  }
}

function cell(text, down, across) {
  return el("td", {}, el("input", { value: text, "aria-label": `Row ${down}, column ${across}`, spellcheck: "false" }));
}

const texts = (row) => [...row.children].map((one) => one.firstChild.value.trim());
