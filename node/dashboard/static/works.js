// What was refused and why, and how the node that serves this page is doing.

import { byId, element, keyed, setText } from "./dom.js";
import { bytes, count, peer, sentence } from "./format.js";

const PARTS = { p2pd: "Connections", dht: "Directory", sidecar: "Gossip", worker: "Trainer" };
const KINDS = { blob: "Updates and snapshots", gossip: "Announcements", rpc: "Questions and answers", dht: "Directory", other: "Other" };
const NEWEST = 8;

export function works() {
  const bars = element("ul", { class: "bars" });
  const recent = element("ul", { class: "plain" });
  const nothing = element("p", { class: "muted" }, "None so far.");
  byId("refused").append(nothing, bars, recent);
  const facts = element("dl", { class: "facts" });
  byId("works").append(facts);

  function draw(state) {
    drawRefused(state);
    byId("this-node").hidden = !state.value("node").peer;
    const rows = [...health(state), ...traffic(state.value("traffic"))];
    keyed(facts, rows, (row) => row.name, () => element("div", {}, element("dt"), element("dd")), (node, row) => {
      setText(node.children[0], row.name);
      setText(node.children[1], row.value);
      node.classList.toggle("bad", row.bad === true);
    });
  }

  function drawRefused(state) {
    const reasons = Object.entries(state.value("reasons")).sort((a, b) => b[1] - a[1]);
    const most = Math.max(1, ...reasons.map(([, number]) => number));
    nothing.hidden = reasons.length > 0;
    keyed(bars, reasons, ([why]) => why, () => element("li", {}, element("span"), element("meter", { min: "0", "aria-hidden": "true" }), element("span", { class: "number" })), (node, [why, number]) => {
      setText(node.children[0], sentence(why));
      node.children[1].max = most;
      node.children[1].value = number;
      setText(node.children[2], count(number));
    });
    const newest = [...state.table("refusals")].sort((a, b) => b[1].round - a[1].round).slice(0, NEWEST);
    keyed(recent, newest, ([key]) => key, () => element("li", {}, element("span", { class: "muted" }), " ", element("code"), ": ", element("span")), (node, [, row]) => {
      setText(node.children[0], `Round ${count(row.round)}`);
      setText(node.children[1], peer(row.peer));
      setText(node.children[2], row.why);
    });
  }

  return { needs: ["reasons", "refusals", "traffic", "parts", "node", "reading"], draw };
}

function health(state) {
  const node = state.value("node");
  const history = state.value("reading").fails ? [{ name: "History", value: "cannot be read at the moment", bad: true }] : [];
  if (!node.running) return [{ name: "State", value: sentence(node.message ?? ""), bad: true }, ...history];
  const parts = Object.entries(state.value("parts")).map(([part, alive]) => ({
    name: PARTS[part] ?? part, value: alive ? "works" : "down, is started again", bad: !alive,
  }));
  return [
    ...history,
    { name: "Peer id", value: peer(node.peer) },
    { name: "Runs on", value: node.device || "–" },
    ...parts,
    { name: "Peers in gossip", value: count(node.gossip_peers), bad: node.gossip_peers === 0 && node.peers > 0 },
    { name: "Restarts of parts", value: count(node.restarts), bad: node.restarts > 3 },
  ];
}

function traffic({ sent = {}, received = {}, refused = {} }) {
  const kinds = Object.keys(KINDS).filter((kind) => sent[kind] || received[kind]);
  const rows = kinds.map((kind) => ({ name: KINDS[kind], value: `${bytes(sent[kind] ?? 0)} sent, ${bytes(received[kind] ?? 0)} received` }));
  const total = Object.values(refused).reduce((sum, number) => sum + number, 0);
  return total ? [...rows, { name: "Messages refused", value: count(total) }] : rows;
}
