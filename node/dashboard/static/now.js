// What is happening: the headline figures and the phase of the round.

import { byId, element, keyed, setAttribute, setText } from "./dom.js";
import { brief, count, duration, loss, plural, rate, sentence } from "./format.js";

const PHASES = [
  ["training", "Training"],
  ["collecting", "Collecting"],
  ["voting", "Voting"],
  ["final", "Final"],
];

export function now() {
  let announced = null;
  let alarms = 0;
  let ends = null;

  function draw(state) {
    const event = state.value("event");
    drawEvent(event, state.value("totals"));
    drawFigures(state);
    drawPhase(state.value("node"), event, state.value("totals"));
    drawAlarm(state.value("node"));
    drawAnnouncements(event);
    announce(state);
  }

  function drawPhase(node, event, totals) {
    const at = PHASES.findIndex(([phase]) => phase === node.phase);
    const words = doing(node, event, totals, at >= 0);
    byId("phase").hidden = !words;
    byId("phases").hidden = at < 0 || event.over;
    keyed(byId("phases"), PHASES, ([phase]) => phase, ([, words]) => element("li", {}, words), (item, [phase]) => {
      const place = PHASES.findIndex(([other]) => other === phase);
      if (place === at) setAttribute(item, "aria-current", "step");
      else item.removeAttribute("aria-current");
      item.classList.toggle("past", place < at);
    });
    setText(byId("phase-words"), words);
    ends = node.seconds_left === null || node.seconds_left === undefined ? null : Date.now() + 1000 * node.seconds_left;
    tick();
  }

  function drawAlarm(node) {
    const said = [node.waits, node.warning].filter(Boolean).map((text, n) => ({ n, text: `${sentence(text)}.` }));
    keyed(byId("alarm"), said, ({ n }) => n, () => element("li"), (item, { text }) => setText(item, text));
    if (said.length > alarms) setText(byId("announcer"), said.map(({ text }) => text).join(" ")); // not again with each second that it lasts
    alarms = said.length;
  }

  function drawAnnouncements(event) {
    const decided = event.decided && !event.over ? [["Decided", event.decided]] : [];
    const said = [...(event.announcements ?? []).map((text) => ["Announced", text]), ...decided].reverse();
    byId("announcements").hidden = said.length === 0;
    const make = () => element("li", {}, element("span", { class: "muted" }), " ", element("span"));
    keyed(byId("announcements"), said.map((one, n) => [n, ...one]), ([n]) => n, make, (item, [, kind, text]) => {
      setText(item.children[0], kind);
      setText(item.children[1], text);
    });
  }

  function tick() {
    const left = ends === null ? null : (ends - Date.now()) / 1000;
    setText(byId("phase-left"), left === null || left <= 0 ? "" : `at most ${duration(left)} more`);
  }

  function announce(state) {
    const totals = state.value("totals");
    const seen = totals.commit;
    if (announced !== null && seen !== announced && seen) {
      const newest = state.table("rounds").get(String(totals.round));
      setText(byId("announcer"), `Round ${totals.round} is merged, loss ${loss(newest?.loss)}, ${plural(newest?.contributors ?? 0, "contributor")}.`);
    }
    announced = seen ?? null;
  }

  setInterval(tick, 1000);
  return { needs: ["event", "node", "totals", "rounds", "held_out", "peers", "reading"], draw };
}

// What goes on, in words; empty where that cannot be said.
function doing(node, event, totals, inRound) {
  if (event.over) return `The event is over: round ${count(totals.round)} was its last.`;
  if (event.paused) return `${sentence(event.paused)}.`;
  if (!node.running) return "";
  if (!inRound) return sentence((node.message ?? "").replaceAll("_", " "));
  return `Round ${count((node.round ?? 0) + 1)}: ${node.message ?? ""}`;
}

function drawEvent(event, totals) {
  document.title = `${event.name ?? "collab-node"} · round ${totals.round ?? 0}`;
  setText(byId("event-name"), event.name);
  const who = event.invited ? "by invitation" : "open to everyone";
  setText(byId("event-what"), [event.model, `on ${event.data}`, `merged by ${event.merge}`, who].join(" · "));
  setText(byId("description"), event.description);
  byId("description").hidden = !event.description;
  setText(byId("event-id"), event.id);
  setText(byId("state-hash"), totals.state);
}

function drawFigures(state) {
  const lines = state.rounds();
  const totals = state.value("totals");
  const here = [...state.table("peers").values()].filter((row) => row.here);
  const { running, waits } = state.value("node");
  const { over, paused } = state.value("event");
  const rests = over || paused || waits;
  const trainers = here.filter((row) => row.trains);
  // A round has just begun when nobody has told a rate: the last round's is nearer to the truth than none.
  const speed = over ? meanSpeed(lines) : running && (rests || !trainers.length) ? 0 : (running && sum(trainers, "rate")) || lastSpeed(lines);
  const figures = [lossFigure(lines), {
    key: "speed", name: over ? "Mean throughput" : "Throughput", value: rate(speed), unit: "samples/s", note: `${brief(totals.samples)} samples so far`,
  }, {
    key: "here", name: running ? "Here now" : "On the roster", value: count(here.length), unit: here.length === 1 ? "peer" : "peers",
    note: `${running ? `${plural(trainers.length, "trainer")} · ` : ""}${plural(totals.contributors ?? 0, "contributor")} so far`,
  }, roundFigure(state, totals)];
  keyed(byId("figures"), figures, (figure) => figure.key ?? figure.name, makeFigure, fillFigure);
}

function lossFigure(lines) {
  const measured = lines.filter((row) => row.held_out !== null);
  const key = measured.length ? "held_out" : "loss";
  const known = lines.filter((row) => row[key] !== null);
  const last = known.at(-1);
  const fell = known.length > 1 ? known[0][key] - last[key] : null;
  const note = fell === null ? "nats a token" : `${fell >= 0 ? "down" : "up"} ${loss(Math.abs(fell))} since round ${known[0].round}`;
  return { key: "loss", name: measured.length ? "Held-out loss" : "Training loss", value: loss(last?.[key]), unit: last === undefined ? "" : "nats", note };
}

function roundFigure(state, totals) {
  const event = state.value("event");
  const reading = state.value("reading");
  const unit = event.last_round ? `of ${count(event.last_round)}` : "";
  const note = reading.left ? `reading the history: ${count(reading.left)} more` : `${plural(totals.accepted ?? 0, "contribution")} merged, ${count(totals.refused ?? 0)} refused`;
  return { name: "Round", value: count(totals.round), unit, note };
}

function sum(rows, name) {
  return rows.reduce((total, row) => total + (row[name] ?? 0), 0);
}

function lastSpeed(lines) {
  const last = lines.at(-1);
  return last && last.seconds ? last.samples / last.seconds : null;
}

function meanSpeed(lines) {
  const seconds = lines.length ? lines.at(-1).time - lines[0].time : 0;
  return seconds > 0 ? lines.at(-1).total_samples / seconds : null;
}

function makeFigure() {
  return element("div", {}, element("dt"), element("dd", { class: "value" }, element("span"), element("small")), element("dd", { class: "note" }));
}

function fillFigure(node, { name, value, unit, note }) {
  const [label, figure, remark] = node.children;
  setText(label, name);
  setText(figure.children[0], value);
  setText(figure.children[1], unit);
  setText(remark, note);
}
