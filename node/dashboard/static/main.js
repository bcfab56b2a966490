// The page: what changed is drawn once a frame, by whichever part shows it.

import { charts } from "./charts.js";
import { byId, setAttribute, setText } from "./dom.js";
import { fullMoment } from "./format.js";
import { Live } from "./live.js";
import { now } from "./now.js";
import { people } from "./people.js";
import { quality } from "./quality.js";
import { rounds } from "./rounds.js";
import { State } from "./state.js";
import { swarm } from "./swarm.js";
import { works } from "./works.js";

const LINKS = { live: "Live", idle: "The node does not run", lost: "Connection lost, trying again", waiting: "Connecting" };

const state = new State();
const parts = [now(), charts(), swarm(), people(), rounds(), quality(), works()];
const changed = new Set();
let planned = false;

function draw() {
  planned = false;
  const names = new Set(changed);
  changed.clear();
  for (const part of parts) {
    if (part.needs.some((name) => names.has(name))) part.draw(state);
  }
  showLife();
  if (!performance.getEntriesByName("drawn").length) performance.mark("drawn");
}

function take(names) {
  for (const name of names) changed.add(name);
  if (!planned) requestAnimationFrame(draw);
  planned = true;
}

function showLink(kind, words = LINKS[kind]) {
  setAttribute(byId("link"), "data-state", kind);
  setText(byId("link"), words);
}

// While the server answers, the page is as live as the node is.
function showLife() {
  if (["live", "idle"].includes(byId("link").dataset.state)) showLink(state.value("node").running ? "live" : "idle");
}

function onLink(kind) {
  showLink(kind);
  showLife();
}

// The page came with a state; where it came from a node, what it has seen of that node's news as well.
const { taken, seen, ...data } = JSON.parse(byId("snapshot").textContent);
take(state.whole(data));
if (seen) new Live(seen, { onState: (all) => take(state.whole(all)), onDelta: (delta) => take(state.change(delta)), onLink });
else showLink("stored", `As of ${fullMoment(taken)}`);

// For tests, which compare it with the node's.
window.dashboardState = state;
