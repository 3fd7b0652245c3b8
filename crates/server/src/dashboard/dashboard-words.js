// What people read: elements, names, counts and times. Names and paths are other people's, so they
// only ever become text nodes and attributes, never markup.

/** An element with these attributes and children; strings become text, `null` children nothing. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Sets text only where it differs: what is as it was costs no layout, and no selection is lost. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Control characters, and those that turn the direction of text: in a path they could make it
 * look like another one.
 */
const DECEPTIVE = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** Text of somebody else's, with deceptive characters spelt out. */
export function readable(text) {
  return text.replace(DECEPTIVE, (found) => `\\u{${found.codePointAt(0).toString(16)}}`);
}

/** A path as what is above, which may be cut, and its last component, which may not. */
export function splitPath(path) {
  const cut = path.lastIndexOf("/", path.length - 2) + 1;
  return [readable(path.slice(0, cut)), readable(path.slice(cut))];
}

const COUNTS = new Intl.NumberFormat("en");

/** `1 reservation`, `2,000 reservations`. */
export function count(number, one, many = `${one}s`) {
  return `${COUNTS.format(number)} ${number === 1 ? one : many}`;
}

const STEPS = [
  [60, "s"],
  [60, "min"],
  [24, "h"],
  [Infinity, "d"],
];

/** How long ago something was, in its largest unit: `3 min ago`; what lies ahead is `in 3 min`. */
export function ago(time, now = Date.now()) {
  const seconds = Math.round((now - Date.parse(time)) / 1000);
  let amount = Math.abs(seconds);
  if (amount < 10) return "just now";
  for (const [size, unit] of STEPS) {
    if (amount < size) return seconds < 0 ? `in ${amount} ${unit}` : `${amount} ${unit} ago`;
    amount = Math.floor(amount / size);
  }
  return "";
}

const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

/** A time in full, in the time zone of whoever reads it. */
export function moment(time) {
  return MOMENT.format(Date.parse(time));
}

/** A `time` element: the moment and how long ago it was, or the time of day alone. */
export function timeElement(time, { clock = false } = {}) {
  const text = clock ? CLOCK.format(Date.parse(time)) : `${moment(time)} (${ago(time)})`;
  return element("time", { datetime: time, title: moment(time) }, text);
}

/** Rows of a description list; what is `null` is left out. */
export function facts(pairs) {
  return pairs
    .filter(([, value]) => value !== null)
    .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
}

/** Whether whoever looks has asked for less motion. */
export function isCalm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
