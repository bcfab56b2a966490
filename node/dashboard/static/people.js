// Who gave most, by samples in merged contributions: computed from the signed history, the same on every node.
// Two peers may choose one name, so the end of the peer id stands beside it.

import { byId, dataTable, element, setText } from "./dom.js";
import { brief, bytes, count, peer, plural } from "./format.js";

const SHOWN = 10;

export function people() {
  let all = false;
  let last = [];
  const table = dataTable("Who gave most", [
    ["Rank", (row) => count(row.rank), "rank"],
    ["Contributor", name],
    ["Samples", (row) => brief(row.samples), "number"],
    ["Share", share, "share"],
    ["Merged", (row) => count(row.accepted), "number"],
    ["Checked", (row) => count(row.checked), "number wide"],
    ["Sent", (row) => bytes(row.size), "number wide"],
  ], (row) => row.id);
  const nobody = element("p", { class: "muted" }, "Nobody yet.");
  byId("people").append(table.table, nobody);
  const more = byId("people-more");
  more.addEventListener("click", () => {
    all = !all;
    show();
  });

  function show() {
    table.show(all ? last : last.slice(0, SHOWN));
    table.table.hidden = !last.length;
    nobody.hidden = last.length > 0;
    more.hidden = last.length <= SHOWN;
    setText(more, all ? `Show the first ${SHOWN}` : `Show all ${plural(last.length, "contributor")}`);
    more.setAttribute("aria-expanded", String(all));
  }

  function draw(state) {
    const rows = [...state.table("peers")].map(([id, row]) => ({ id, ...row })).filter((row) => row.accepted > 0 || row.checked > 0);
    rows.sort((a, b) => b.samples - a.samples || b.checked - a.checked || (a.id < b.id ? -1 : 1));
    const total = rows.reduce((sum, row) => sum + row.samples, 0);
    last = rows.map((row, n) => ({ ...row, rank: n + 1, share: row.samples / Math.max(1, total), of: row.samples / Math.max(1, rows[0].samples) }));
    show();
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
