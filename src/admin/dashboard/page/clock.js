// The server's time, extrapolated between samples.

let serverAt = 0;
let receivedAt = null;

// Records that a sample of this time has just arrived.
export function synchronize(at) {
  serverAt = at;
  receivedAt = performance.now();
}

export const hasSample = () => receivedAt !== null;

// The time since the last sample, in milliseconds.
export const sampleAge = () => performance.now() - (receivedAt ?? 0);

export const serverNow = () => serverAt + sampleAge();
