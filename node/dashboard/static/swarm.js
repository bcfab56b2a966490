// The swarm as a map: this node in the middle, everybody else on rings around it, where they keep their places. No location is known.

import { byId, dataTable, element, keyed, setAttribute, setText, shape } from "./dom.js";
import { count, peer, plural, rate } from "./format.js";

const RING = 30;
const FIRST = 48;
const SPACE = 27;
const ONE_RING = 20;

export function swarm() {
  const lines = shape("g", { class: "lines" });
  const dots = shape("g", { class: "dots" });
  const map = shape("svg", { role: "img", class: "map" }, lines, dots);
  byId("swarm-map").append(map);
  const places = new Places();
  const details = byId("swarm-details");
  const table = peersTable();
  details.querySelector("div").append(table.table);
  let rows = [];
  details.addEventListener("toggle", () => details.open && table.show(rows));

  function draw(state) {
    rows = [...state.table("peers")].filter(([, row]) => row.here || row.self).map(([id, row]) => ({ id, ...row }));
    byId("swarm-seen").hidden = !rows.length;
    const most = Math.max(1, ...rows.map((row) => row.samples));
    const others = rows.filter((row) => !row.self);
    places.seat(others.map((row) => row.id));
    const radius = places.radius();
    map.classList.toggle("alone", !others.length);
    setAttribute(map, "viewBox", `${-radius} ${-radius} ${2 * radius} ${2 * radius}`);
    keyed(lines, others.filter((row) => row.gossip), (row) => row.id, () => shape("line", { x1: 0, y1: 0 }), (line, row) => {
      const [x, y] = places.of(row.id);
      setAttribute(line, "x2", x);
      setAttribute(line, "y2", y);
    });
    keyed(dots, rows, (row) => row.id, makeDot, (dot, row) => {
      const [x, y] = row.self ? [0, 0] : places.of(row.id);
      setAttribute(dot, "transform", `translate(${x} ${y})`);
      setAttribute(dot, "class", `dot ${kindOf(row)}${row.committee ? " committee" : ""}${row.self ? " self" : ""}`);
      setAttribute(dot.children[1], "r", (4.5 + 6 * Math.sqrt(row.samples / most)).toFixed(1));
      setAttribute(dot.children[0], "r", (8 + 6 * Math.sqrt(row.samples / most)).toFixed(1));
      setText(dot.children[2], `${row.name ? `${row.name} ` : ""}${peer(row.id)}: ${words(row)}`);
    });
    const said = summary(rows, state.value("node").running);
    setText(byId("swarm-words"), said);
    setAttribute(map, "aria-label", said);
    if (details.open) table.show(rows);
  }

  return { needs: ["peers", "node"], draw };
}

class Places {
  constructor() {
    this.seats = new Map();
    this.taken = [];
  }

  // Give everybody a place, the lowest that is free; who has one keeps it.
  seat(ids) {
    const here = new Set(ids);
    for (const [id, seat] of this.seats) {
      if (!here.has(id)) {
        this.seats.delete(id);
        this.taken[seat] = false;
      }
    }
    for (const id of ids.toSorted()) {
      if (this.seats.has(id)) continue;
      let seat = this.taken.indexOf(false);
      if (seat < 0) seat = this.taken.length;
      this.taken[seat] = true;
      this.seats.set(id, seat);
    }
    while (this.taken.length && !this.taken.at(-1)) this.taken.pop();
  }

  of(id) {
    const { far, place, places, ring } = ringOf(this.seats.get(id), this.taken.length);
    const angle = (2 * Math.PI * (place + (ring % 2) / 2)) / places - Math.PI / 2;
    return [(far * Math.cos(angle)).toFixed(1), (far * Math.sin(angle)).toFixed(1)];
  }

  radius() {
    return Math.max(110, ringOf(Math.max(0, this.taken.length - 1), this.taken.length).far + 24);
  }
}

// The ring of a seat. A small swarm has one ring; of a large one, the outermost spreads those who are on it evenly.
function ringOf(seat, seats) {
  if (seats <= ONE_RING) return { far: Math.max(70, (seats * SPACE) / (2 * Math.PI)), ring: 0, place: seat, places: seats };
  let first = 0;
  for (let ring = 0; ; ring += 1) {
    const far = FIRST + ring * RING;
    const room = Math.floor((2 * Math.PI * far) / SPACE);
    if (seat < first + room) return { far, ring, place: seat - first, places: Math.max(1, Math.min(room, seats - first)) };
    first += room;
  }
}

function makeDot() {
  return shape("g", {}, shape("circle", { class: "halo" }), shape("circle", { class: "body" }), shape("title"));
}

function kindOf(row) {
  if (row.done) return "done";
  return row.trains ? "trains" : "quiet";
}

function words(row) {
  const said = [{ done: "has contributed to this round", trains: "training", quiet: "here" }[kindOf(row)]];
  if (row.self) said.unshift("this node");
  if (row.committee) said.push("on the committee");
  if (row.rate) said.push(`${rate(row.rate)} samples/s`);
  return said.join(", ");
}

function summary(rows, running) {
  if (!rows.length) return "Nobody yet.";
  if (!running && !rows.some((row) => row.trains || row.committee)) return `${plural(rows.length, "peer")} on the newest commit's roster.`;
  const by = (test) => rows.filter(test).length;
  const neighbours = by((row) => row.gossip);
  const parts = [
    plural(rows.length, "peer"), `${count(by((row) => kindOf(row) === "trains"))} training`,
    `${count(by((row) => row.done))} done with this round`, `${count(by((row) => row.committee))} on the committee`,
  ];
  return parts.join(", ") + (neighbours ? `. This node talks to ${count(neighbours)} of them directly.` : ".");
}

function peersTable() {
  const columns = [
    ["Peer", (row) => element("code", { title: row.id }, peer(row.id))],
    ["Name", (row) => row.name || "–"],
    ["Does", words],
    ["Version", (row) => row.version || "–"],
  ];
  return dataTable("Who is here", columns, (row) => row.id);
}
