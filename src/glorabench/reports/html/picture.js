// The picture: numbers of a point under the pointer or the keyboard, and the difference of two points.

function signed(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  return (value > 0 && Number(text) ? "+" : value < 0 && Number(text) ? "\u2212" : "") + text;
}

function interval(difference, data) {
  if (difference[1] === null) return "one seed, no interval";
  return `${signed(difference[1], data.digits)} to ${signed(difference[2], data.digits)}`;
}

function forest(name, difference, reach, data, rows) {
  const row = made("tr", "", rows);
  made("th", name, row).scope = "row";
  const bar = made("div", "", made("td", "", row), "forest");
  const at = (value) => `${Math.min(100, Math.max(0, 50 + (50 * value) / reach))}%`;
  made("i", "", bar, "zero");
  if (difference[1] !== null) {
    const ends = made("i", "", bar, "ends");
    ends.style.left = at(difference[1]);
    ends.style.right = `calc(100% - ${at(difference[2])})`;
  }
  made("i", "", bar, "at").style.left = at(difference[0]);
  made("td", `${signed(difference[0], data.digits)} (${interval(difference, data)})`, row, "ci");
}

// [value, low, high, seeds] of the mean and of each task, first side minus second
function between(data, first, second) {
  const key = first < second ? `${first},${second}` : `${second},${first}`;
  const found = data.pairs[key];
  if (!found || first < second) return found;
  const minus = (value) => (value === null ? null : -value);
  return found.map(([value, low, high, n]) => [minus(value), minus(high), minus(low), n]);
}

function verdict(names, mean, data) {
  const size = `${Math.abs(mean[0]).toFixed(data.digits)} ${data.unit}`;
  if (mean[1] === null) return `${names[0]} and ${names[1]} differ by ${size}; with one seed there is no interval.`;
  const seeds = `95 % interval ${interval(mean, data)}, ${mean[3]} seeds`;
  if (mean[1] <= 0 && mean[2] >= 0) return `Not separated: ${names[0]} minus ${names[1]} is ${signed(mean[0], data.digits)} ${data.unit} (${seeds}).`;
  const better = mean[0] > 0 === data.higher;
  return `${names[0]} is ${better ? "better" : "worse"} than ${names[1]} by ${size} (${seeds}).`;
}

function draw_difference(box, data, first, second) {
  const names = [first, second].map((i) => data.points[i].name);
  box.replaceChildren();
  if (first === second) return void made("p", "Choose two different methods.", box);
  const all = between(data, first, second);
  if (!all) return void made("p", `${names[0]} and ${names[1]}: this page has no paired difference of them.`, box);
  const [mean, ...tasks] = all;
  if (mean[0] !== null) made("p", verdict(names, mean, data), box, "verdict");
  const numbers = all.flatMap((d) => d.slice(0, 3)).filter((value) => value !== null);
  const reach = 1.05 * Math.max(1e-9, ...numbers.map(Math.abs));
  const rows = made("tbody", "", made("table", "", box));
  if (mean[0] !== null) forest("mean", mean, reach, data, rows);
  tasks.forEach((difference, i) => forest(data.tasks[i], difference, reach, data, rows));
}

function show_tip(tip, spot, data) {
  const point = data.points[spot.dataset.i];
  tip.replaceChildren();
  made("b", point.name, tip);
  made("span", `${point.score}${point.interval ? ` (${point.interval})` : ""}, n = ${point.n}, ${point.params} parameters`, tip);
  tip.hidden = false;
  const frame = tip.parentElement.getBoundingClientRect();
  const at = spot.querySelector(".mark").getBoundingClientRect();
  const left = at.left - frame.left + at.width / 2 - tip.offsetWidth / 2;
  const above = at.top - frame.top - tip.offsetHeight - 10;
  tip.style.left = `${Math.max(0, Math.min(left, frame.width - tip.offsetWidth))}px`;
  tip.style.top = `${above < 0 ? at.bottom - frame.top + 10 : above}px`;
}

function picture(root) {
  const data = JSON.parse(root.querySelector(".picture-data").textContent);
  const tip = root.querySelector(".tip");
  const spots = [...root.querySelectorAll(".spot[data-i]")];
  const selects = [...root.querySelectorAll(".compare select")];
  for (const spot of spots) {
    spot.querySelector("title").remove(); // the tooltip of the page says it
    const show = () => show_tip(tip, spot, data);
    const hide = () => (tip.hidden = true);
    spot.addEventListener("pointerenter", show);
    spot.addEventListener("pointerleave", hide);
    spot.addEventListener("focus", show);
    spot.addEventListener("blur", hide);
  }
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tip.hidden = true;
  });
  if (!selects.length) return;
  let chosen = data.first.slice(0, 2);
  const comparable = new Set([...selects[0].options].map((option) => Number(option.value)));

  function draw() {
    for (const spot of spots) spot.setAttribute("aria-pressed", String(chosen.includes(Number(spot.dataset.i))));
    chosen.forEach((place, i) => (selects[i].value = String(place)));
    const box = root.querySelector(".difference");
    if (chosen.length === 2) draw_difference(box, data, ...chosen);
    else box.replaceChildren(made("p", "Choose a second method in the picture or in the list.", null));
  }

  function choose(place) {
    if (!comparable.has(place)) return;
    chosen = chosen.length === 2 ? [place] : chosen[0] === place ? [] : [...chosen, place];
    draw();
  }

  for (const spot of spots) {
    const place = Number(spot.dataset.i);
    spot.addEventListener("click", () => choose(place));
    spot.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose(place);
    });
  }
  selects.forEach((select) =>
    select.addEventListener("change", () => {
      chosen = selects.map((other) => Number(other.value));
      draw();
    }),
  );
  draw();
}

function switched(figures) {
  figures.classList.add("live");
  const inputs = document.querySelectorAll(`input[name="${figures.dataset.switch}"]`);
  for (const input of inputs) {
    input.addEventListener("change", () => {
      [...figures.children].forEach((figure, i) => figure.classList.toggle("chosen", i === Number(input.value)));
    });
  }
}

document.querySelectorAll(".picture").forEach(picture);
document.querySelectorAll(".switched").forEach(switched);
