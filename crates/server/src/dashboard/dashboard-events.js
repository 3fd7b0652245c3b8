// The log of events, latest first.

import { count, element, readable, setText, splitPath, timeElement } from "/dashboard-words.js";

/** How many events are kept on the page. */
const KEPT = 200;
/** More live events than this within the time are not read out one by one. */
const FLOOD = 5;
const FLOOD_TIME = 3_000;

export class EventLog {
  #log = document.querySelector("#log");
  #lines = document.querySelector("#log-lines");
  #state = document.querySelector("#events-state");
  #pause = document.querySelector("#pause");
  #waiting = [];
  /** When the latest live events came, for as long as they count. */
  #recent = [];
  #calmDown = null;

  constructor() {
    this.#pause.addEventListener("click", () => this.#setPaused(!this.#isPaused));
  }

  get #isPaused() {
    return this.#pause.getAttribute("aria-pressed") === "true";
  }

  /** Adds events, oldest first. What happened before, `live` is false, is not read out. */
  add(events, live) {
    if (this.#isPaused) {
      this.#waiting = [...this.#waiting, ...events].slice(-KEPT);
      this.#tell();
      return;
    }
    if (!live) this.#quieten();
    else this.#watchForFlood(events.length);
    this.#lines.prepend(...events.map(line).reverse());
    while (this.#lines.childElementCount > KEPT) this.#lines.lastElementChild.remove();
    this.#tell();
  }

  #setPaused(paused) {
    this.#pause.setAttribute("aria-pressed", String(paused));
    if (paused) {
      this.#tell();
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    this.add(waiting, false);
  }

  #tell() {
    const isEmpty = this.#lines.childElementCount === 0;
    const waiting = this.#waiting.length === 0 ? "paused" : `paused, ${count(this.#waiting.length, "event")} waiting`;
    setText(this.#state, this.#isPaused ? waiting : isEmpty ? "none yet" : "");
  }

  #watchForFlood(number) {
    const now = performance.now();
    this.#recent = this.#recent.filter((at) => now - at < FLOOD_TIME);
    for (let event = 0; event < number; event += 1) this.#recent.push(now);
    if (this.#recent.length > FLOOD) this.#quieten();
  }

  /** Lets nothing be read out until it has been calm for a while. */
  #quieten() {
    this.#log.setAttribute("aria-live", "off");
    clearTimeout(this.#calmDown);
    this.#calmDown = setTimeout(() => this.#log.setAttribute("aria-live", "polite"), FLOOD_TIME);
  }
}

function line({ id, at, event, port, from, service, project, directory, agent, policy, reason }) {
  const [, name] = splitPath(directory);
  const whose = [service, project].filter(Boolean).map(readable).join(" · ");
  const why = [policy, reason].filter(Boolean).map(readable).join(": ");
  return element(
    "li",
    { "data-id": id },
    element("b", { class: "kind", "data-kind": event }, event),
    element("span", { class: "port" }, from === null ? String(port) : `${from} → ${port}`),
    timeElement(at, { clock: true }),
    element(
      "span",
      { class: "whose" },
      whose,
      " in ",
      element("span", { class: "path", title: readable(directory) }, name),
      agent && ` by ${readable(agent)}`,
    ),
    why === "" ? null : element("span", { class: "reason" }, why),
  );
}
