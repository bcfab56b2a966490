// What was tested and what was released: the gates, what they showed of each commit, and the releases with their verdicts.

import { byId, dataTable, element, keyed, setText } from "./dom.js";
import { count, digest, moment, peer, plural } from "./format.js";

const MOST = 60;

export function quality() {
  const gates = dataTable("Gates", [
    ["Gate", (gate) => gate.name],
    ["Kind", (gate) => gate.kind, "wide"],
    ["Runs on", (gate) => (gate.rounds ? "every commit" : "proposals, releases"), "wide"],
    ["Passed here", (gate) => (gate.run ? `${count(gate.passed)} of ${count(gate.run)}` : "–"), "number"],
    ["Kept out", (gate) => (gate.refused ? count(gate.refused) : "–"), "number"],
    ["Newest result", (gate) => gate.newest || "not run by this node yet", "text"],
  ], (gate) => gate.name);
  byId("gates").append(gates.table);
  const tested = dataTable("What the gates showed, newest commit first", [
    ["Round", (row) => count(row.round)],
    ["Results", results, "text"],
    ["Kept out", keptOut, "text"],
  ], (row) => row.round);
  byId("tested").append(tested.table);
  const releases = dataTable("Releases, newest first", [
    ["Version", (row) => element("strong", {}, row.version)],
    ["Round", (row) => count(row.round), "number"],
    ["Commit", (row) => element("code", { title: row.commit }, digest(row.commit)), "wide"],
    ["When", (row) => moment(row.time), "wide"],
    ["Tests passed", passed, "text"],
    ["Why this version", (row) => row.why, "text"],
    ["Released by", (row) => element("span", {}, ...(row.name ? [row.name, " "] : []), element("code", { title: row.releaser }, peer(row.releaser))), "wide"],
  ], (row) => row.version);
  byId("releases").append(releases.table);
  const verdicts = element("ul", { class: "plain" });
  byId("verdicts").append(verdicts);
  let announced = null;

  function draw(state) {
    drawGates(state);
    drawReleases(state);
  }

  function drawGates(state) {
    const all = state.values.gates ?? [];
    byId("gates-section").hidden = !all.length;
    gates.show(all);
    const rows = [...state.table("tested").values()].sort((a, b) => b.round - a.round).slice(0, MOST);
    byId("tested-details").hidden = !rows.length;
    tested.show(rows);
  }

  function drawReleases(state) {
    const { problem } = state.value("releases");
    const rows = [...state.table("releases")].map(([version, row]) => ({ version, ...row })).sort((a, b) => a.order - b.order);
    byId("releases-section").hidden = !rows.length && !problem;
    byId("releases-problem").hidden = !problem;
    setText(byId("releases-problem"), problem ? `They cannot be shown: ${problem}` : "");
    releases.table.hidden = !rows.length;
    releases.show(rows);
    drawNewest(rows[0]);
    announce(rows[0]);
  }

  function drawNewest(newest) {
    setText(byId("release-words"), newest?.message ?? "");
    byId("release-words").hidden = !newest?.message;
    const said = newest?.verdicts ?? [];
    byId("verdicts").hidden = !said.length;
    setText(byId("verdicts-title"), newest ? `${plural(said.length, "signed verdict")} on ${newest.version}` : "");
    keyed(verdicts, said.map((verdict, n) => ({ ...verdict, n })), (verdict) => verdict.n, () => element("li", {}, element("span"), " ", element("code")), (node, verdict) => {
      setText(node.children[0], verdict.words);
      node.children[0].classList.toggle("bad", !verdict.passed);
      setText(node.children[1], peer(verdict.peer));
    });
  }

  function announce(newest) {
    const version = newest?.version ?? "";
    if (announced !== null && version && version !== announced) setText(byId("release-announcer"), `Version ${version} is released.`);
    announced = version;
  }

  return { needs: ["gates", "tested", "releases"], draw };
}

// What a commit's gates showed, in one or two words: for the table of commits.
export function outcome(tested) {
  const failed = tested?.results.filter((result) => !result.passed) ?? [];
  if (failed.length) return element("span", { class: "bad" }, failed.length === 1 ? `${failed[0].gate} failed` : `${failed.length} failed`);
  return tested?.results.length ? `${tested.results.length} passed` : "–";
}

function results(row) {
  const shown = row.results.map((result) => element("span", { class: result.passed ? "line-of" : "line-of bad" }, result.words));
  return shown.length ? element("span", {}, ...shown) : "not run by this node";
}

function keptOut(row) {
  const all = Object.entries(row.kept_out);
  return all.length ? all.map(([gate, number]) => `${count(number)} by ${gate}`).join(", ") : "–";
}

function passed(row) {
  if (!row.verdicts.length) return "none were run";
  const good = row.verdicts.filter((verdict) => verdict.passed).length;
  return `${count(good)} of ${count(row.verdicts.length)}, run by ${plural(row.peers, "peer")}`;
}
