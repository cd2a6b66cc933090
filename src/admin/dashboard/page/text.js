// Formats of numbers, times and spans.

export const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
export const clockTime = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const dayTime = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

export const rateText = (rate) => (rate < 9.95 && rate > 0 ? tenths : whole).format(rate);
export const count = (number, one, many) => `${whole.format(number)} ${number === 1 ? one : many}`;

export function span(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 9.95) return `${tenths.format(Math.max(0, seconds))} s`;
  if (seconds < 120) return `${whole.format(seconds)} s`;
  const [minutes, hours] = [seconds / 60, seconds / 3600];
  if (minutes < 120) return `${whole.format(minutes)} min`;
  return hours < 48 ? `${whole.format(hours)} h` : `${whole.format(hours / 24)} days`;
}

// The milliseconds since the Unix epoch of a time in the server's format. Date.parse drops fractions of a millisecond.
export function moment(text) {
  const digits = /\.\d{3}(\d+)Z$/.exec(text)?.[1] ?? "0";
  return Date.parse(text) + Number(`0.${digits}`);
}

// Escapes control, format and unassigned characters, which could change how other text looks.
export const plain = (text) => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cn}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
