// The page draws what `/events` tells each second, and what `/explain` answers.
// Whatever a client or a policy says becomes text by textContent, never markup.
"use strict";

const SPANS = [1, 2, 5]; // What the plot may show, in minutes: the least that holds all there is, or the last.
const SHOWN = 300_000; // How much is kept, in milliseconds.
const SILENCE = 4_000; // Samples come each second; after this long without one the server is lost.
const RETRY = 2_000;
const SVG = "http://www.w3.org/2000/svg";

const find = (id) => document.getElementById(id);
const isCalm = matchMedia("(prefers-reduced-motion: reduce)");

function make(tag, attributes, ...children) {
  const made = document.createElement(tag);
  return fill(made, attributes, children);
}

function draw(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// Text is written only where it changes, so that a reader's selection stays.
function say(at, text) {
  const element = typeof at === "string" ? find(at) : at;
  if (element.textContent !== text) element.textContent = text;
}

function sayState(id, state, text) {
  say(id, text);
  find(id).dataset.state = state;
}

// Numbers.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clockTime = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayTime = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

const rateText = (rate) => (rate < 9.95 && rate > 0 ? tenths : whole).format(rate);
const count = (number, one, many) => `${whole.format(number)} ${number === 1 ? one : many}`;

function span(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 9.95) return `${tenths.format(Math.max(0, seconds))} s`;
  if (seconds < 120) return `${whole.format(seconds)} s`;
  const [minutes, hours] = [seconds / 60, seconds / 3600];
  if (minutes < 120) return `${whole.format(minutes)} min`;
  return hours < 48 ? `${whole.format(hours)} h` : `${whole.format(hours / 24)} days`;
}

// The server's time, which goes on between samples.

let serverAt = 0;
let heardAt = 0;
const serverNow = () => serverAt + (performance.now() - heardAt);

// Bars: how full a bucket is, from how it stood and how fast it fills.

const bars = new Set();

function bar() {
  const level = draw("rect", { class: "level", height: 10, width: 0 });
  const one = draw("rect", { class: "one", height: 10, width: 0.6, x: -1 });
  const picture = draw("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": true }, level, one);
  const number = make("b");
  const more = make("small");
  const left = make("span", { class: "left" }, number, more);
  return { picture, left, level, one, number, more, bucket: null, owner: null };
}

function levelOf(bucket, now) {
  if (bucket.interval_ms === undefined) return bucket.remaining;
  const missing = Math.max(0, bucket.full_at - now) / bucket.interval_ms;
  return Math.min(bucket.size, Math.max(0, bucket.size - missing));
}

function drawBar(of, now) {
  const { bucket } = of;
  if (bucket.size === 0) {
    of.level.setAttribute("width", 0);
    of.owner.classList.toggle("is-over", bucket.is_over === true);
    say(of.number, "none");
    say(of.more, "nothing passes");
    return;
  }
  if (bucket.remaining === undefined) {
    say(of.number, whole.format(bucket.size));
    say(of.more, bucket.interval_ms === undefined ? "slots" : "when full");
    return;
  }
  const level = levelOf(bucket, now);
  // What was just gained is there, whatever the rounding says.
  const left = Math.floor(level + 1e-6);
  const isOver = left < 1;
  of.level.setAttribute("width", ((100 * level) / bucket.size).toFixed(2));
  // Where one call would be admitted, if that can be seen.
  of.one.setAttribute("x", bucket.interval_ms !== undefined && bucket.size <= 50 ? (100 / bucket.size - 0.3).toFixed(2) : -1);
  of.owner.classList.toggle("is-over", isOver);
  say(of.number, `${whole.format(left)} of ${whole.format(bucket.size)}`);
  if (bucket.interval_ms === undefined) {
    say(of.more, isOver ? "no slot free" : "slots free");
  } else if (isOver) {
    say(of.more, `next in ${span((1 - level) * bucket.interval_ms)}`);
  } else {
    say(of.more, level < bucket.size ? `full in ${span(bucket.full_at - now)}` : "full");
  }
}

function drawBars() {
  const now = serverNow();
  for (const one of bars) {
    if (one.owner.isConnected) drawBar(one, now);
    else bars.delete(one);
  }
}

// Without reduced motion, some twenty times a second; with it, at each sample.
let drawnAt = 0;
function animate(time) {
  if (time - drawnAt > 45 && isLive && !isCalm.matches) {
    drawnAt = time;
    drawBars();
  }
  requestAnimationFrame(animate);
}

// Lists keep their elements by key, so that focus and selection stay. Their order stands still while somebody points at
// them or has the focus in them.

function keep(list, items, keyOf, create, update) {
  const known = list.known ?? (list.known = new Map());
  const gone = new Set(known.keys());
  const isHeld = list.contains(document.activeElement) || list.matches(":hover");
  let before = null;
  for (const item of items) {
    const key = keyOf(item);
    let element = known.get(key);
    gone.delete(key);
    if (!element) {
      element = create(item);
      known.set(key, element);
      list.append(element);
    }
    update(element, item);
    const next = before ? before.nextElementSibling : list.firstElementChild;
    if (!isHeld && element !== next) list.insertBefore(element, next);
    before = element;
  }
  for (const key of gone) {
    known.get(key).remove();
    known.delete(key);
  }
}

// What changes how other text looks is written out, as logs have it.
const plain = (text) => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cn}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

function keyLine(key) {
  const line = make("span", { class: "key" });
  if (key.length === 0) line.append(make("span", { class: "name" }, "all calls"));
  key.forEach(([name, value], at) => {
    line.append(make("span", { class: "name" }, `${at > 0 ? ", " : ""}${plain(name)} `), make("bdi", {}, plain(value)));
  });
  line.title = key.map((pair) => pair.map(plain).join("=")).join(", ");
  return line;
}

function place(of, first) {
  const domain = isAlone ? "" : `${of.domain}: `;
  const text = `${first ? `${first}, ` : ""}${domain}${of.table} / ${of.row}`;
  const line = make("span", { class: "place", title: text }, text);
  if (of.is_shadow) line.append(" ", make("span", { class: "tag" }, "shadow"));
  return line;
}

// Whether there is one domain only, which then need not be told everywhere.
let isAlone = true;

function showNear(near) {
  const keyOf = (of) => JSON.stringify([of.domain, of.table, of.row, of.key, of.bucket]);
  keep(find("near"), near.listed, keyOf, (of) => {
    const its = bar();
    const who = make("div", { class: "who" }, keyLine(of.key), place(of, of.bucket));
    const ask = make("button", { type: "button", class: "small" }, "Explain");
    ask.setAttribute("aria-label", `Explain ${of.key.map((pair) => pair.map(plain).join(" ")).join(", ") || of.row}`);
    ask.addEventListener("click", () => explainKey(of));
    const item = make("li", {}, who, its.picture, its.left, ask);
    its.owner = item;
    item.bar = its;
    bars.add(its);
    return item;
  }, (item, of) => {
    item.bar.bucket = of;
  });
  find("near-none").hidden = near.listed.length > 0;
  say("near-note", near.count > near.listed.length ? `${near.listed.length} of ${whole.format(near.count)} seen lately` : "");
}

function showRows(rows) {
  const most = Math.max(1, ...rows.listed.map((row) => row.lately));
  const keyOf = (row) => JSON.stringify([row.domain, row.table, row.row]);
  keep(find("rows"), rows.listed, keyOf, (row) => {
    const share = draw("rect", { height: 2, width: 0 });
    const picture = draw("svg", { class: "share", viewBox: "0 0 100 2", preserveAspectRatio: "none", "aria-hidden": true }, share);
    const name = make("span", { class: "key" }, make("bdi", {}, row.row));
    name.title = row.row;
    const where = make("span", { class: "place" }, `${isAlone ? "" : `${row.domain}: `}${row.table}`);
    if (row.is_shadow) where.append(" ", make("span", { class: "tag" }, "shadow, denies nobody"));
    const [lately, all] = [make("td", { class: "number" }), make("td", { class: "number" })];
    const line = make("tr", {}, make("td", {}, name, where, picture), lately, all);
    line.parts = { lately, all, share };
    return line;
  }, (line, row) => {
    say(line.parts.lately, whole.format(row.lately));
    say(line.parts.all, whole.format(row.over));
    line.parts.share.setAttribute("width", ((100 * row.lately) / most).toFixed(1));
  });
  find("rows-table").hidden = rows.listed.length === 0;
  find("rows-none").hidden = rows.listed.length > 0;
  say("rows-note", rows.lately_ms === null || rows.lately_ms < 1000 ? "" : `lately: ${span(rows.lately_ms)}`);
}

function showLeases(leases) {
  const listed = leases.listed ?? [];
  const keyOf = (of) => of.lease;
  keep(find("leases"), listed, keyOf, (of) => {
    const age = make("span", { class: "left" }, make("b"), make("small"));
    const item = make("li", {}, make("div", { class: "who" }, keyLine(of.key), place(of)), age);
    item.age = age;
    return item;
  }, (item, of) => {
    const now = serverNow();
    say(item.age.firstChild, `held ${span(now - of.since)}`);
    say(item.age.lastChild, `${of.slots > 1 ? `${whole.format(of.slots)} slots, ` : ""}${span(of.expires - now)} left`);
  });
  find("leases-none").hidden = leases.count > 0;
  say("leases-note", leases.count === 0 ? "" : `${listed.length > 0 && leases.count > listed.length ? `oldest ${listed.length} of ` : ""}${whole.format(leases.count)}`);
}

// The plot: two panels over one axis of time, each with a scale of its own.

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

let points = []; // [at, admitted, denied], counted from the server's start.
let pointed = null; // The second that is read out: an index into steps.

// What happened from one point to the next, as rates.
function steps() {
  const made = [];
  for (let at = 1; at < points.length; at += 1) {
    const [from, to] = [points[at - 1], points[at]];
    const seconds = (to[0] - from[0]) / 1000;
    // Counters go back where a domain is taken out of the policy.
    const rate = (of) => (seconds > 0 ? Math.max(0, to[of] - from[of]) / seconds : 0);
    made.push({ from: from[0], to: to[0], admitted: rate(1), denied: rate(2) });
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
  const end = points.length > 0 ? points[points.length - 1][0] : 0;
  const old = points.length > 0 ? end - points[0][0] : 0;
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
    say(top, most < 10 && most % 1 ? tenths.format(most) : whole.format(most));
  });
  const parts = shown === SHOWN ? 5 : 4;
  for (const { part, text } of times) {
    const ago = (shown / parts) * part;
    text.setAttribute("text-anchor", part === parts ? "start" : part === 0 ? "end" : "middle");
    text.setAttribute("x", part === 0 ? right : x(end - ago));
    text.setAttribute("y", height - 2);
    text.setAttribute("visibility", part > parts || (width < 480 && part % parts) ? "hidden" : "visible");
    say(text, part === 0 ? "now" : `−${shown > 60_000 && ago % 60_000 === 0 ? `${ago / 60_000} min` : `${ago / 1000} s`}`);
  }
  showPointed(all, x, floor);
}

function showPointed(all, x, floor) {
  const step = pointed === null ? null : all.find(({ to }) => to >= pointed) ?? all[all.length - 1];
  cursor.setAttribute("visibility", step ? "visible" : "hidden");
  if (!step) {
    say("plot-at", shown > 60_000 ? `last ${shown / 60_000} minutes` : "last minute");
    return;
  }
  const middle = x((step.from + step.to) / 2);
  cursor.setAttribute("x1", middle);
  cursor.setAttribute("x2", middle);
  cursor.setAttribute("y1", 8);
  cursor.setAttribute("y2", floor);
  say("plot-at", `${clockTime.format(step.to)}: ${rateText(step.admitted)} admitted/s, ${rateText(step.denied)} denied/s`);
}

plot.addEventListener("pointermove", (event) => {
  if (points.length < 2) return;
  const { left, width } = plot.getBoundingClientRect();
  const end = points[points.length - 1][0];
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
  const end = points[points.length - 1][0];
  const oldest = Math.max(points[1][0], end - shown);
  pointed = Math.min(end, Math.max(oldest, (pointed ?? end + (by < 0 ? 1000 : 0)) + by * 1000));
  showPlot();
  say("plot-said", find("plot-at").textContent);
});
new ResizeObserver(showPlot).observe(plot);

function showRates() {
  const [first, last] = [points[Math.max(0, points.length - 6)], points[points.length - 1]];
  const seconds = (last[0] - first[0]) / 1000;
  if (!(seconds > 0)) return;
  const [admitted, denied] = [1, 2].map((of) => Math.max(0, last[of] - first[of]) / seconds);
  say("admitted-rate", rateText(admitted));
  say("denied-rate", rateText(denied));
  const both = admitted + denied;
  say("denied-share", both > 0 ? `${rateText((100 * denied) / both)} %` : "–");
  plot.setAttribute("aria-label", `Decisions per second; lately ${rateText(admitted)} admitted and ${rateText(denied)} denied`);
}

// One sample.

function show(sample) {
  serverAt = sample.at;
  heardAt = performance.now();
  points.push([sample.at, sample.admitted, sample.denied]);
  while (points.length > 2 && points[1][0] < sample.at - SHOWN) points.shift();
  isAlone = sample.policy.domains.length < 2;
  live();
  showStates(sample);
  showRates();
  showPlot();
  say("admitted", whole.format(sample.admitted));
  say("denied", whole.format(sample.denied));
  say("bypassed", whole.format(sample.passed_without.bypassed));
  say("unmatched", whole.format(sample.passed_without.unmatched));
  say("keys", whole.format(sample.store.keys));
  say("evicted", whole.format(sample.store.evicted));
  say("connections", whole.format(sample.connections));
  say("loaded", dayTime.format(sample.policy.loaded_at));
  // Enough to tell two apart.
  say("policy-version", sample.policy.version.slice(0, 12));
  find("alone-row").hidden = !sample.store.is_shared;
  say("alone", whole.format(sample.store.decided_alone));
  showNear(sample.near);
  showRows(sample.rows);
  showLeases(sample.leases);
  showDomains(sample.policy.domains);
  drawBars();
}

function showStates({ is_ready, store, policy }) {
  sayState("server-state", is_ready ? "good" : "bad", is_ready ? "ready" : "stopping: takes no new calls");
  if (store.evicted > 0) sayState("store-state", "bad", "full: live keys are evicted");
  else if (!store.is_shared) sayState("store-state", "good", "in memory");
  else if (store.is_degraded) sayState("store-state", "bad", "shared, away: deciding without it");
  else sayState("store-state", "good", "shared, connected");
  const { refused } = policy;
  sayState("policy-state", refused ? "bad" : "good", refused ? "an old one: the last was refused" : "in force");
  const banner = find("refused");
  const told = refused ? JSON.stringify(refused) : "";
  if (banner.told !== told) {
    banner.told = told;
    banner.hidden = !refused;
    banner.replaceChildren();
    if (refused) {
      banner.append(`The policy read at ${dayTime.format(refused.at)} was refused; the one before stays in force.`, make("pre", {}, refused.problems.join("\n")));
    }
  }
}

// The connection.

let source = null;
let isLive = false;
let retrying = null;

function connect() {
  clearTimeout(retrying);
  source?.close();
  source = new EventSource("/events");
  source.addEventListener("begin", (event) => {
    const { version, points: past } = JSON.parse(event.data);
    say("version", version);
    points = past;
  });
  source.addEventListener("sample", (event) => show(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    lost();
    // The browser asks again by itself only where nothing answered.
    if (source.readyState === EventSource.CLOSED) {
      retrying = setTimeout(connect, RETRY);
      fetch("/healthz").then((answer) => {
        if (answer.ok) lost("The server answers, but has no place for one more page: close another, or wait. Trying again…");
      }, () => {});
    }
  });
}

function live() {
  if (isLive) return;
  isLive = true;
  document.body.classList.remove("is-lost");
  document.title = "tollgate";
  find("lost").hidden = true;
  sayState("connection", "good", "Live");
}

function lost(why) {
  // Told once, so that it is read out once.
  if (!isLive && !why && !find("lost").hidden) return;
  isLive = false;
  document.body.classList.add("is-lost");
  document.title = "Lost – tollgate";
  const old = heardAt === 0 ? "" : " What is shown below is from then.";
  say("lost", why ?? `Lost the server${heardAt === 0 ? "" : ` at ${clockTime.format(new Date())}`}.${old} Trying again…`);
  find("lost").hidden = false;
  sayState("connection", "bad", "Lost");
}

setInterval(() => {
  if (isLive && source && performance.now() - heardAt > SILENCE) {
    lost();
    connect();
  }
}, 1000);

// Nobody looks at a page that is hidden.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") {
    if (!source) connect();
  } else {
    clearTimeout(retrying);
    source?.close();
    source = null;
    isLive = false;
    sayState("connection", "waiting", "Paused");
  }
});

// “Why was this denied?”

const form = find("form");
const entries = find("entries");
const domainField = find("domain");
let domains = [];

function showDomains(told) {
  if (JSON.stringify(told) === JSON.stringify(domains)) return;
  const chosen = domainField.value;
  domains = told;
  domainField.replaceChildren(...told.map(({ domain }) => make("option", { value: domain }, domain)));
  if (told.some(({ domain }) => domain === chosen)) domainField.value = chosen;
  showKeys();
}

function showKeys() {
  const keys = domains.find(({ domain }) => domain === domainField.value)?.keys ?? [];
  find("entry-keys").replaceChildren(...keys.map((key) => make("option", { value: key })));
}

function addEntry(key = "", value = "") {
  const name = make("input", { type: "text", list: "entry-keys", "aria-label": "Key", placeholder: "key" });
  const text = make("input", { type: "text", "aria-label": "Value", placeholder: "value" });
  const remove = make("button", { type: "button", class: "icon", title: "Remove this entry", "aria-label": "Remove this entry" }, "✕");
  [name.value, text.value] = [key, value];
  const row = make("div", { class: "entry" }, name, make("span", { class: "equals", "aria-hidden": true }, "="), text, remove);
  remove.addEventListener("click", () => {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    if (!next) addEntry();
    (next ?? entries.firstElementChild).querySelector("input").focus();
  });
  // `tenant=acme method=GET`, as it stands in a log or a command line.
  name.addEventListener("paste", (event) => {
    const pairs = [...event.clipboardData.getData("text").matchAll(/([^\s=]+)=("[^"]*"|\S*)/g)];
    if (pairs.length === 0) return;
    event.preventDefault();
    const added = pairs.map(([, key, value]) => addEntry(key, value.replace(/^"(.*)"$/, "$1")));
    row.replaceWith(...added);
    added[added.length - 1].querySelectorAll("input")[1].focus();
  });
  entries.append(row);
  return row;
}

function setEntries(pairs) {
  entries.replaceChildren();
  pairs.forEach(([key, value]) => addEntry(key, value));
}

find("add").addEventListener("click", () => addEntry().querySelector("input").focus());
find("clear").addEventListener("click", () => {
  setEntries([["", ""]]);
  find("answer").replaceChildren();
  entries.querySelector("input").focus();
});
domainField.addEventListener("change", showKeys);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});

function explainKey(of) {
  domainField.value = of.domain;
  showKeys();
  const picks = of.picked_by && of.row !== "otherwise" && !of.key.some(([name]) => name === of.picked_by) ? [[of.picked_by, of.row]] : [];
  // A list tells the network in place of an address; a call has an address.
  const sent = of.key.map(([name, value]) => [name, name === "remote_address" ? value.split("/")[0] : value]);
  setEntries([...sent, ...picks]);
  if (of.key.length + picks.length === 0) addEntry();
  find("explain").scrollIntoView({ behavior: isCalm.matches ? "auto" : "smooth" });
  form.querySelector("button.main").focus({ preventScroll: true });
  ask();
}

async function ask() {
  const pairs = [...entries.children].map((row) => [...row.querySelectorAll("input")].map((input) => input.value));
  const sent = pairs.filter(([key]) => key !== "").map(([key, value]) => ({ key, value }));
  if (sent.length === 0) {
    showAnswer(refusal("Write an entry first, as it stands in the descriptor that Envoy sends."));
    entries.querySelector("input").focus();
    return;
  }
  const body = JSON.stringify({ domain: domainField.value, descriptors: [{ entries: sent }] });
  try {
    const answer = await fetch("/explain", { method: "POST", headers: { "content-type": "application/json" }, body });
    const told = await answer.json();
    showAnswer(answer.ok ? explanation(told) : refusal(told.error));
  } catch {
    showAnswer(refusal("The server did not answer."));
  }
}

function showAnswer(parts) {
  find("answer").replaceChildren(...parts);
  drawBars();
}

const refusal = (text) => [make("p", { class: "verdict", role: "status", "data-state": "bad" }, text)];

function explanation(told) {
  const denies = told.descriptors.flatMap(({ tables }) => tables)
    .filter((table) => table.buckets && !table.is_shadow)
    .flatMap((table) => table.buckets.filter((bucket) => bucket.is_over).map((bucket) => ({ table, bucket })));
  const verdict = told.admits ? "Admitted, if it were asked now." : `Denied, if it were asked now: ${denies.map(({ table, bucket }) => `${table.table} / ${table.row}, ${bucket.bucket}`).join("; ")}.`;
  const parts = [make("p", { class: "verdict", role: "status", "data-state": told.admits ? "good" : "bad" }, verdict)];
  for (const { endpoint_group, bypass, outcome, tables } of told.descriptors) {
    const group = endpoint_group === null ? "" : `Endpoint group ${endpoint_group}. `;
    parts.push(make("p", { class: "says" }, `${group}${bypass === null ? "" : `Bypassed, since ${bypass}. `}Meets ${outcome}. Looked at ${clockTime.format(told.at)}; what refills since is drawn, later calls are not.`));
    if (told.not_asked_about.length > 0) {
      parts.push(make("p", { class: "says" }, `The policy does not ask about ${told.not_asked_about.join(", ")}.`));
    }
    parts.push(...tables.filter((table) => table.buckets).map(metTable));
    const missed = tables.filter((table) => table.why);
    if (missed.length > 0) {
      const lines = missed.map((table) => make("p", { class: "missed" }, make("b", {}, table.table), ` ${table.why}`));
      parts.push(make("details", { open: missed.length === tables.length }, make("summary", {}, `${count(missed.length, "other table", "other tables")}, and why no bucket there is met`), ...lines));
    }
  }
  return parts;
}

// Other places than these two are left as they are written in the policy.
function filledIn(message, { bucket, wait_ms }) {
  const after = wait_ms === null ? "{retry_after}" : `${Math.ceil(wait_ms / 1000)}`;
  return message.replaceAll("{bucket}", () => bucket).replaceAll("{retry_after}", after);
}

function metTable(table) {
  const title = make("p", {}, make("b", {}, `${table.table} / ${table.row}`), ` ${table.one_for} `);
  if (table.is_shadow) title.append(make("span", { class: "tag" }, "shadow, denies nobody"), " ");
  if (table.is_override) title.append(make("span", { class: "tag" }, "by an override"));
  const buckets = table.buckets.map((bucket) => {
    const its = bar();
    const item = make("div", { class: "bucket" }, make("span", {}, bucket.bucket), its.picture, its.left);
    [its.bucket, its.owner] = [bucket, item];
    bars.add(its);
    return item;
  });
  const over = table.is_shadow ? undefined : table.buckets.find((bucket) => bucket.is_over);
  const says = table.message && over ? make("p", { class: "says" }, `The client reads: ${filledIn(table.message, over)}`) : null;
  return make("div", { class: "met" }, title, ...buckets, ...(says ? [says] : []));
}

setEntries([["", ""], ["", ""]]);
connect();
requestAnimationFrame(animate);
