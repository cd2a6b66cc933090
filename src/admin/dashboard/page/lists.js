// The lists: buckets near their limit, keys and rows that are denied most, leases, and shares of Envoys.

import { bar, fillBar } from "./bars.js";
import { draw, find, make, setText } from "./dom.js";
import { moment, plain, rateText, span, whole } from "./text.js";
import { explainBucket } from "./explain.js";
import { drawSpark, range, record, spark } from "./spark.js";
import { serverNow } from "./clock.js";

// Updates a list. Elements are kept by key, so that focus and selection stay. Their order does not change while the
// pointer or the focus is in the list.

function updateList(list, items, keyOf, create, update) {
  const known = list.known ?? (list.known = new Map());
  const gone = new Set(known.keys());
  const isInUse = list.contains(document.activeElement) || list.matches(":hover");
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
    if (!isInUse && element !== next) list.insertBefore(element, next);
    before = element;
  }
  for (const key of gone) {
    known.get(key).remove();
    known.delete(key);
  }
}

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
  const domain = isOnlyDomain ? "" : `${of.domain}: `;
  const text = `${first ? `${first}, ` : ""}${domain}${of.table} / ${of.row}`;
  const line = make("span", { class: "place", title: text }, text);
  if (of.shadow) line.append(" ", make("span", { class: "tag" }, "shadow"));
  return line;
}

// Whether there is only one domain, which then is not shown.
let isOnlyDomain = true;

export function showLists(sample) {
  isOnlyDomain = sample.policy.domains.length < 2;
  showNear(sample.near);
  showTop(sample.top);
  showRows(sample.rows);
  showLeases(sample.leases);
  showShares(sample.shares);
}

function explainButton(of) {
  const ask = make("button", { type: "button", class: "small" }, "Explain");
  ask.setAttribute("aria-label", `Explain ${of.key.map((pair) => pair.map(plain).join(" ")).join(", ") || of.row}`);
  ask.addEventListener("click", () => explainBucket(of));
  return ask;
}

const bucketKey = (of) => JSON.stringify([of.domain, of.table, of.row, of.key, of.bucket]);

function showNear(near) {
  updateList(find("near"), near.items, bucketKey, (of) => {
    const its = bar();
    const where = place(of, of.bucket);
    const prepaid = make("span");
    where.append(prepaid);
    const who = make("div", { class: "who" }, keyLine(of.key), where);
    const item = make("li", {}, who, its.picture, its.left, explainButton(of));
    Object.assign(item, { bar: its, prepaid });
    return item;
  }, (item, of) => {
    fillBar(item.bar, item, of);
    setText(item.prepaid, of.prepaid === undefined ? "" : `, ${whole.format(of.prepaid)} prepaid here`);
  });
  find("near-none").hidden = near.items.length > 0;
  setText("near-note", near.omitted > 0 ? `${near.items.length} of ${whole.format(near.items.length + near.omitted)} seen recently` : "");
}

function showTop({ window_ms, denied, shadow }) {
  for (const [list, { items }] of [["top", denied], ["top-shadow", shadow]]) {
    updateList(find(list), items, bucketKey, (of) => {
      const number = make("span", { class: "left" }, make("b"), make("small"));
      const who = make("div", { class: "who" }, keyLine(of.key), place(of, of.bucket));
      const item = make("li", {}, who, number, explainButton(of));
      item.number = number;
      return item;
    }, (item, of) => {
      setText(item.number.firstChild, whole.format(of.count));
      setText(item.number.lastChild, of.at_most_over > 0 ? `${whole.format(of.count - of.at_most_over)} at least` : "denials");
    });
  }
  find("top-none").hidden = denied.items.length > 0;
  find("top-shadow-part").hidden = shadow.items.length === 0;
  setText("top-note", denied.items.length + shadow.items.length > 0 ? `last ${span(window_ms)}` : "");
}

function showRows(rows) {
  const most = Math.max(1, ...rows.items.map((row) => row.exceeded_in_window));
  const keyOf = (row) => JSON.stringify([row.domain, row.table, row.row]);
  updateList(find("rows"), rows.items, keyOf, (row) => {
    const share = draw("rect", { height: 2, width: 0 });
    const picture = draw("svg", { class: "share", viewBox: "0 0 100 2", preserveAspectRatio: "none", "aria-hidden": true }, share);
    const name = make("span", { class: "key" }, make("bdi", {}, row.row));
    name.title = row.row;
    const where = make("span", { class: "place" }, `${isOnlyDomain ? "" : `${row.domain}: `}${row.table}`);
    if (row.shadow) where.append(" ", make("span", { class: "tag" }, "shadow, denies no call"));
    const [lately, all] = [make("td", { class: "number" }), make("td", { class: "number" })];
    const line = make("tr", {}, make("td", {}, name, where, picture), lately, all);
    line.parts = { lately, all, share };
    return line;
  }, (line, row) => {
    setText(line.parts.lately, whole.format(row.exceeded_in_window));
    setText(line.parts.all, whole.format(row.exceeded));
    line.parts.share.setAttribute("width", ((100 * row.exceeded_in_window) / most).toFixed(1));
  });
  find("rows-table").hidden = rows.items.length === 0;
  find("rows-none").hidden = rows.items.length > 0;
  setText("rows-note", rows.window_ms === null || rows.window_ms < 1000 ? "" : `lately: ${span(rows.window_ms)}`);
}

function showLeases(leases) {
  const { items, omitted } = leases;
  const number = items.length + omitted;
  const keyOf = (of) => of.lease;
  updateList(find("leases"), items, keyOf, (of) => {
    const age = make("span", { class: "left" }, make("b"), make("small"));
    const item = make("li", {}, make("div", { class: "who" }, keyLine(of.key), place(of)), age);
    item.age = age;
    return item;
  }, (item, of) => {
    const now = serverNow();
    setText(item.age.firstChild, `held ${span(now - moment(of.taken_at))}`);
    setText(item.age.lastChild, `${of.slots > 1 ? `${whole.format(of.slots)} slots, ` : ""}${span(moment(of.expires_at) - now)} left`);
  });
  find("leases-none").hidden = number > 0;
  setText("leases-note", number === 0 ? "" : `${items.length > 0 && omitted > 0 ? `oldest ${items.length} of ` : ""}${whole.format(number)}`);
}

// What an Envoy was told, in a few words.
function assigned(assignment) {
  if (assignment === null) return "nothing yet";
  if (assignment === "allow_all") return "all";
  if (assignment === "deny_all") return "none";
  return `${rateText(assignment.token_bucket.per_second)}/s`;
}

// What it is in requests a second; null if it has no number.
function assignedRate(assignment) {
  if (assignment === "deny_all") return 0;
  return assignment?.token_bucket?.per_second ?? null;
}

// How a share has moved, in words.
function movement(its) {
  if (its.steps.every(({ value }) => value === null)) return "no rate";
  const [most, least] = range(its).map((rate) => `${rateText(rate)}/s`);
  return most === least ? `${most} in the last two minutes` : `${least} to ${most} in the last two minutes`;
}

// The shares with a name each. Nothing but a number tells those of streams that have ended apart.
function named(shares) {
  const counts = new Map();
  return shares.map((of) => {
    const name = JSON.stringify([of.stream, of.domain, of.id]);
    const number = counts.get(name) ?? 0;
    counts.set(name, number + 1);
    return { ...of, name: `${name} ${number}` };
  });
}

function showShares({ items, omitted }) {
  const now = serverNow();
  // Shares of the same rows have the same scale.
  const rowsOf = (of) => JSON.stringify([of.domain, of.rows]);
  const most = new Map();
  const sparks = [];
  updateList(find("shares"), named(items), ({ name }) => name, (of) => {
    const number = make("span", { class: "left" }, make("b"), make("small"));
    const rows = of.rows.map((row) => `${row.table}/${row.row}`).join(", ");
    const where = [of.stream === null ? "stream ended" : `stream ${of.stream}`, isOnlyDomain ? "" : of.domain, rows];
    const text = where.filter((part) => part !== "").join(": ");
    const its = spark();
    const item = make("li", {}, make("div", { class: "who" }, keyLine(of.id), make("span", { class: "place", title: text }, text)), its.picture, number);
    Object.assign(item, { number, its });
    return item;
  }, (item, of) => {
    setText(item.number.firstChild, assigned(of.assignment));
    setText(item.number.lastChild, of.demand === null ? "" : `asks for ${rateText(of.demand)}/s`);
    record(item.its, now, assignedRate(of.assignment));
    sparks.push([item.its, rowsOf(of)]);
    most.set(rowsOf(of), Math.max(most.get(rowsOf(of)) ?? 0, range(item.its)[0]));
  });
  for (const [its, rows] of sparks) drawSpark(its, now, most.get(rows), movement(its));
  find("shares-part").hidden = items.length === 0;
  setText("shares-note", omitted > 0 ? `largest ${items.length} of ${whole.format(items.length + omitted)}` : "");
}
