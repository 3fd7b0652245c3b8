// What happens, while it happens: /v1/events/stream. It is read with fetch, because an EventSource
// can send no Authorization header.

import * as api from "/dashboard-api.js";

/** How many events that happened before are shown. */
const BACKLOG = 100;
/** A stream that says nothing for this long, not even that it is alive, is given up. */
const SILENCE = 60_000;
/** How long to wait before connecting again: doubled each time, up to the second. */
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

const impatience = new EventTarget();

/**
 * Follows the events for as long as the page lives, and connects again whenever it must.
 *
 * `onEvents(events, live)` gets them in order; `live` is false for what happened before. `onState`
 * is told `connecting`, `live`, `asleep`, or `waiting` with the problem.
 */
export async function follow({ onEvents, onState }) {
  let latest = null;
  let wait = FIRST_WAIT;
  for (;;) {
    // A browser keeps few connections to one server: tabs that nobody looks at must not use them up.
    if (document.hidden) {
      onState("asleep");
      await pause([document, "visibilitychange"]);
      continue;
    }
    onState("connecting");
    let problem;
    try {
      if (latest === null) {
        const { events } = await api.latestEvents(BACKLOG);
        latest = Math.max(0, ...events.map((event) => event.id));
        onEvents(events, false);
      }
      for await (const message of stream(latest, () => onState("live"))) {
        wait = FIRST_WAIT;
        latest = Number(message.id) || latest;
        onEvents([JSON.parse(message.data)], true);
      }
      problem = new api.Problem({ code: "unreachable", detail: "the server ended the connection" });
    } catch (error) {
      problem = api.Problem.from(error);
    }
    if (document.hidden) continue;
    onState("waiting", problem);
    await pause([window, "online"], [impatience, "reconnect"], wait);
    wait = Math.min(wait * 2, LONGEST_WAIT);
  }
}

/** Does not wait any longer before connecting again. */
export function reconnect() {
  impatience.dispatchEvent(new Event("reconnect"));
}

/** The messages after the event `latest`, until the connection ends or nobody looks any more. */
async function* stream(latest, onOpen) {
  const controller = new AbortController();
  const abortUnseen = () => document.hidden && controller.abort();
  const abortSilent = () =>
    controller.abort(new api.Problem({ code: "unreachable", detail: "the server has become silent" }));
  document.addEventListener("visibilitychange", abortUnseen);
  let silence = setTimeout(abortSilent, SILENCE);
  try {
    const response = await api.request(`/v1/events/stream?after=${latest}`, {
      headers: { Accept: "text/event-stream", "Last-Event-ID": String(latest) },
      signal: controller.signal,
    });
    onOpen();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new Parser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(abortSilent, SILENCE);
      yield* parser.push(value);
    }
  } finally {
    clearTimeout(silence);
    document.removeEventListener("visibilitychange", abortUnseen);
    controller.abort();
  }
}

/**
 * Reads `text/event-stream` as the HTML standard has it: lines that end with CR LF, LF or CR,
 * messages that end with an empty one. Events without data, and comments, are no messages.
 */
export class Parser {
  #rest = "";
  #data = [];
  #id = "";

  /** The messages that are complete with this text. */
  *push(text) {
    this.#rest += text;
    // A CR at the end may be the first half of a CR LF.
    const lines = this.#rest.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line !== "") {
        this.#field(line);
      } else {
        if (this.#data.length > 0) yield { id: this.#id, data: this.#data.join("\n") };
        this.#data = [];
      }
    }
  }

  #field(line) {
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (name === "data") this.#data.push(value);
    else if (name === "id" && !value.includes("\0")) this.#id = value;
  }
}

/** Waits for the first of these events, each a target and a name, or for so many milliseconds. */
function pause(...reasons) {
  return new Promise((resolve) => {
    const over = new AbortController();
    const end = () => {
      over.abort();
      resolve();
    };
    for (const reason of reasons) {
      if (typeof reason === "number") {
        const timer = setTimeout(end, reason);
        over.signal.addEventListener("abort", () => clearTimeout(timer));
      } else {
        const [target, name] = reason;
        target.addEventListener(name, end, { signal: over.signal });
      }
    }
  });
}
