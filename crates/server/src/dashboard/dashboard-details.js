// One reservation: its facts, who listens on its port, why it has this port, and what happened to it.

import * as api from "/dashboard-api.js";
import { release, setLock } from "/dashboard-actions.js";
import { complain, open, problemText, say, settle } from "/dashboard-dialogs.js";
import { element, facts, readable, setText, timeElement } from "/dashboard-words.js";

const LISTENING = {
  none: "nobody",
  mine: "its own server",
  foreign: "somebody else",
  unknown: "somebody of whom nothing is proven",
};

export class Details {
  #dialog = document.querySelector("#details");
  #lock = document.querySelector("#details-lock");
  #release = document.querySelector("#details-release");
  #visit = document.querySelector("#details-visit");
  #gone = document.querySelector("#details-gone");
  #why = document.querySelector("#why");
  #port = null;
  #reservation = null;
  #onChange;
  #entrance;

  /** `onChange` is called when something was changed; `entrance(port)` is what gets the focus afterwards. */
  constructor({ onChange, entrance }) {
    this.#onChange = onChange;
    this.#entrance = entrance;
    document.querySelector("#details-close").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    this.#lock.addEventListener("click", () => this.#toggleLock());
    this.#release.addEventListener("click", () => this.#releaseIt());
  }

  /** Opens the panel for a port. */
  async open(port, opener) {
    this.#port = port;
    this.#empty();
    const closed = open(this.#dialog, { opener, otherwise: () => this.#entrance(port) });
    document.querySelector("#details-body").scrollTop = 0;
    this.#explain(port);
    await this.refresh();
    await closed;
    this.#port = null;
  }

  /** Reads again what may have changed, if this port is shown, or any is and none is named. */
  async refresh(port = this.#port) {
    if (port === null || port !== this.#port) return;
    try {
      const shown = await api.show(port);
      if (port !== this.#port) return;
      settle("details");
      this.#show(shown);
    } catch (thrown) {
      const problem = api.Problem.from(thrown);
      if (port !== this.#port) return;
      if (problem.code === "not-found") this.end(port);
      else complain("details", problem);
    }
  }

  #empty() {
    this.#reservation = null;
    setText(document.querySelector("#details-title"), `Port ${this.#port}`);
    for (const id of ["#facts", "#who", "#why", "#history"]) {
      document.querySelector(id).replaceChildren(element("p", { class: "quiet" }, "Reading…"));
    }
    this.#dialog.querySelector(".notices").replaceChildren();
    setText(this.#gone, "");
    this.#lock.disabled = this.#release.disabled = true;
    this.#visit.hidden = true;
  }

  /** Says that a port is not reserved any more, if it is the one that is shown. */
  end(port) {
    if (port !== this.#port) return;
    this.#reservation = null;
    setText(this.#gone, `Port ${port} is not reserved any more.`);
    this.#lock.disabled = this.#release.disabled = true;
    this.#visit.hidden = true;
  }

  #show({ reservation, listeners, containers, history }) {
    this.#reservation = reservation;
    setText(this.#gone, "");
    setText(document.querySelector("#details-title"), `Port ${reservation.port} · ${reservation.service}`);
    this.#lock.disabled = this.#release.disabled = false;
    setText(this.#lock, reservation.locked ? "Unlock" : "Lock");
    this.#visit.hidden = reservation.listening === "none";
    this.#visit.href = `http://${location.hostname}:${reservation.port}/`;
    document.querySelector("#facts").replaceChildren(...facts(factsOf(reservation)));
    document.querySelector("#who").replaceChildren(...listening(reservation, listeners, containers));
    document.querySelector("#history").replaceChildren(...[...history].reverse().map(happened));
  }

  async #explain(port) {
    let parts;
    try {
      const { services } = await api.explain(port);
      parts = explanation(services[0].explanation);
    } catch (thrown) {
      parts = problemText(api.Problem.from(thrown));
    }
    if (port === this.#port) this.#why.replaceChildren(...parts);
  }

  async #toggleLock() {
    const { port, locked } = this.#reservation;
    if (await setLock(port, !locked)) {
      this.#onChange();
      await this.refresh(port);
    }
  }

  async #releaseIt() {
    const { port } = this.#reservation;
    if (await release(this.#reservation)) {
      this.#onChange();
      if (port === this.#port) this.#dialog.close();
      say(`Port ${port} is released.`);
    }
  }
}

function factsOf(reservation) {
  const { scope, project, task, agent, lease, locked, owner, expires_at, key, strategy } = reservation;
  const optional = (text) => (text === null ? null : readable(text));
  return [
    ["directory", element("span", { class: "path" }, readable(reservation.directory))],
    ["project", optional(project)],
    ["agent", optional(agent)],
    ["task", optional(task)],
    ["scope", scope],
    ["lease", locked ? `${lease}, locked` : lease],
    ["owner", owner && ownerText(owner)],
    ["created", timeElement(reservation.created_at)],
    ["last used", timeElement(reservation.last_used_at)],
    ["expires", expires_at && timeElement(expires_at)],
    ["key", element("span", { class: "path" }, readable(key))],
    ["key by", readable(strategy.key)],
    ["port by", readable(strategy.selection)],
  ];
}

function ownerText({ pid, alive }) {
  const state = { true: "runs", false: "has ended", null: "cannot be seen from here" }[alive];
  return `process ${pid}, ${state}`;
}

function listening(reservation, listeners, containers) {
  const state = element(
    "p",
    { class: "listening", "data-listening": reservation.listening },
    element("span", { class: "state" }, reservation.listening),
    ` ${LISTENING[reservation.listening]}`,
  );
  return [state, ...listeners.map(processCard), ...containers.map(containerCard)];
}

function processCard({ pid, command, directory, started_at, user, reason }) {
  return element(
    "div",
    { class: "card" },
    element("code", {}, readable(command)),
    element(
      "dl",
      { class: "facts" },
      ...facts([
        ["process", String(pid)],
        ["user", user && readable(user.name ?? String(user.id))],
        ["works in", directory && element("span", { class: "path" }, readable(directory))],
        ["started", timeElement(started_at)],
        ["because", reason && readable(reason)],
      ]),
    ),
  );
}

function containerCard({ id, name, image, project, service, directory, mounts, reason }) {
  const compose = [project, service].filter(Boolean).map(readable).join(" / ");
  return element(
    "div",
    { class: "card" },
    element("code", {}, `${readable(name)} (${readable(image)})`),
    element(
      "dl",
      { class: "facts" },
      ...facts([
        ["container", id],
        ["compose", compose || null],
        ["directory", directory && element("span", { class: "path" }, readable(directory))],
        ["mounts", mounts.length === 0 ? null : mounts.map(readable).join(", ")],
        ["because", reason && readable(reason)],
      ]),
    ),
  );
}

function happened({ at, event, port, from, agent, policy, reason }) {
  const ports = from === null ? ` ${port}` : ` ${from} → ${port}`;
  const more = [agent && `by ${readable(agent)}`, policy && readable(policy), reason && readable(reason)];
  return element(
    "li",
    {},
    timeElement(at),
    element("span", {}, element("b", { class: "kind", "data-kind": event }, event), ports),
    element("span", { class: "reason" }, more.filter(Boolean).join(", ")),
  );
}

/** The decision, each policy with what it was told and what it answered, and what was passed over. */
function explanation({ decision, wish, policies, skipped }) {
  const passed = skipped.map(({ ports, reason }) =>
    element("li", {}, element("b", {}, ports), ` ${readable(reason)}`),
  );
  return [
    element("p", {}, readable(decision)),
    wish === null ? null : element("p", { class: "quiet" }, `It was given as ${wish}.`),
    ...policies.map(policyCard),
    passed.length === 0 ? null : element("h4", {}, "Passed over"),
    passed.length === 0 ? null : element("ul", { class: "passed" }, ...passed),
  ].filter((part) => part !== null);
}

function policyCard({ policy, plugin, selected_by, options, told, answered, load_microseconds, call_microseconds }) {
  return element(
    "details",
    { class: "card" },
    element(
      "summary",
      {},
      element("b", {}, `${policy} policy`),
      ` ${readable(plugin)} `,
      element("span", { class: "quiet" }, `${load_microseconds} µs to load, ${call_microseconds} µs to decide`),
    ),
    element(
      "dl",
      { class: "facts" },
      ...facts([
        ["selected by", readable(selected_by)],
        ["options", Object.keys(options).length === 0 ? null : nested(options)],
        ["was told", nested(told)],
        ["answered", element("span", { class: "path" }, readable([answered].flat().join(", ")))],
      ]),
    ),
  );
}

/** What a policy was told: its fields in rows, what is deeper as JSON. */
function nested(fields) {
  const rows = Object.entries(fields).map(([name, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return [readable(name), element("span", { class: "path" }, readable(text))];
  });
  return element("dl", { class: "facts" }, ...facts(rows));
}
