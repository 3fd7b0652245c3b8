// The picture of the range: a cell for a port, or for a few where they are many. It is one path for
// each state, however many ports there are, and the style sheet colours it.

import { count, element, readable, setText } from "/dashboard-words.js";

/** The states, the most notable first: a cell of several ports shows that one. */
const STATES = ["foreign", "listening", "reserved", "frozen", "excluded", "free"];
const MEANINGS = {
  foreign: "held by others",
  listening: "reserved, and listening",
  reserved: "reserved",
  frozen: "frozen after a release",
  excluded: "never given",
  free: "free",
};

const SVG = "http://www.w3.org/2000/svg";
/** How many ports may stand for one cell: the first of which all rows fit. */
const PORTS_A_CELL = [1, 2, 5, 10, 20, 50, 100, 200, 500];
/** Cells in a row, so that rows begin with round numbers. */
const COLUMNS = [1000, 500, 400, 300, 250, 200, 150, 100, 80, 60, 50, 40, 20, 10];
/** The size of a cell, and the height of the picture, in pixels. */
const SMALLEST = 4;
const LARGEST = 20;
const TALLEST = 200;
/** How much of the width that could be filled has to be. */
const FULL = 0.85;
/** Room for the number at the beginning of a row. */
const MARGIN = 46;
const LABEL_HEIGHT = 16;
/** How many ports of a cell, and how many runs in words, are named. */
const NAMED = 4;
const LONGEST_LIST = 1000;

export class PortMap {
  #picture = document.querySelector("#picture");
  #readout = document.querySelector("#readout");
  #legend = document.querySelector("#legend");
  #inWords = document.querySelector("#in-words");
  #svg = svg("svg", { "aria-hidden": "true" });
  #cursor = svg("rect", { class: "cursor" });
  #first = 0;
  /** The state of each port from the first on, as its place in STATES. */
  #states = new Uint8Array(0);
  #runs = [];
  #grid = null;
  #port = 0;
  #drawn = "";
  #nameOf;

  /** `nameOf(port)` is what a port is called, or null; `onOpen(port, opener)` shows it. */
  constructor({ nameOf, onOpen }) {
    this.#nameOf = nameOf;
    this.#picture.append(this.#svg);
    new ResizeObserver(() => this.#draw()).observe(this.#picture);
    this.#inWords.addEventListener("toggle", () => this.#write());
    this.#picture.addEventListener("keydown", (event) => this.#keyed(event, onOpen));
    this.#picture.addEventListener("focus", () => this.#read(this.#port));
    this.#picture.addEventListener("blur", () => this.#read(null));
    this.#picture.addEventListener("pointermove", (event) => this.#read(this.#portAt(event)));
    this.#picture.addEventListener("pointerleave", () => this.#read(this.#hasFocus ? this.#port : null));
    this.#picture.addEventListener("click", (event) => {
      const port = this.#portAt(event);
      if (port === null) return;
      this.#moveTo(port);
      const named = this.#namesIn(port);
      if (named.length === 1) onOpen(named[0].port, this.#picture);
    });
  }

  /** Shows what /v1/map answered. */
  update({ range, ports }) {
    const [first, last] = bounds(range);
    this.#first = first;
    this.#runs = ports.map((run) => ({ state: run.state, bounds: bounds(run.ports) }));
    this.#states = new Uint8Array(last - first + 1);
    const counts = new Map(STATES.map((state) => [state, 0]));
    for (const { state, bounds: [from, to] } of this.#runs) {
      this.#states.fill(STATES.indexOf(state), from - first, to - first + 1);
      counts.set(state, counts.get(state) + to - from + 1);
    }
    if (this.#port < first || this.#port > last) this.#port = first;
    setText(document.querySelector("#range-text"), `${first}–${last}`);
    this.#picture.setAttribute("aria-valuemin", first);
    this.#picture.setAttribute("aria-valuemax", last);
    this.#explain(counts);
    this.#draw();
    if (this.#readout.textContent.trim() === "") this.#read(null);
    this.#moveTo(this.#port);
    this.#write();
  }

  #explain(counts) {
    const items = [...counts].reverse().map(([state, number]) =>
      element(
        "li",
        { "data-state": state, class: number === 0 ? "none" : null },
        element("span", { class: "swatch", "aria-hidden": "true" }),
        element("b", {}, number.toLocaleString("en")),
        ` ${MEANINGS[state]}`,
      ),
    );
    this.#legend.replaceChildren(...items);
  }

  #draw() {
    const width = this.#picture.clientWidth - MARGIN;
    if (this.#states.length === 0 || width <= 0) return;
    const grid = arrange(this.#states.length, width);
    const key = `${grid.size} ${grid.columns} ${grid.ports} ${this.#first} ${this.#states}`;
    if (key === this.#drawn) return;
    this.#drawn = key;
    this.#grid = grid;
    const { size, columns, rows } = grid;
    this.#svg.setAttribute("width", MARGIN + columns * size);
    this.#svg.setAttribute("height", rows * size);
    this.#cursor.setAttribute("width", size + 1);
    this.#cursor.setAttribute("height", size + 1);
    this.#svg.replaceChildren(...this.#paths(), ...gaps(grid), ...this.#labels(), this.#cursor);
    this.#placeCursor();
  }

  /** One path for each state: a rectangle for each run of cells within a row. */
  #paths() {
    const { size, columns, cells } = this.#grid;
    const drawn = STATES.map(() => []);
    for (let cell = 0; cell < cells; ) {
      const state = this.#stateOf(cell);
      const rowEnd = Math.min(cells, (Math.floor(cell / columns) + 1) * columns);
      let end = cell + 1;
      while (end < rowEnd && this.#stateOf(end) === state) end += 1;
      const [x, y] = this.#cornerOf(cell);
      const wide = (end - cell) * size;
      drawn[state].push(`M${x} ${y}h${wide}v${size}h${-wide}z`);
      cell = end;
    }
    return STATES.map((state, index) => svg("path", { class: state, d: drawn[index].join("") }));
  }

  #labels() {
    const { size, columns, rows, ports } = this.#grid;
    const every = Math.ceil(LABEL_HEIGHT / size);
    const labels = [];
    for (let row = 0; row < rows; row += every) {
      const label = svg("text", { class: "label", x: MARGIN - 8, y: row * size + 9, "text-anchor": "end" });
      label.textContent = String(this.#first + row * columns * ports);
      labels.push(label);
    }
    return labels;
  }

  /** The most notable state of the ports of a cell. */
  #stateOf(cell) {
    const { ports } = this.#grid;
    const all = this.#states.subarray(cell * ports, (cell + 1) * ports);
    return ports === 1 ? all[0] : Math.min(...all);
  }

  #cellOf(port) {
    return Math.floor((port - this.#first) / this.#grid.ports);
  }

  #cornerOf(cell) {
    const { size, columns } = this.#grid;
    return [MARGIN + (cell % columns) * size, Math.floor(cell / columns) * size];
  }

  #portAt(event) {
    if (this.#grid === null) return null;
    const { size, columns, cells, ports } = this.#grid;
    const box = this.#svg.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - MARGIN) / size);
    const cell = Math.floor((event.clientY - box.top) / size) * columns + column;
    const isInside = column >= 0 && column < columns && cell >= 0 && cell < cells;
    return isInside ? this.#first + cell * ports : null;
  }

  #keyed(event, onOpen) {
    if (this.#grid === null || event.altKey || event.ctrlKey || event.metaKey) return;
    const { columns, ports, rows } = this.#grid;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
    const page = columns * Math.max(1, Math.floor(rows / 4));
    if (event.key === "Enter") {
      const [named] = this.#namesIn(this.#port);
      if (named) onOpen(named.port, this.#picture);
    } else if (event.key in step && event.shiftKey) this.#moveTo(this.#otherFrom(Math.sign(step[event.key])));
    else if (event.key in step) this.#moveTo(this.#port + step[event.key] * ports);
    else if (event.key === "PageDown") this.#moveTo(this.#port + page * ports);
    else if (event.key === "PageUp") this.#moveTo(this.#port - page * ports);
    else if (event.key === "Home") this.#moveTo(this.#first);
    else if (event.key === "End") this.#moveTo(Infinity);
    else return;
    event.preventDefault();
  }

  /** The first port of the next run, or of the run before. */
  #otherFrom(direction) {
    const at = this.#runs.findIndex(({ bounds: [from, to] }) => from <= this.#port && this.#port <= to);
    const run = this.#runs[at + direction] ?? this.#runs[at];
    return run.bounds[0];
  }

  #moveTo(port) {
    const last = this.#first + this.#states.length - 1;
    this.#port = Math.min(Math.max(port, this.#first), last);
    this.#picture.setAttribute("aria-valuenow", this.#port);
    this.#picture.setAttribute("aria-valuetext", this.#describe(this.#port));
    this.#placeCursor();
    if (this.#hasFocus) this.#read(this.#port);
  }

  get #hasFocus() {
    return document.activeElement === this.#picture;
  }

  #placeCursor() {
    if (this.#grid === null) return;
    const [x, y] = this.#cornerOf(this.#cellOf(this.#port));
    this.#cursor.setAttribute("x", x - 1);
    this.#cursor.setAttribute("y", y - 1);
  }

  /** Says below the picture what a port is, or how to ask. */
  #read(port) {
    if (this.#grid === null) return;
    const cells = `A cell is ${count(this.#grid.ports, "port")}. Point at one, or go there with the arrow keys.`;
    setText(this.#readout, port === null ? cells : this.#describe(port));
  }

  /** `20015, reserved: web of shop`, or the same of the ports of a cell. */
  #describe(port) {
    const names = this.#namesIn(port).map(({ port: at, name }) => (at === port ? name : `${at} ${name}`));
    const more = names.length > NAMED ? `, and ${names.length - NAMED} more` : "";
    const state = this.#grid === null ? this.#states[port - this.#first] : this.#stateOf(this.#cellOf(port));
    const [first, last] = this.#portsBeside(port);
    const ports = first === last ? String(port) : `${first}–${last}`;
    const who = names.length === 0 ? "" : `: ${names.slice(0, NAMED).join(", ")}${more}`;
    return `${ports}, ${MEANINGS[STATES[state]]}${who}`;
  }

  #portsBeside(port) {
    if (this.#grid === null) return [port, port];
    const first = this.#first + this.#cellOf(port) * this.#grid.ports;
    return [first, Math.min(first + this.#grid.ports, this.#first + this.#states.length) - 1];
  }

  #namesIn(port) {
    const [first, last] = this.#portsBeside(port);
    const found = [];
    for (let at = first; at <= last; at += 1) {
      const name = this.#nameOf(at);
      if (name !== null) found.push({ port: at, name: readable(name) });
    }
    return found;
  }

  /** The same in words, for those who want to read it: only while it is open. */
  #write() {
    if (!this.#inWords.open) return;
    const items = this.#runs.slice(0, LONGEST_LIST).map(({ state, bounds: [from, to] }) => {
      const name = from === to ? this.#nameOf(from) : null;
      const ports = from === to ? String(from) : `${from}–${to}`;
      return element("li", {}, element("b", {}, ports), ` ${MEANINGS[state]}`, name && `: ${readable(name)}`);
    });
    const left = this.#runs.length - items.length;
    if (left > 0) items.push(element("li", {}, `and ${left} more: hythe map`));
    document.querySelector("#runs").replaceChildren(...items);
  }
}

function bounds(text) {
  const [first, last = first] = text.split("-").map(Number);
  return [first, last];
}

/** As few ports to a cell as possible, in rows that fill the width. */
function arrange(all, width) {
  let grids = [];
  for (const ports of PORTS_A_CELL) {
    const cells = Math.ceil(all / ports);
    grids = COLUMNS.map((columns) => {
      const size = Math.max(SMALLEST, Math.min(Math.floor(width / columns), LARGEST));
      return { ports, cells, size, columns, rows: Math.ceil(cells / columns) };
    });
    const fitting = grids.filter(({ columns, rows, size }) => columns * size <= width && rows * size <= TALLEST);
    const widest = Math.max(...fitting.map(({ columns, size }) => columns * size));
    // The fewer cells in a row, the larger they are.
    const best = fitting.findLast(({ columns, size }) => columns * size >= FULL * widest);
    if (best) return best;
  }
  // Narrower than any screen: what does not fit is cut off.
  return grids.at(-1);
}

/** Thin lines between the cells, drawn over all of them at once. */
function gaps({ size, columns, rows }) {
  const lines = svg("pattern", { id: "gaps", width: size, height: size, x: MARGIN, patternUnits: "userSpaceOnUse" });
  lines.append(svg("path", { class: "gap", d: `M${size - 0.5} 0V${size}M0 ${size - 0.5}H${size}` }));
  const over = svg("rect", { x: MARGIN, width: columns * size, height: rows * size, fill: "url(#gaps)" });
  return [lines, over];
}

function svg(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
