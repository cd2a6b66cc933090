// The server's time, which goes on between samples.

let serverAt = 0;
let heardAt = null;

// A sample of this time has just come.
export function hear(at) {
  serverAt = at;
  heardAt = performance.now();
}

export const hasHeard = () => heardAt !== null;

// How long ago that was, in milliseconds.
export const silence = () => performance.now() - (heardAt ?? 0);

export const serverNow = () => serverAt + silence();
