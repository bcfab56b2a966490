// Who gave most, by samples in merged contributions: computed from the signed history, the same on every node.
// Two peers may choose one name, so the end of the peer id stands beside it.

import { dataTable, element } from "./dom.js";
import { folding } from "./folding.js";
import { brief, bytes, count, peer, plural } from "./format.js";

export function people() {
  const table = dataTable("Who gave most", [
    ["Rank", (row) => count(row.rank), "rank"],
    ["Contributor", name],
    ["Samples", (row) => brief(row.samples), "number"],
    ["Share", share, "share"],
    ["Merged", (row) => count(row.accepted), "number"],
    ["Checked", (row) => count(row.checked), "number wide"],
    ["Gates", (row) => count(row.gates), "number wide"],
    ["Sent", (row) => bytes(row.size), "number wide"],
    ["Served", (row) => bytes(row.served), "number wide"],
  ], (row) => row.id);
  const show = folding("people", table, {
    none: "Nobody yet.", less: (shown) => `Show the first ${shown}`, all: (rows) => `Show all ${plural(rows, "contributor")}`,
  });

  function draw(state) {
    const given = (row) => row.accepted > 0 || row.checked > 0 || row.gates > 0 || row.served > 0;
    const rows = [...state.table("peers")].map(([id, row]) => ({ id, ...row })).filter(given);
    rows.sort((a, b) => b.samples - a.samples || b.checked - a.checked || b.gates - a.gates || b.served - a.served || (a.id < b.id ? -1 : 1));
    const total = rows.reduce((sum, row) => sum + row.samples, 0);
    show(rows.map((row, n) => ({ ...row, rank: n + 1, share: row.samples / Math.max(1, total), of: row.samples / Math.max(1, rows[0].samples) })));
  }

  return { needs: ["peers"], draw };
}

function name(row) {
  const shown = element("span", { class: "who" }, ...(row.name ? [row.name, " "] : []), element("code", { title: row.id }, peer(row.id)));
  if (row.self) shown.append(" ", element("span", { class: "tag" }, "this node"));
  return shown;
}

function share(row) {
  const percent = `${(100 * row.share).toFixed(row.share < 0.1 ? 1 : 0)} %`;
  const meter = element("meter", { min: "0", max: "1", value: row.of.toFixed(3), "aria-hidden": "true" });
  return element("span", { class: "bar" }, meter, element("span", {}, percent));
}
