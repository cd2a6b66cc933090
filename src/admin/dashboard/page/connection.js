// The connection to the server: samples come by server-sent events.

import { clockTime } from "./text.js";
import { find, say, sayState } from "./dom.js";
import { hasHeard, silence } from "./clock.js";

const SILENCE = 4_000; // Samples come each second; after this long without one the server is lost, in milliseconds.
const RETRY = 2_000;

export let source = null;
let isLive = false;
let retrying = null;
let listeners = {};

export const isConnected = () => isLive;

// Connects, and again whenever that is needed. `begin` and `sample` are given the data of each event.
export function start(given) {
  listeners = given;
  connect();
  setInterval(() => {
    if (isLive && source && silence() > SILENCE) {
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
  const old = !hasHeard() ? "" : " What is shown below is from then.";
  say("lost", why ?? `Lost the server${!hasHeard() ? "" : ` at ${clockTime.format(new Date())}`}.${old} Trying again…`);
  find("lost").hidden = false;
  sayState("connection", "bad", "Lost");
}
