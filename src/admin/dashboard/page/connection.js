// The connection to the server: samples come by server-sent events.

import { clockTime } from "./text.js";
import { find, setText, setState } from "./dom.js";
import { hasSample, sampleAge } from "./clock.js";

const MAX_SAMPLE_AGE = 4_000; // Milliseconds without a sample after which the server counts as lost; samples come each second.
const RETRY = 2_000;

export let source = null;
let isLive = false;
let retrying = null;
let listeners = {};

export const isConnected = () => isLive;

// Connects, and reconnects when needed. Calls `begin` and `sample` with the data of each event.
export function start(given) {
  listeners = given;
  connect();
  setInterval(() => {
    if (isLive && source && sampleAge() > MAX_SAMPLE_AGE) {
      lost();
      connect();
    }
  }, 1000);
  // A hidden page needs no samples.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") {
      if (!source) connect();
    } else {
      clearTimeout(retrying);
      source?.close();
      source = null;
      isLive = false;
      setState("connection", "waiting", "Paused");
    }
  });
}

function connect() {
  clearTimeout(retrying);
  source?.close();
  source = new EventSource("/events");
  source.addEventListener("begin", (event) => listeners.begin(JSON.parse(event.data)));
  source.addEventListener("sample", (event) => {
    listeners.sample(JSON.parse(event.data));
    live();
  });
  source.addEventListener("error", () => {
    lost();
    // The browser retries by itself only if there was no answer.
    if (source.readyState === EventSource.CLOSED) {
      retrying = setTimeout(connect, RETRY);
      fetch("/healthz").then((answer) => {
        if (answer.ok) lost("The server is up, but too many pages are open: close one, or wait. Trying again…");
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
  setState("connection", "good", "Live");
}

function lost(why) {
  // Shown once, so that screen readers read it out once.
  if (!isLive && !why && !find("lost").hidden) return;
  isLive = false;
  document.body.classList.add("is-lost");
  document.title = "Lost – tollgate";
  const old = !hasSample() ? "" : " The data below are from then.";
  setText("lost", why ?? `Lost the server${!hasSample() ? "" : ` at ${clockTime.format(new Date())}`}.${old} Trying again…`);
  find("lost").hidden = false;
  setState("connection", "bad", "Lost");
}
