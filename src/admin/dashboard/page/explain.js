// “Why was this denied?”

import { bar, drawBars, fillBar } from "./bars.js";
import { clockTime, count, moment, whole } from "./text.js";
import { find, isCalm, make } from "./dom.js";

const form = find("form");
const entries = find("entries");
const domainField = find("domain");
let domains = [];

export function showDomains(current) {
  if (JSON.stringify(current) === JSON.stringify(domains)) return;
  const chosen = domainField.value;
  domains = current;
  domainField.replaceChildren(...domains.map(({ domain }) => make("option", { value: domain }, domain)));
  if (domains.some(({ domain }) => domain === chosen)) domainField.value = chosen;
  showKeys();
}

function showKeys() {
  const keys = domains.find(({ domain }) => domain === domainField.value)?.entry_keys ?? [];
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
  // Accepts `tenant=acme method=GET`, as found in logs and on command lines.
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

// Explains a bucket of a list. The server makes a call that the bucket limits; its entries are filled in.
export function explainBucket(of) {
  domainField.value = of.domain;
  showKeys();
  setEntries([["", ""]]);
  find("explain").scrollIntoView({ behavior: isCalm.matches ? "auto" : "smooth" });
  form.querySelector("button.main").focus({ preventScroll: true });
  send("/explain/bucket", of, (result) => {
    if (result.entries.length > 0) setEntries(result.entries);
  });
}

function ask() {
  const pairs = [...entries.children].map((row) => [...row.querySelectorAll("input")].map((input) => input.value));
  const sent = pairs.filter(([key]) => key !== "").map(([key, value]) => ({ key, value }));
  if (sent.length === 0) {
    showAnswer(failure("Enter at least one entry of the descriptor that Envoy sends."));
    entries.querySelector("input").focus();
    return;
  }
  send("/explain", { domain: domainField.value, descriptors: [{ entries: sent }] });
}

let asked = 0;

async function send(path, request, use = () => {}) {
  const number = (asked += 1);
  let parts = failure("The server did not answer.");
  try {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(request) });
    const result = await answer.json();
    // Another question was asked meanwhile.
    if (number !== asked) return;
    if (answer.ok) use(result);
    parts = answer.ok ? explanation(result) : failure(result.error);
  } catch {
    if (number !== asked) return;
  }
  showAnswer(parts);
}

function showAnswer(parts) {
  find("answer").replaceChildren(...parts);
  drawBars();
}

const failure = (text) => [make("p", { class: "verdict", role: "status", "data-state": "bad" }, text)];

const overLimit = (tables) => tables.flatMap((table) => table.buckets.filter((bucket) => bucket.over_limit)
  .map((bucket) => `${table.table} / ${table.row}, ${bucket.bucket}`)).join("; ");

function verdict({ admits, descriptors }) {
  const matched = descriptors.flatMap(({ tables }) => tables).filter((table) => table.buckets);
  if (!admits) return `Would be denied now: ${overLimit(matched.filter((table) => !table.shadow))}.`;
  const shadow = overLimit(matched.filter((table) => table.shadow));
  return shadow ? `Would be admitted now. In shadow, it would be denied: ${shadow}.` : "Would be admitted now.";
}

function explanation(explained) {
  const parts = [make("p", { class: "verdict", role: "status", "data-state": explained.admits ? "good" : "bad" }, verdict(explained))];
  if (explained.assumed?.length > 0) {
    parts.push(make("p", { class: "note" }, `Assumed of the call: ${explained.assumed.join("; ")}.`));
  }
  for (const { entries: sent, endpoint_group, bypass, outcome, tables } of explained.descriptors) {
    const group = endpoint_group === null ? "" : `Endpoint group ${endpoint_group}. `;
    parts.push(make("p", { class: "note" }, `${group}${bypass === null ? "" : `Bypassed, since ${bypass}. `}Matches ${outcome}. State at ${clockTime.format(moment(explained.at))}; the bars show refills since then, but no later calls.`));
    if (explained.unknown_keys.length > 0) {
      parts.push(make("p", { class: "note" }, `The policy does not use ${explained.unknown_keys.join(", ")}.`));
    }
    const unread = sent.filter(({ key, read_as }) => read_as === null && !explained.unknown_keys.includes(key));
    if (unread.length > 0) {
      const told = unread.map(({ key, value }) => `${key}=${value}`).join(", ");
      parts.push(make("p", { class: "note" }, `Not read, since an equal key comes before it: ${told}.`));
    }
    parts.push(...tables.filter((table) => table.buckets).map(matchedTable));
    const missed = tables.filter((table) => table.miss_reason);
    if (missed.length > 0) {
      const lines = missed.map((table) => make("p", { class: "missed" }, make("b", {}, table.table), ` ${table.miss_reason}`));
      const isAll = missed.length === tables.length;
      const isTree = missed.some((table) => table.table === "descriptors");
      const summary = isTree ? "Why no limit applies" : `${count(missed.length, isAll ? "table" : "other table", isAll ? "tables" : "other tables")} without a matching bucket`;
      parts.push(make("details", { open: isAll }, make("summary", {}, summary), ...lines));
    }
  }
  return parts;
}

// Fills in these two placeholders and leaves the others as written in the policy.
function filledIn(message, { bucket, wait_ms }) {
  const after = wait_ms === null ? "{retry_after}" : `${Math.ceil(wait_ms / 1000)}`;
  return message.replaceAll("{bucket}", () => bucket).replaceAll("{retry_after}", after);
}

function matchedTable(table) {
  const title = make("p", {}, make("b", {}, `${table.table} / ${table.row}`), ` ${table.scope} `);
  if (table.shadow) title.append(make("span", { class: "tag" }, "shadow, denies no call"), " ");
  if (table.charge === "always") title.append(make("span", { class: "tag" }, "always charged"), " ");
  if (table.override) title.append(make("span", { class: "tag" }, "by an override"));
  const buckets = table.buckets.map((bucket) => {
    const its = bar();
    const prepaid = bucket.prepaid === undefined ? null : make("small", {}, `${whole.format(bucket.prepaid)} of those left are prepaid here`);
    const item = make("div", { class: "bucket" }, make("span", {}, bucket.bucket, prepaid), its.picture, its.left);
    fillBar(its, item, bucket);
    return item;
  });
  const over = table.shadow ? undefined : table.buckets.find((bucket) => bucket.over_limit);
  const note = table.message && over ? make("p", { class: "note" }, `The client reads: ${filledIn(table.message, over)}`) : null;
  return make("div", { class: "matched" }, title, ...buckets, ...(note ? [note] : []));
}

setEntries([["", ""], ["", ""]]);
