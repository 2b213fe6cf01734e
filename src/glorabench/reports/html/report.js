"use strict";
// Sorting and filtering of the tables, and the cards of the runs, drawn when they are opened.

function numberOf(text) {
  const found = text.trim().match(/^[+-]?[\d,]*\.?\d+(e[+-]?\d+)?/i);
  return found ? Number(found[0].replaceAll(",", "")) : NaN;
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      const isNumber = head.classList.contains("number");
      const keyed = [...body.rows].map((row) => {
        const text = row.cells[column].textContent;
        return { row, key: isNumber ? numberOf(text) : text };
      });
      keyed.sort((a, b) => {
        if (!isNumber) return sign * a.key.localeCompare(b.key, "en", { numeric: true });
        if (isNaN(a.key) || isNaN(b.key)) return isNaN(a.key) - isNaN(b.key); // what is no number stands last
        return sign * (a.key - b.key);
      });
      body.append(...keyed.map((entry) => entry.row));
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    });
  });
}

function filterable(sheet) {
  const input = sheet.querySelector("input");
  const rows = [...sheet.querySelectorAll("tbody tr")];
  const texts = new Map(rows.map((row) => [row, [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase()]));
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !words.every((word) => texts.get(row).includes(word));
    const shown = rows.filter((row) => !row.hidden).length;
    sheet.querySelector(".count").textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  });
}

function made(tag, text, parent, kind) {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  if (kind) node.className = kind;
  parent?.append(node);
  return node;
}

function curve(name, points, id, parent) {
  const [xs, ys] = [0, 1].map((i) => points.map((point) => point[i]));
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const [first, last] = [xs[0], xs[xs.length - 1]];
  const at = ([x, y]) => `${(4 + (292 * (x - first)) / (last - first || 1)).toFixed(1)} ${(56 - (52 * (y - low)) / (high - low || 1)).toFixed(1)}`;
  const figure = made("figure", "", parent);
  const told = `${name}: ${ys[0]} at epoch ${first}, ${ys[ys.length - 1]} at epoch ${last}, between ${low} and ${high}. `;
  const link = made("a", "CSV", made("figcaption", told, figure), "csv");
  made("span", ` of ${name} of run ${id}`, link, "vh");
  link.download = `${id}-${name.replace(/[^\w.-]+/g, "-")}.csv`;
  link.href = "data:text/csv;charset=utf-8," + encodeURIComponent(`epoch,value\n${points.map((p) => p.join(",")).join("\n")}\n`);
  // numbers only: nothing of a record becomes markup
  figure.insertAdjacentHTML(
    "beforeend",
    `<svg viewBox="0 0 300 60" preserveAspectRatio="none" aria-hidden="true"><path class="curve" d="M${points.map(at).join("L")}"/></svg>`,
  );
}

function fill(card, run, data) {
  const body = made("div", "", card, "card");
  data.sections.forEach((title, number) => {
    const facts = run.facts.map((place) => data.facts[place]).filter((fact) => fact[0] === number);
    if (!facts.length) return;
    const section = made("section", "", body);
    made("h4", title, section);
    const rows = made("tbody", "", made("table", "", section));
    for (const [, key, value] of facts) {
      const row = made("tr", "", rows);
      made("th", key, row).scope = "row";
      made("td", value, row);
    }
  });
  const names = Object.keys(run.curves);
  if (!names.length) return;
  const section = made("section", "");
  made("h4", "curves", section);
  for (const name of names) curve(name, run.curves[name], run.id, section);
  body.prepend(section);
}

function cards(data) {
  const PAGE = 40;
  const list = document.getElementById("cards");
  const more = document.getElementById("r-more");
  const selects = ["method", "task", "seed"].map((key) => [key, document.getElementById(`r-${key}`)]);
  let limit = PAGE;

  function card(run) {
    const node = made("details", "");
    const head = made("summary", "", node);
    made("b", run.method, head);
    for (const text of [run.task, `seed ${run.seed}`, run.score, run.id]) made("span", text, head);
    node.addEventListener("toggle", () => node.querySelector(".card") ?? fill(node, run, data));
    return node;
  }

  function draw() {
    const chosen = data.runs.filter((run) => selects.every(([key, select]) => !select.value || run[key] === select.value));
    list.replaceChildren(...chosen.slice(0, limit).map((run) => (run.node ??= card(run))));
    more.hidden = chosen.length <= limit;
    document.getElementById("r-count").textContent = `${Math.min(limit, chosen.length)} of ${chosen.length} runs shown`;
  }

  for (const [key, select] of selects) {
    for (const value of new Set(data.runs.map((run) => run[key]))) select.append(new Option(value, value));
    select.addEventListener("change", () => {
      limit = PAGE;
      draw();
    });
  }
  more.addEventListener("click", () => {
    const before = limit;
    limit += PAGE;
    draw();
    list.children[before]?.firstChild.focus();
  });
  draw();
}

// a point, its name and the line between them light up together
function hot(event) {
  const of = event.target.closest("[data-i]");
  for (const node of event.currentTarget.querySelectorAll("[data-i]")) node.classList.toggle("hot", node.dataset.i === of?.dataset.i);
}

for (const svg of document.querySelectorAll("figure svg")) svg.addEventListener("pointerover", hot);
for (const sheet of document.querySelectorAll(".sheet")) {
  sortable(sheet.querySelector("table"));
  filterable(sheet);
}
const data = document.getElementById("data"); // cards of many runs have a page of their own
if (data) cards(JSON.parse(data.textContent));
