// The server's time, extrapolated between samples.

let serverAt = 0;
let heardAt = null;

// Records that a sample of this time has just arrived.
export function hear(at) {
  serverAt = at;
  heardAt = performance.now();
}

export const hasHeard = () => heardAt !== null;

// The time since the last sample, in milliseconds.
export const silence = () => performance.now() - (heardAt ?? 0);

export const serverNow = () => serverAt + silence();
