// Sparks: how a number has moved in the last minutes, as steps from one value to the next.

import { draw, setText } from "./dom.js";

const SPAN = 120_000; // The time that a spark covers, in milliseconds.
const [WIDTH, HEIGHT] = [120, 20];

// An empty spark.
export function spark() {
  const title = draw("title");
  const base = draw("path", { class: "base", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` });
  const area = draw("path", { class: "area" });
  const edge = draw("path", { class: "edge" });
  const picture = draw("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, title, base, area, edge);
  return { picture, title, area, edge, steps: [] };
}

// Records the value at a time; null if there is none.
export function record({ steps }, at, value) {
  if (steps.at(-1)?.value !== value) steps.push({ at, value });
  while (steps.length > 1 && steps[1].at <= at - SPAN) steps.shift();
}

// The largest value that a spark shows, and the smallest.
export function range({ steps }) {
  const values = steps.map(({ value }) => value).filter((value) => value !== null);
  return [Math.max(0, ...values), Math.min(...values)];
}

// Draws a spark at the time `now`, where `most` is as high as it gets, with its content in words.
export function drawSpark({ title, area, edge, steps }, now, most, words) {
  setText(title, words);
  const x = (at) => Math.max(0, WIDTH * (1 - (now - at) / SPAN)).toFixed(1);
  const y = (value) => (HEIGHT - 1 - (most > 0 ? value / most : 0) * (HEIGHT - 2)).toFixed(1);
  const lines = [];
  steps.forEach(({ at, value }, number) => {
    if (value === null) return;
    const isNew = number === 0 || steps[number - 1].value === null;
    const end = number + 1 < steps.length ? x(steps[number + 1].at) : WIDTH;
    if (isNew) lines.push({ from: x(at), path: `${x(at)} ${y(value)}` });
    const line = lines.at(-1);
    line.path += `${isNew ? "" : `V${y(value)}`}H${end}`;
    line.to = end;
  });
  edge.setAttribute("d", lines.map(({ path }) => `M${path}`).join(""));
  area.setAttribute("d", lines.map(({ from, path, to }) => `M${from} ${HEIGHT}L${path}L${to} ${HEIGHT}Z`).join(""));
}
