// The charts over the rounds: loss, throughput, contributors.

import { Chart } from "./chart.js";
import { byId, element } from "./dom.js";
import { brief, bytes, count, loss, moment, rate } from "./format.js";

const AGAINST = [
  { id: "round", axis: "round", name: "Rounds", of: (row) => row.round, show: count, whole: true },
  { id: "time", axis: "time", name: "Time", of: (row) => row.time, show: shortMoment, time: true },
  { id: "samples", axis: "samples", name: "Samples", of: (row) => row.total_samples, show: brief },
  { id: "bytes", axis: "sent", name: "Bytes sent", of: (row) => row.total_size, show: bytes },
];

export function charts() {
  let against = AGAINST[0];
  let last = null;
  const losses = new Chart(byId("loss-chart"), {
    title: "Loss", height: 280,
    series: [{ name: "held-out", kind: "first", show: loss }, { name: "training", kind: "second", show: loss }],
  });
  const speed = new Chart(byId("speed-chart"), { title: "Throughput", height: 190, fromZero: true, series: [{ name: "samples a second", kind: "first", show: rate }] });
  const crowd = new Chart(byId("crowd-chart"), { title: "Contributors a round", height: 190, fromZero: true, wholeY: true, series: [{ name: "contributors", kind: "first", show: count, steps: true }] });
  chooser(byId("loss-against"), (chosen) => {
    against = chosen;
    if (last) drawLoss(last);
  });

  function drawLoss(rows) {
    const known = rows.filter((row) => row.loss !== null || row.held_out !== null);
    losses.show(known.map((row) => ({ x: against.of(row), label: `round ${row.round}`, ys: [row.held_out, row.loss] })), against);
  }

  function draw(state) {
    const rows = state.rounds();
    last = rows;
    drawLoss(rows);
    const made = rows.filter((row) => row.contributors > 0 || row.refused > 0);
    const byRound = AGAINST[0];
    speed.show(made.filter((row) => row.round > 1 && row.seconds > 0).map((row) => ({ x: row.round, label: `round ${row.round}`, ys: [row.samples / row.seconds] })), byRound);
    crowd.show(made.map((row) => ({ x: row.round, label: `round ${row.round}`, ys: [row.contributors] })), byRound);
  }

  return { needs: ["rounds", "held_out"], draw };
}

function chooser(parent, onChoice) {
  for (const [n, choice] of AGAINST.entries()) {
    const input = element("input", { type: "radio", name: "against", id: `against-${choice.id}` });
    input.checked = n === 0;
    input.addEventListener("change", () => onChoice(choice));
    parent.append(input, element("label", { for: `against-${choice.id}` }, choice.name));
  }
}

function shortMoment(seconds) {
  const date = new Date(seconds * 1000);
  const midnight = date.getHours() === 0 && date.getMinutes() === 0;
  return midnight ? moment(seconds).split(",")[0] : date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}
