// The plot: two panels with one time axis and a scale each, and the figures above it.

import { clockTime, moment, rateText, tenths, whole } from "./text.js";
import { draw, find, setText } from "./dom.js";

const SPANS = [1, 2, 5]; // The spans of the plot, in minutes: the shortest that holds all points, or the longest.
const MAX_SPAN = 300_000; // The age of the oldest point that is kept, in milliseconds.

const plot = find("plot");
const panels = ["admitted", "denied"].map((name) => ({
  name,
  grid: draw("line", { class: "grid" }),
  base: draw("line", { class: "base" }),
  area: draw("path", { class: `area ${name}` }),
  edge: draw("path", { class: `edge ${name}` }),
  top: draw("text", { "text-anchor": "end" }),
  zero: draw("text", { "text-anchor": "end" }, "0"),
  label: draw("text", { class: `name ${name}` }, name),
}));
const cursor = draw("line", { class: "cursor", visibility: "hidden" });
const times = [0, 1, 2, 3, 4, 5].map((part) => {
  return { part, text: draw("text") };
});
let shown = SPANS[0] * 60_000;
for (const { grid, base, area, edge, top, zero, label } of panels) plot.append(grid, base, area, edge, top, zero, label);
plot.append(cursor, ...times.map(({ text }) => text));

let points = []; // { at, admitted, denied }, with requests counted from the server's start.
let pointed = null; // The time that is read out.

const point = ({ at, admitted, denied }) => ({ at: moment(at), admitted, denied });

// Sets the points from before this page was open.
export function setPoints(past) {
  points = past.map(point);
}

export function addPoint(sample) {
  points.push(point(sample));
  const oldest = points[points.length - 1].at - MAX_SPAN;
  while (points.length > 2 && points[1].at < oldest) points.shift();
  showRates();
  showPlot();
}

// The rates from each point to the next.
function steps() {
  const made = [];
  for (let at = 1; at < points.length; at += 1) {
    const [from, to] = [points[at - 1], points[at]];
    const seconds = (to.at - from.at) / 1000;
    // Counters decrease if a domain is removed from the policy.
    const rate = (of) => (seconds > 0 ? Math.max(0, to[of] - from[of]) / seconds : 0);
    made.push({ from: from.at, to: to.at, admitted: rate("admitted"), denied: rate("denied") });
  }
  return made;
}

function roundUp(number) {
  const power = 10 ** Math.floor(Math.log10(Math.max(number, 1)));
  return [1, 1.5, 2, 3, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= number);
}

function showPlot() {
  const { width, height } = plot.getBoundingClientRect();
  if (width === 0) return;
  plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const [left, right] = [44, width - 1];
  const end = points.length > 0 ? points[points.length - 1].at : 0;
  const old = points.length > 0 ? end - points[0].at : 0;
  shown = (SPANS.find((minutes) => old <= minutes * 60_000) ?? 5) * 60_000;
  const x = (at) => Math.max(left, right - ((end - at) * (right - left)) / shown);
  const all = steps().filter((step) => step.to > end - shown);
  const room = height - 22;
  const heights = [room * 0.55, room * 0.45 - 6];
  let floor = 8;
  panels.forEach(({ name, grid, base, area, edge, top, zero, label }, number) => {
    const ceiling = floor + (number === 0 ? 0 : 18);
    floor = ceiling + heights[number] - 8;
    const most = roundUp(Math.max(1, ...all.map((step) => step[name])));
    const y = (rate) => (floor - (rate / most) * (floor - ceiling)).toFixed(1);
    const line = all.map((step) => `${x(step.from).toFixed(1)},${y(step[name])} ${x(step.to).toFixed(1)},${y(step[name])}`).join(" ");
    edge.setAttribute("d", line ? `M${line}` : "");
    area.setAttribute("d", line ? `M${x(all[0].from).toFixed(1)},${floor} ${line} ${right},${floor}Z` : "");
    for (const [rule, at] of [[grid, ceiling], [base, floor]]) {
      rule.setAttribute("x1", left);
      rule.setAttribute("x2", right);
      rule.setAttribute("y1", at);
      rule.setAttribute("y2", at);
    }
    top.setAttribute("x", left - 6);
    top.setAttribute("y", ceiling + 4);
    zero.setAttribute("x", left - 6);
    zero.setAttribute("y", floor + 4);
    label.setAttribute("x", left + 6);
    label.setAttribute("y", ceiling + 13);
    setText(top, most < 10 && most % 1 ? tenths.format(most) : whole.format(most));
  });
  const parts = shown === MAX_SPAN ? 5 : 4;
  for (const { part, text } of times) {
    const ago = (shown / parts) * part;
    text.setAttribute("text-anchor", part === parts ? "start" : part === 0 ? "end" : "middle");
    text.setAttribute("x", part === 0 ? right : x(end - ago));
    text.setAttribute("y", height - 2);
    text.setAttribute("visibility", part > parts || (width < 480 && part % parts) ? "hidden" : "visible");
    setText(text, part === 0 ? "now" : `−${shown > 60_000 && ago % 60_000 === 0 ? `${ago / 60_000} min` : `${ago / 1000} s`}`);
  }
  showPointed(all, x, floor);
}

function showPointed(all, x, floor) {
  const step = pointed === null ? null : all.find(({ to }) => to >= pointed) ?? all[all.length - 1];
  cursor.setAttribute("visibility", step ? "visible" : "hidden");
  if (!step) {
    setText("plot-at", shown > 60_000 ? `last ${shown / 60_000} minutes` : "last minute");
    return;
  }
  const middle = x((step.from + step.to) / 2);
  cursor.setAttribute("x1", middle);
  cursor.setAttribute("x2", middle);
  cursor.setAttribute("y1", 8);
  cursor.setAttribute("y2", floor);
  setText("plot-at", `${clockTime.format(step.to)}: ${rateText(step.admitted)} admitted/s, ${rateText(step.denied)} denied/s`);
}

plot.addEventListener("pointermove", (event) => {
  if (points.length < 2) return;
  const { left, width } = plot.getBoundingClientRect();
  const end = points[points.length - 1].at;
  pointed = end - ((left + width - 1 - event.clientX) / (width - 45)) * shown;
  showPlot();
});
plot.addEventListener("pointerleave", () => {
  pointed = null;
  showPlot();
});
plot.addEventListener("blur", () => {
  pointed = null;
  showPlot();
});
plot.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || points.length < 2) return;
  event.preventDefault();
  const end = points[points.length - 1].at;
  const oldest = Math.max(points[1].at, end - shown);
  pointed = Math.min(end, Math.max(oldest, (pointed ?? end + (by < 0 ? 1000 : 0)) + by * 1000));
  showPlot();
  setText("plot-live", find("plot-at").textContent);
});
new ResizeObserver(showPlot).observe(plot);

function showRates() {
  const [first, last] = [points[Math.max(0, points.length - 6)], points[points.length - 1]];
  const seconds = (last.at - first.at) / 1000;
  if (!(seconds > 0)) return;
  const [admitted, denied] = ["admitted", "denied"].map((of) => Math.max(0, last[of] - first[of]) / seconds);
  setText("admitted-rate", rateText(admitted));
  setText("denied-rate", rateText(denied));
  const both = admitted + denied;
  setText("denied-share", both > 0 ? `${rateText((100 * denied) / both)}%` : "–");
  plot.setAttribute("aria-label", `Decisions per second; recently ${rateText(admitted)} admitted and ${rateText(denied)} denied`);
}
