// Bars: the level of a bucket, computed from its last known state and its refill rate.

import { draw, isCalm, make, setText } from "./dom.js";
import { moment, span, whole } from "./text.js";
import { serverNow } from "./clock.js";

const bars = new Set();

// An empty bar for an element of the page. It is drawn while the element is in the page.
export function bar() {
  const level = draw("rect", { class: "level", height: 10, width: 0 });
  const one = draw("rect", { class: "one", height: 10, width: 0.6, x: -1 });
  const picture = draw("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": true }, level, one);
  const number = make("b");
  const more = make("small");
  const left = make("span", { class: "left" }, number, more);
  return { picture, left, level, one, number, more, bucket: null, fullAt: 0, owner: null };
}

// Shows a bucket in a bar within `owner`.
export function fillBar(its, owner, bucket) {
  Object.assign(its, { owner, bucket, fullAt: bucket.full_at ? moment(bucket.full_at) : 0 });
  bars.add(its);
}

// What a bucket is: tokens, slots or a window.
const hasTokens = (bucket) => bucket.interval_ms !== undefined;
const hasSlots = (bucket) => bucket.ttl_ms !== undefined;

function levelOf({ bucket, fullAt }, now) {
  if (hasSlots(bucket)) return bucket.remaining;
  // A window is full when the next one begins.
  if (!hasTokens(bucket)) return now < fullAt ? bucket.remaining : bucket.size;
  const missing = Math.max(0, fullAt - now) / bucket.interval_ms;
  return Math.min(bucket.size, Math.max(0, bucket.size - missing));
}

function drawBar(of, now) {
  const { bucket } = of;
  if (bucket.size === 0) {
    of.level.setAttribute("width", 0);
    of.owner.classList.toggle("is-over", bucket.over_limit === true);
    setText(of.number, "none");
    setText(of.more, "nothing passes");
    return;
  }
  if (bucket.remaining === undefined) {
    setText(of.number, whole.format(bucket.size));
    setText(of.more, hasSlots(bucket) ? "slots" : "when full");
    return;
  }
  const level = levelOf(of, now);
  // Adds a tolerance, so that a token that has just been gained is not lost to rounding.
  const left = Math.floor(level + 1e-6);
  const isOver = left < 1;
  of.level.setAttribute("width", ((100 * level) / bucket.size).toFixed(2));
  // A mark at the level of one call, if it is wide enough to be seen.
  of.one.setAttribute("x", hasTokens(bucket) && bucket.size <= 50 ? (100 / bucket.size - 0.3).toFixed(2) : -1);
  of.owner.classList.toggle("is-over", isOver);
  setText(of.number, `${whole.format(left)} of ${whole.format(bucket.size)}`);
  if (hasSlots(bucket)) {
    setText(of.more, isOver ? "no slot free" : "slots free");
  } else if (isOver && hasTokens(bucket)) {
    setText(of.more, `next in ${span((1 - level) * bucket.interval_ms)}`);
  } else {
    setText(of.more, level < bucket.size ? `full in ${span(of.fullAt - now)}` : "full");
  }
}

export function drawBars() {
  const now = serverNow();
  for (const one of bars) {
    if (one.owner.isConnected) drawBar(one, now);
    else bars.delete(one);
  }
}

// About twenty times a second; with reduced motion, at each sample only.
export let drawnAt = 0;

export function animate(isLive) {
  requestAnimationFrame(function step(time) {
    if (time - drawnAt > 45 && isLive() && !isCalm.matches) {
      drawnAt = time;
      drawBars();
    }
    requestAnimationFrame(step);
  });
}
