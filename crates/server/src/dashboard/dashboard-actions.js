// What can be done: release, lock, clean up. Nothing is given back before somebody has said twice
// that it may be, and what is refused, three times.

import * as api from "/dashboard-api.js";
import { ask, complain, open, problemText, say, settle } from "/dashboard-dialogs.js";
import { count, element, readable } from "/dashboard-words.js";

/** Releases a reservation after asking. True when it is gone. */
export async function release(reservation) {
  const { port } = reservation;
  const confirmed = await ask({
    title: `Release port ${port}?`,
    text: [
      element("p", {}, "It goes back to the range, and after a while may be given to somebody else."),
      what(reservation),
    ],
    confirm: `Release ${port}`,
  });
  if (!confirmed) return false;
  try {
    await api.release(port, false);
  } catch (thrown) {
    const problem = api.Problem.from(thrown);
    if (problem.code !== "refused") {
      complain("release", problem);
      return false;
    }
    if (!(await releaseByForce(reservation, problem))) return false;
  }
  settle("release");
  return true;
}

async function releaseByForce(reservation, refusal) {
  const { port } = reservation;
  const confirmed = await ask({
    title: `Release port ${port} all the same?`,
    text: [
      element("p", {}, "Hythe refused:"),
      element("blockquote", {}, ...problemText(refusal).slice(0, 1)),
      what(reservation),
      element("p", {}, "With force it is released whatever protects it. Whoever counts on it is not asked."),
    ],
    confirm: `Release ${port} by force`,
  });
  if (!confirmed) return false;
  try {
    await api.release(port, true);
    return true;
  } catch (thrown) {
    complain("release", api.Problem.from(thrown));
    return false;
  }
}

/** What a question is about, so that nobody says yes to the wrong thing. */
function what({ port, service, project, directory, listening }) {
  const rows = [
    ["port", String(port)],
    ["service", service],
    ["project", project],
    ["directory", directory],
    ["listening", listening === "none" ? null : listening],
  ];
  const parts = rows
    .filter(([, value]) => value !== null && value !== undefined)
    .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, readable(value))]);
  return element("dl", { class: "facts" }, ...parts);
}

/** Locks or unlocks. True when it is done. */
export async function setLock(port, locked) {
  try {
    await api.setLock(port, locked);
  } catch (thrown) {
    complain("lock", api.Problem.from(thrown));
    return false;
  }
  settle("lock");
  say(locked ? `Port ${port} is locked: no policy releases or moves it.` : `Port ${port} is not locked any more.`);
  return true;
}

/** The dialog that shows what the cleanup policies would release, and releases it. */
export class Cleanup {
  #dialog = document.querySelector("#cleanup");
  #found = document.querySelector("#cleanup-found");
  #list = document.querySelector("#cleanup-list");
  #confirm = document.querySelector("#cleanup-confirm");
  #age = document.querySelector("#cleanup-age");
  /** Counts the looks: an answer to an earlier one is not shown. */
  #looks = 0;
  #onDone;

  constructor(opener, onDone) {
    this.#onDone = onDone;
    opener.addEventListener("click", () => {
      this.#age.value = "";
      open(this.#dialog, { opener });
      this.#look();
    });
    document.querySelector("#cleanup-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#look();
    });
    document.querySelector("#cleanup-cancel").addEventListener("click", () => this.#dialog.close());
    this.#confirm.addEventListener("click", () => this.#run());
    // Whoever says another age has not seen what that would release.
    this.#age.addEventListener("input", () => (this.#confirm.disabled = true));
  }

  async #look() {
    const look = ++this.#looks;
    this.#confirm.disabled = true;
    this.#confirm.textContent = "Release";
    this.#found.textContent = "Asking the policies…";
    this.#list.hidden = true;
    try {
      const { released } = await api.cleanup(this.#age.value.trim(), true);
      if (look !== this.#looks) return;
      settle("cleanup");
      this.#list.replaceChildren(...released.map(verdict));
      this.#list.hidden = released.length === 0;
      this.#found.textContent =
        released.length === 0 ? "Nothing to release." : `${count(released.length, "reservation")} would be released:`;
      this.#confirm.textContent = `Release ${released.length}`;
      this.#confirm.disabled = released.length === 0;
    } catch (thrown) {
      if (look !== this.#looks) return;
      this.#found.textContent = "";
      complain("cleanup", api.Problem.from(thrown));
    }
  }

  async #run() {
    this.#confirm.disabled = true;
    try {
      const { released } = await api.cleanup(this.#age.value.trim(), false);
      settle("cleanup");
      this.#dialog.close();
      say(`${count(released.length, "reservation")} released.`);
      this.#onDone();
    } catch (thrown) {
      complain("cleanup", api.Problem.from(thrown));
      this.#confirm.disabled = false;
    }
  }
}

function verdict({ port, service, project, directory, policy, reason }) {
  const whose = [service, project].filter(Boolean).map(readable).join(" · ");
  return element(
    "li",
    {},
    element("b", {}, String(port)),
    ` ${whose} `,
    element("span", { class: "path" }, readable(directory)),
    element("span", { class: "reason" }, `${policy ?? "older than asked for"}: ${readable(reason)}`),
  );
}
