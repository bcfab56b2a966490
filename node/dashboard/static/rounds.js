// The newest commits.

import { dataTable, element } from "./dom.js";
import { folding } from "./folding.js";
import { brief, bytes, count, digest, duration, loss, moment } from "./format.js";
import { outcome } from "./quality.js";

const MOST = 60;

export function rounds() {
  const table = dataTable("Commits, newest first", [
    ["Round", (row) => count(row.round)],
    ["Commit", name],
    ["When", (row) => moment(row.time), "wide"],
    ["Held-out", (row) => loss(row.held_out), "number"],
    ["Training", (row) => loss(row.loss), "number"],
    ["Merged", (row) => (row.round ? count(row.contributors) : "root"), "number"],
    ["Refused", (row) => (row.refused ? count(row.refused) : "–"), "number wide"],
    ["Gates", (row) => outcome(row.tested), "wide gated"],
    ["Samples", (row) => brief(row.samples), "number wide"],
    ["Sent", (row) => bytes(row.size), "number wide"],
    ["Took", (row) => (row.round > 1 ? duration(row.seconds) : "–"), "number wide"],
    ["Method", (row) => (row.full ? `${row.method}, full` : row.method), "wide"],
  ], (row) => row.commit);
  const show = folding("rounds", table, {
    none: "None yet.", less: (shown) => `Show the newest ${shown}`, all: (rows) => `Show the newest ${count(rows)}`,
  });

  function draw(state) {
    const tags = Object.entries(state.value("tags"));
    const tagsOf = (row) => tags.filter(([, commit]) => commit === row.commit).map(([tag]) => tag);
    const tested = state.table("tested");
    const newest = state.rounds().slice(-MOST).toReversed();
    table.table.classList.toggle("ungated", !(state.values.gates ?? []).some((gate) => gate.rounds));
    show(newest.map((row) => ({ ...row, tags: tagsOf(row), tested: tested.get(String(row.round)) })));
  }

  return { needs: ["rounds", "held_out", "tags", "tested", "gates"], draw };
}

function name(row) {
  const tags = row.tags.flatMap((tag) => [" ", element("span", { class: "tag" }, tag)]);
  return element("span", {}, element("code", { title: row.commit }, digest(row.commit)), ...tags);
}
