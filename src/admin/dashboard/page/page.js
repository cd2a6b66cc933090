// The page draws the samples of `/events`, one each second, and the answers of `/explain`.

import { addPoint, setPoints } from "./page/plot.js";
import { animate, drawBars } from "./page/bars.js";
import { count, dayTime, moment, plain, whole } from "./page/text.js";
import { find, make, setText, setState } from "./page/dom.js";
import { isConnected, start } from "./page/connection.js";
import { synchronize } from "./page/clock.js";
import { showDomains } from "./page/explain.js";
import { showLists } from "./page/lists.js";

function show(sample) {
  synchronize(moment(sample.at));
  addPoint(sample);
  showStates(sample);
  setText("admitted", whole.format(sample.admitted));
  setText("denied", whole.format(sample.denied));
  setText("bypassed", whole.format(sample.unlimited.bypassed));
  setText("unmatched", whole.format(sample.unlimited.unmatched));
  setText("keys", whole.format(sample.store.keys));
  setText("evicted", whole.format(sample.store.evicted));
  setText("connections", whole.format(sample.connections));
  setText("unanswered", whole.format(sample.unanswered));
  setText("loaded", dayTime.format(moment(sample.policy.loaded_at)));
  // Twelve digits suffice to distinguish hashes.
  const { control_plane: controlPlane, version } = sample.policy;
  setText("policy-version", controlPlane ? plain(version) : version.slice(0, 12));
  showSharedStore(sample.store);
  showLists(sample);
  showDomains(sample.policy.domains);
  drawBars();
}

function showSharedStore({ shared, local_decisions: localDecisions, replicas, prepaid }) {
  find("shared-store").hidden = !shared;
  setText("replicas", `${replicas > 0 ? `${count(replicas, "replica", "replicas")}; ` : ""}counts since the start`);
  setText("local-decisions", whole.format(localDecisions));
  for (const event of ["charged", "spent", "given_back", "lost"]) setText(`prepaid-${event}`, whole.format(prepaid[event]));
}

// What happens to calls while the shared store does not answer, by the policy's `on_store_error`.
const WITHOUT_STORE = { allow: "calls pass", deny: "calls are denied", fail: "calls fail", local: "deciding locally" };

const withoutStore = (domains) => [...new Set(domains.map((of) => WITHOUT_STORE[of.on_store_error]))].join(", or ");

function showControlPlane({ server, connected, since_at: sinceAt, error, awaited }, { version, rejected }) {
  find("control-plane").hidden = false;
  const since = dayTime.format(moment(sinceAt));
  const lost = error ? `not connected since ${since}: ${plain(error.error)}` : "not connected yet";
  setState("control-plane-state", connected ? "good" : "bad", `${server}, ${connected ? `connected since ${since}` : lost}`);
  if (awaited) setState("policy-state", "bad", "none yet: calls fail");
  else setState("policy-state", rejected ? "bad" : "good", `version ${plain(version)}${rejected ? "; the latest has problems" : " in force"}`);
}

function showStates({ ready, store, policy }) {
  const { control_plane: controlPlane, rejected } = policy;
  setState("server-state", ready ? "good" : "bad", ready ? "ready" : controlPlane?.awaited ? "waiting for policies" : "stopping: accepts no new calls");
  if (store.evicted > 0) setState("store-state", "bad", "full: live keys are evicted");
  else if (!store.shared) setState("store-state", "good", "in memory");
  else if (store.degraded) setState("store-state", "bad", `shared, unavailable: ${withoutStore(policy.domains)}`);
  else setState("store-state", "good", "shared, connected");
  if (controlPlane) showControlPlane(controlPlane, policy);
  else setState("policy-state", rejected ? "bad" : "good", rejected ? "running previous policy; latest was rejected" : "in force");
  const banner = find("rejected");
  const content = rejected ? JSON.stringify(rejected) : "";
  if (banner.content !== content) {
    banner.content = content;
    banner.hidden = !rejected;
    banner.replaceChildren();
    if (rejected) {
      const at = dayTime.format(moment(rejected.at));
      const told = controlPlane ? `The response of the control plane at ${at} has problems; what is wrong stays as it was.` : `The policy read at ${at} was rejected; the previous one stays in force.`;
      banner.append(told, make("pre", {}, rejected.problems.join("\n")));
    }
  }
}

start({
  begin({ version, points }) {
    setText("version", version);
    setPoints(points);
  },
  sample: show,
});
animate(isConnected);
