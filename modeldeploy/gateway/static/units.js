/** Numbers for people. */

const BYTES = ["B", "kB", "MB", "GB", "TB"];

export function bytes(count) {
  let at = 0;
  while (count >= 1000 && at < BYTES.length - 1) [count, at] = [count / 1000, at + 1];
  return `${count < 10 && at > 1 ? count.toFixed(1) : Math.round(count)} ${BYTES[at]}`;
}

export function seconds(count) {
  if (count < 0.001) return `${(count * 1e3).toFixed(2)} ms`;
  if (count < 1) return `${(count * 1e3).toPrecision(count < 0.01 ? 2 : 3)} ms`;
  return count < 10 ? `${count.toFixed(1)} s` : span(count);
}

export function span(count) {
  if (count < 60) return `${Math.floor(count)} s`;
  if (count < 3600) return `${Math.floor(count / 60)} min`;
  if (count < 86400) return `${Math.floor(count / 3600)} h ${Math.floor((count % 3600) / 60)} min`;
  return `${Math.floor(count / 86400)} days`;
}

export function number(count) {
  if (count >= 100 || Number.isInteger(count)) return Math.round(count).toLocaleString("en");
  return count.toFixed(count < 10 ? 2 : 1);
}

export const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
