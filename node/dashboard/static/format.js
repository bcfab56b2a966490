// Numbers as people read them; the same forms as the command line's.

// Made once: making one takes longer than drawing a row.
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const three = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const four = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const minute = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const year = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const DASH = "–";

export function count(value) {
  return value === null || value === undefined ? DASH : whole.format(value);
}

export function brief(value) {
  if (value === null || value === undefined) return DASH;
  return Math.abs(value) < 10000 ? four.format(value) : short.format(value);
}

export function rate(value) {
  if (value === null || value === undefined) return DASH;
  return value >= 100 ? brief(Math.round(value)) : three.format(value);
}

export function bytes(value) {
  if (value === null || value === undefined) return DASH;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit ? value.toFixed(1) : whole.format(value)} ${units[unit]}`;
}

export function loss(value) {
  return value === null || value === undefined ? DASH : value.toFixed(3);
}

export function duration(seconds) {
  const all = Math.max(0, Math.round(seconds));
  const two = (value) => String(value).padStart(2, "0");
  if (all < 60) return `${all} s`;
  if (all < 3600) return `${Math.floor(all / 60)} min ${two(all % 60)} s`;
  if (all < 86400) return `${Math.floor(all / 3600)} h ${two(Math.floor((all % 3600) / 60))} min`;
  return `${Math.floor(all / 86400)} d ${Math.floor((all % 86400) / 3600)} h`;
}

export function moment(seconds) {
  return minute.format(seconds * 1000);
}

export function fullMoment(seconds) {
  return year.format(seconds * 1000);
}

// All peer ids begin alike; their ends tell them apart.
export function peer(id) {
  return String(id ?? "").slice(-8);
}

export function digest(hex) {
  return String(hex ?? "").slice(0, 12);
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function sentence(words) {
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}
