// The table of reservations. All rows are in the document, so that the browser's own search and a
// screen reader find them; the style sheet lets the browser skip those that are out of sight, and
// only what changed is written.

import { ago, isCalm, moment, readable, setText, splitPath } from "/dashboard-words.js";

const COLLATOR = new Intl.Collator("en", { numeric: true });

/** What each column is sorted by. What is nothing comes last, however it is sorted. */
const ORDERS = {
  port: ({ port }) => port,
  service: ({ service }) => service,
  project: ({ project }) => project ?? "",
  directory: ({ directory }) => directory,
  agent: ({ agent, task }) => [agent, task].filter(Boolean).join(" "),
  lease: ({ lease, locked }) => `${lease}${locked ? " locked" : ""}`,
  listening: ({ listening }) => (listening === "none" ? "" : listening),
  used: ({ last_used_at }) => -Date.parse(last_used_at),
};

/** How often "3 min ago" is brought up to date. */
const AGEING = 20_000;

export class ReservationTable {
  #table = document.querySelector("#rows");
  #body = this.#table.tBodies[0];
  #blank = document.querySelector("#row").content.firstElementChild;
  #filter = document.querySelector("#filter");
  #shown = document.querySelector("#shown");
  #empty = document.querySelector("#empty");
  /** What is shown of each port: the reservation, its row, what is in it, and what can be searched. */
  #rows = new Map();
  #column = "port";
  #descending = false;
  /** The row that the tab key comes to. */
  #current = null;
  #onOpen;

  constructor({ onOpen }) {
    this.#onOpen = onOpen;
    this.#filter.addEventListener("input", () => this.#arrange());
    this.#body.addEventListener("click", (event) => this.#clicked(event));
    this.#body.addEventListener("keydown", (event) => this.#keyed(event));
    this.#body.addEventListener("focusin", (event) => this.#makeCurrent(event.target.closest("tr")));
    for (const header of this.#headers()) {
      header.firstElementChild.addEventListener("click", () => this.#sortBy(header.dataset.column));
    }
    setInterval(() => this.#age(), AGEING);
    this.#markOrder();
  }

  /** Shows these reservations, and nothing else. `listeners` has the processes and containers. */
  update(reservations, listeners) {
    const isFirst = this.#rows.size === 0;
    const ports = new Set();
    for (const reservation of reservations) {
      ports.add(reservation.port);
      const who = listeners.get(reservation.port) ?? "";
      const known = this.#rows.get(reservation.port);
      const state = JSON.stringify([reservation, who]);
      if (known?.state === state) continue;
      const row = known?.row ?? this.#blank.cloneNode(true);
      fill(row, reservation, who);
      // A use is recorded once a minute, and is no news.
      const isNews = !known || COMPARED.some((name) => known.reservation[name] !== reservation[name]);
      if (isNews && !isFirst && !isCalm()) flash(row);
      this.#rows.set(reservation.port, { reservation, row, state, words: searchable(reservation, who) });
    }
    for (const port of this.#rows.keys()) {
      if (!ports.has(port)) this.#remove(port);
    }
    this.#arrange();
  }

  /** The button of a port's row; null when it has none to be seen. */
  buttonOf(port) {
    const row = this.#rows.get(port)?.row;
    return row?.isConnected && !row.hidden ? row.querySelector("button") : null;
  }

  /** Where the focus goes when what had it is gone. */
  get entrance() {
    return this.#current?.querySelector("button") ?? this.#filter;
  }

  #remove(port) {
    const { row } = this.#rows.get(port);
    if (row === this.#current) {
      const hadFocus = row.contains(document.activeElement);
      this.#makeCurrent(neighbour(row, "nextElementSibling") ?? neighbour(row, "previousElementSibling"));
      if (hadFocus) this.entrance.focus();
    }
    row.remove();
    this.#rows.delete(port);
  }

  /** Puts the rows that the filter lets through in order, and moves only those that stand wrong. */
  #arrange() {
    const wanted = this.#filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const sorted = this.#sorted();
    let visible = 0;
    let next = this.#body.firstElementChild;
    for (const { row, words } of sorted) {
      row.hidden = !wanted.every((word) => words.includes(word));
      if (!row.hidden) visible += 1;
      if (row === next) next = next.nextElementSibling;
      else this.#body.insertBefore(row, next);
    }
    if (this.#current === null || this.#current.hidden) {
      this.#makeCurrent(sorted.find(({ row }) => !row.hidden)?.row ?? null);
    }
    this.#tell(visible, sorted.length);
  }

  #sorted() {
    const order = ORDERS[this.#column];
    const sign = this.#descending ? -1 : 1;
    const rows = [...this.#rows.values()].map((entry) => ({ ...entry, by: order(entry.reservation) }));
    return rows.sort((a, b) => {
      if ((a.by === "") !== (b.by === "")) return a.by === "" ? 1 : -1;
      const difference = typeof a.by === "number" ? a.by - b.by : COLLATOR.compare(a.by, b.by);
      return sign * difference || a.reservation.port - b.reservation.port;
    });
  }

  #tell(visible, all) {
    const [some, total] = [visible, all].map((number) => number.toLocaleString("en"));
    setText(this.#shown, all === 0 ? "" : visible === all ? `all ${total} shown` : `${some} of ${total} shown`);
    this.#table.hidden = all === 0;
    this.#empty.hidden = visible > 0;
    setText(
      this.#empty,
      all > 0 ? "No reservation has all of these words." : "Nothing is reserved. `hythe reserve` reserves a port.",
    );
  }

  #headers() {
    return [...this.#table.tHead.rows[0].cells];
  }

  #sortBy(column) {
    this.#descending = this.#column === column && !this.#descending;
    this.#column = column;
    this.#markOrder();
    this.#arrange();
  }

  #markOrder() {
    for (const header of this.#headers()) {
      if (header.dataset.column !== this.#column) header.removeAttribute("aria-sort");
      else header.setAttribute("aria-sort", this.#descending ? "descending" : "ascending");
    }
  }

  #age() {
    for (const { row, reservation } of this.#rows.values()) {
      setText(row.querySelector("time"), ago(reservation.last_used_at));
    }
  }

  #clicked(event) {
    const row = event.target.closest("tr");
    // Somebody who selects a path with the mouse wants to copy it.
    const selects = !event.target.closest("button") && !getSelection().isCollapsed;
    if (row && !selects) this.#onOpen(Number(row.dataset.port), row.querySelector("button"));
  }

  #keyed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const row = event.target.closest("tr");
    const to = {
      ArrowDown: () => neighbour(row, "nextElementSibling"),
      ArrowUp: () => neighbour(row, "previousElementSibling"),
      Home: () => orNeighbour(this.#body.firstElementChild, "nextElementSibling"),
      End: () => orNeighbour(this.#body.lastElementChild, "previousElementSibling"),
    }[event.key];
    if (!to) return;
    event.preventDefault();
    to()?.querySelector("button").focus();
  }

  /** Makes this the row that the tab key comes to: a stop at each of thousands would be a trap. */
  #makeCurrent(row) {
    if (row === this.#current) return;
    this.#current?.querySelector("button").setAttribute("tabindex", "-1");
    row?.querySelector("button").setAttribute("tabindex", "0");
    this.#current = row;
  }
}

/** A change of one of these is shown for a moment. */
const COMPARED = ["service", "directory", "project", "lease", "locked", "listening", "agent", "created_at"];

function fill(row, reservation, who) {
  const cell = (name) => row.querySelector(`.${name}`);
  const [parent, name] = splitPath(reservation.directory);
  row.dataset.port = reservation.port;
  setText(cell("port").firstElementChild, String(reservation.port));
  setText(cell("service"), reservation.service);
  setText(cell("project"), readable(reservation.project ?? ""));
  setText(cell("parent").firstElementChild, parent);
  setText(cell("name"), name);
  cell("directory").title = readable(reservation.directory);
  setText(cell("agent"), [reservation.agent, reservation.task].filter(Boolean).map(readable).join(" · "));
  setText(cell("length"), reservation.lease);
  cell("locked").hidden = !reservation.locked;
  cell("listening").dataset.listening = reservation.listening;
  setText(cell("state"), reservation.listening);
  setText(cell("who"), readable(who));
  const time = cell("used").firstElementChild;
  time.dateTime = reservation.last_used_at;
  time.title = moment(reservation.last_used_at);
  setText(time, ago(reservation.last_used_at));
}

/** All that a filter can find in a row. */
function searchable({ port, service, project, directory, agent, task, lease, locked, listening }, who) {
  const words = [port, service, project, directory, agent, task, lease, locked && "locked", listening, who];
  return words.filter(Boolean).join(" ").toLowerCase();
}

function flash(row) {
  const color = getComputedStyle(row).getPropertyValue("--flash");
  row.animate([{ backgroundColor: color }, { backgroundColor: "transparent" }], { duration: 1600, easing: "ease-out" });
}

/** The next row in this direction that is not filtered out. */
function neighbour(row, direction) {
  return orNeighbour(row[direction], direction);
}

function orNeighbour(row, direction) {
  let found = row;
  while (found?.hidden) found = found[direction];
  return found;
}
