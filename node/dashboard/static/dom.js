// Making and changing elements. Everything shown may come from the network, so text is only ever set as text, and cut.

const LONGEST = 300;
const SVG = "http://www.w3.org/2000/svg";

export function byId(id) {
  return document.getElementById(id);
}

export function clipped(value) {
  const text = String(value ?? "");
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text;
}

export function setText(node, value) {
  const text = clipped(value);
  if (node.textContent !== text) node.textContent = text;
  return node;
}

export function setAttribute(node, name, value) {
  const text = clipped(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
  return node;
}

export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function shape(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  for (const child of children) node.append(typeof child === "object" ? child : clipped(child));
  return node;
}

// Make the children of `parent` those of `rows`, in this order: kept by key, made by `make(row)`, brought up to date by `update`.
export function keyed(parent, rows, keyOf, make, update) {
  const kept = parent.keyedChildren ?? (parent.keyedChildren = new Map());
  const wanted = new Map(rows.map((row) => [keyOf(row), row]));
  for (const [key, node] of kept) {
    if (!wanted.has(key)) {
      node.remove();
      kept.delete(key);
    }
  }
  let at = parent.firstElementChild;
  for (const [key, row] of wanted) {
    let node = kept.get(key);
    if (node === undefined) kept.set(key, (node = make(row)));
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
    update(node, row);
  }
}

// A table whose columns are [heading, text(row), class]; rows are kept by key.
export function dataTable(caption, columns, keyOf) {
  const body = element("tbody");
  const heads = columns.map(([heading, , kind]) => element("th", { scope: "col", class: kind ?? "" }, heading));
  const table = element("table", {}, element("caption", { class: "unseen" }, caption));
  table.append(element("thead", {}, element("tr", {}, ...heads)), body);
  const make = () => element("tr", {}, ...columns.map(([, , kind], n) => element(n ? "td" : "th", n ? { class: kind ?? "" } : { class: kind ?? "", scope: "row" })));
  const update = (node, row) => columns.forEach(([, show], n) => fillCell(node.children[n], show(row)));
  return { table, show: (rows) => keyed(body, rows, keyOf, make, update) };
}

function fillCell(cell, value) {
  if (typeof value !== "object" || value === null) setText(cell, value);
  else if (cell.firstElementChild?.outerHTML !== value.outerHTML) cell.replaceChildren(value);
}
