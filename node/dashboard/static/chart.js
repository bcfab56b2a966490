// A line chart in SVG: axes, up to a few series, a cross-hair for pointer and keyboard, and a table for who reads rather than looks.

import { dataTable, element, setAttribute, setText, shape } from "./dom.js";
import { brief } from "./format.js";

const MARGIN = { top: 12, right: 16, bottom: 28, left: 52 };

// `series`: [{ name, kind, show, steps }], kind being a class of style.css, `show` a number's text, `steps` a line that goes in steps.
// `fromZero`: the axis begins there; `wholeY`: it counts. `x` of `show`: { axis, show, time, whole }, the axis's name, a tick's text, and whether ticks are times or whole numbers.
export class Chart {
  constructor(parent, { title, height, series, fromZero = false, wholeY = false }) {
    this.title = title;
    this.height = height;
    this.series = series;
    this.fromZero = fromZero;
    this.wholeY = wholeY;
    this.rows = [];
    this.at = -1;
    this.svg = shape("svg", { "aria-hidden": "true", focusable: "false" });
    this.note = element("p", { class: "note", "aria-hidden": "true" });
    this.box = element("div", { class: "chart", tabindex: "0", role: "slider", "aria-label": title, "aria-valuemin": "0" }, this.svg, this.note);
    this.empty = element("p", { class: "empty muted" }, "Nothing yet: the first commit brings the first point.");
    this.legend = series.length > 1 ? element("ul", { class: "legend", "aria-hidden": "true" }, ...series.map(legendItem)) : null;
    this.details = element("details", {}, element("summary", {}, "As a table"));
    this.details.addEventListener("toggle", () => this.drawTable());
    parent.append(this.box, this.empty, ...(this.legend ? [this.legend] : []), this.details);
    this.listen();
    new ResizeObserver(() => this.box.clientWidth !== this.place?.width && this.draw()).observe(this.box);
  }

  // `rows`: [{ x, label, ys: [number or null, …] }] in the order of x.
  show(rows, x) {
    const last = this.at >= this.rows.length - 1;
    this.rows = rows;
    this.x = x;
    this.at = last ? rows.length - 1 : Math.min(this.at, rows.length - 1);
    this.draw();
    this.drawTable();
  }

  listen() {
    this.box.addEventListener("keydown", (event) => {
      const far = Math.max(1, Math.round(this.rows.length / 10));
      const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: -far, PageDown: far, Home: -Infinity, End: Infinity };
      if (!(event.key in steps) || !this.rows.length) return;
      event.preventDefault();
      this.point(Math.min(this.rows.length - 1, Math.max(0, this.at + steps[event.key])));
    });
    this.box.addEventListener("focus", () => this.point(this.at));
    this.box.addEventListener("blur", () => this.unpoint());
    this.svg.addEventListener("pointermove", (event) => this.point(this.nearest(event)));
    this.svg.addEventListener("pointerleave", () => this.unpoint());
  }

  draw() {
    const known = this.rows.flatMap((row) => row.ys.filter((y) => y !== null));
    this.box.hidden = known.length === 0;
    this.details.hidden = known.length === 0;
    if (this.legend) this.legend.hidden = known.length === 0;
    this.empty.hidden = known.length > 0;
    const width = this.box.clientWidth;
    if (!known.length || width < 80) return;
    this.scaleTo(width, known);
    setAttribute(this.svg, "viewBox", `0 0 ${width} ${this.height}`);
    setAttribute(this.svg, "height", this.height);
    this.cross = shape("g", { class: "cross" });
    this.svg.replaceChildren(this.axes(), ...this.series.map((one, n) => this.line(one, n)).toReversed().flat(), this.cross); // the first on top
    this.describe();
  }

  scaleTo(width, known) {
    const [low, high] = widened(this.fromZero ? 0 : Math.min(...known), Math.max(...known));
    const [first, last] = [this.rows[0].x, this.rows.at(-1).x];
    this.ticksY = ticks(low, high, this.height / 40, this.wholeY);
    this.place = {
      x: scale(first, last === first ? first + 1 : last, MARGIN.left, width - MARGIN.right),
      y: scale(low, high, this.height - MARGIN.bottom, MARGIN.top),
      width,
    };
    this.ticksX = this.x.time ? timeTicks(first, last, width / 110) : ticks(first, last, width / 110, this.x.whole);
  }

  axes() {
    const { x, y, width } = this.place;
    const group = shape("g", { class: "axes" });
    for (const tick of this.ticksY) {
      group.append(shape("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }));
      group.append(shape("text", { x: MARGIN.left - 8, y: y(tick) + 4, "text-anchor": "end" }, brief(tick)));
    }
    group.append(shape("text", { x: MARGIN.left - 8, y: this.height - 8, "text-anchor": "end" }, this.x.axis));
    for (const tick of this.ticksX) {
      const anchor = x(tick) > width - 40 ? "end" : x(tick) < MARGIN.left + 20 ? "start" : "middle";
      group.append(shape("text", { x: x(tick), y: this.height - 8, "text-anchor": anchor }, this.x.show(tick)));
    }
    return group;
  }

  line(one, n) {
    const { x, y } = this.place;
    const points = this.rows.filter((row) => row.ys[n] !== null).map((row) => [x(row.x).toFixed(1), y(row.ys[n]).toFixed(1)]);
    if (!points.length) return [];
    const [endX, endY] = points.at(-1);
    const path = one.steps ? points.map(([px, py], i) => (i ? `H${px}V${py}` : `M${px} ${py}`)).join("") : `M${points.map((point) => point.join(" ")).join("L")}`;
    return [shape("path", { class: `line ${one.kind}`, d: path }), shape("circle", { class: `end ${one.kind}`, cx: endX, cy: endY, r: 3.5 })];
  }

  // The cross-hair

  nearest(event) {
    const bounds = this.svg.getBoundingClientRect();
    const at = event.clientX - bounds.left;
    let best = 0;
    this.rows.forEach((row, n) => {
      if (Math.abs(this.place.x(row.x) - at) < Math.abs(this.place.x(this.rows[best].x) - at)) best = n;
    });
    return best;
  }

  point(at) {
    if (at < 0 || !this.place || !this.rows[at]) return;
    this.at = at;
    const row = this.rows[at];
    const { x, y, width } = this.place;
    const marks = row.ys.map((value, n) => (value === null ? null : shape("circle", { class: `end ${this.series[n].kind}`, cx: x(row.x), cy: y(value), r: 4 })));
    const upright = shape("line", { x1: x(row.x), x2: x(row.x), y1: MARGIN.top, y2: this.height - MARGIN.bottom });
    this.cross.replaceChildren(upright, ...marks.filter(Boolean));
    setText(this.note, this.words(row));
    this.note.classList.toggle("left", x(row.x) > width / 2);
    this.describe();
  }

  unpoint() {
    this.cross?.replaceChildren();
    setText(this.note, "");
    this.at = this.rows.length - 1;
  }

  words(row) {
    const values = this.series.map((one, n) => (row.ys[n] === null ? null : `${one.name} ${one.show(row.ys[n])}`));
    return [row.label, ...values.filter(Boolean)].join(" · ");
  }

  describe() {
    const row = this.rows[this.at] ?? this.rows.at(-1);
    setAttribute(this.box, "aria-valuemax", Math.max(0, this.rows.length - 1));
    setAttribute(this.box, "aria-valuenow", Math.max(0, this.at));
    if (row) setAttribute(this.box, "aria-valuetext", this.words(row));
  }

  drawTable() {
    if (!this.details.open) return;
    if (!this.table) {
      const columns = [["", (row) => row.label], ...this.series.map((one, n) => [one.name, (row) => (row.ys[n] === null ? "–" : one.show(row.ys[n])), "number"])];
      this.table = dataTable(this.title, columns, (row) => row.label);
      this.details.append(element("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": `${this.title}, as a table` }, this.table.table));
    }
    this.table.show(this.rows.toReversed());
  }
}

function legendItem({ name, kind }) {
  return element("li", {}, element("i", { class: `key line-key ${kind}` }), name);
}

function scale(low, high, from, to) {
  return (value) => from + ((value - low) / (high - low)) * (to - from);
}

function widened(low, high) {
  const space = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  return [low >= 0 ? Math.max(0, low - space) : low - space, high + space];
}

// About `wanted` round numbers from `low` to `high`.
function ticks(low, high, wanted, whole = false) {
  const rough = Math.max(whole ? 1 : 0, (high - low) / Math.max(1, wanted)) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = (whole ? [1, 2, 5, 10] : [1, 2, 2.5, 5, 10]).map((factor) => factor * power).find((size) => size >= rough) ?? 10 * power;
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high + step * 1e-9; n += 1) found.push(Number((n * step).toPrecision(12)));
  return found;
}

const STEPS = [60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400, 30 * 86400];

function timeTicks(low, high, wanted) {
  const offset = new Date(low * 1000).getTimezoneOffset() * 60;
  const step = STEPS.find((size) => (high - low) / size <= Math.max(1, wanted)) ?? STEPS.at(-1);
  const found = [];
  for (let tick = Math.ceil((low - offset) / step) * step + offset; tick <= high; tick += step) found.push(tick);
  return found;
}
