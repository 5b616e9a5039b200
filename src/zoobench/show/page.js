
"use strict";
// Sorting and filtering of tables. Texts of cells go from text to text only: nothing is ever parsed as HTML.

const collator = new Intl.Collator("en", { numeric: true });
const UNKNOWN = "—";

function keyOf(cell, numeric) {
  const key = cell.dataset.value ?? cell.textContent;
  return numeric ? Number.parseFloat(key) : key;
}

function isUnknown(key) {
  return key === UNKNOWN || key === "" || Number.isNaN(key);
}

// What is not known comes last whichever way, and by a figure also what cannot be believed.
function compare(a, b, numeric, direction) {
  return (
    (numeric ? a.out - b.out : 0) ||
    isUnknown(a.key) - isUnknown(b.key) ||
    direction * (numeric ? a.key - b.key : collator.compare(a.key, b.key)) ||
    a.place - b.place
  );
}

class Sorter {
  constructor(table) {
    this.heads = [...table.tHead.rows[0].cells];
    this.body = table.tBodies[0];
    this.ranked = [...this.body.rows];
    this.heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => this.turn(column));
    });
  }

  // Ascending, descending, and back to the ranking.
  turn(column) {
    const next = { ascending: "descending", descending: "" };
    const now = this.heads[column].getAttribute("aria-sort");
    this.sort(column, now === null ? "ascending" : next[now]);
  }

  sort(column, order) {
    for (const head of this.heads) head.removeAttribute("aria-sort");
    if (!order) {
      this.body.append(...this.ranked);
      return;
    }
    const numeric = this.heads[column].classList.contains("n");
    const direction = order === "ascending" ? 1 : -1;
    const keyed = this.ranked.map((row, place) => ({
      row, place, key: keyOf(row.cells[column], numeric), out: row.classList.contains("out"),
    }));
    keyed.sort((a, b) => compare(a, b, numeric, direction) || 0);
    this.body.append(...keyed.map((item) => item.row));
    this.heads[column].setAttribute("aria-sort", order);
  }
}

class Filter {
  constructor(table, sorter) {
    this.rows = sorter.ranked;
    this.texts = this.rows.map((row) =>
      [...row.cells].filter((cell) => !cell.classList.contains("n")).map((cell) => cell.textContent)
        .join(" ").toLowerCase());
    this.bar = document.createElement("div");
    this.bar.className = "filters";
    this.bar.setAttribute("role", "search");
    this.bar.setAttribute("aria-label", "Filter the table");
    this.words = document.createElement("input");
    this.words.type = "search";
    this.words.placeholder = "words, such as resnet onnx int8";
    this.words.addEventListener("input", () => this.apply());
    this.label("Model, backend, precision", this.words);
    this.choices = sorter.heads.flatMap((head, column) =>
      head.hasAttribute("data-choose") ? this.choice(head, column) : []);
    this.sorting(sorter);
    const clear = document.createElement("button");
    clear.type = "button";
    clear.textContent = "Clear";
    clear.addEventListener("click", () => this.clear());
    this.count = document.createElement("output");
    this.bar.append(clear, this.count);
    table.parentElement.before(this.bar);
    this.apply();
  }

  label(text, control, css = "") {
    const label = document.createElement("label");
    label.className = css;
    label.append(text, control);
    // Or the control would be named by all that can be chosen, too.
    control.setAttribute("aria-label", text);
    this.bar.append(label);
  }

  choice(head, column) {
    const words = [...new Set(this.rows.map((row) => String(keyOf(row.cells[column], false))))];
    if (words.length < 2) return [];
    const select = document.createElement("select");
    select.append(new Option("all", ""), ...words.sort(collator.compare).map((word) => new Option(word, word)));
    select.addEventListener("change", () => this.apply());
    this.label(head.textContent, select);
    return [{ column, select }];
  }

  // Cards have no heads to press.
  sorting(sorter) {
    const select = document.createElement("select");
    select.append(new Option("the ranking", ""));
    sorter.heads.forEach((head, column) => {
      select.append(new Option(`${head.textContent} ▲`, `${column} ascending`),
        new Option(`${head.textContent} ▼`, `${column} descending`));
    });
    select.addEventListener("change", () => {
      const [column, order] = select.value.split(" ");
      sorter.sort(Number(column), order);
    });
    this.label("Sorted by", select, "sorting");
  }

  clear() {
    this.words.value = "";
    for (const { select } of this.choices) select.value = "";
    this.apply();
  }

  apply() {
    const words = this.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    this.rows.forEach((row, number) => {
      const fits = words.every((word) => this.texts[number].includes(word)) &&
        this.choices.every(({ column, select }) =>
          select.value === "" || keyOf(row.cells[column], false) === select.value);
      row.hidden = !fits;
      shown += fits;
    });
    this.count.value = shown === this.rows.length ? `${shown} rows` : `${shown} of ${this.rows.length} rows`;
  }
}

for (const table of document.querySelectorAll("table")) {
  const sorter = new Sorter(table);
  if (table.hasAttribute("data-filter")) new Filter(table, sorter);
}
// What scrolls sideways is reached by keyboard too.
for (const wide of document.querySelectorAll(".wide")) {
  if (wide.scrollWidth > wide.clientWidth || wide.scrollHeight > wide.clientHeight) wide.tabIndex = 0;
}
