// Dialogs, and notices: what went wrong, and what was done. Both are told where whoever looks is: in
// the dialog that is open, else on the page.

import { element, readable } from "/dashboard-words.js";

/** How long it is said that something was done. What went wrong stays until it is dismissed. */
const SAID = 10_000;

/** Opens a dialog and returns when it is closed; the focus goes back to `opener`, or to `otherwise()`. */
export async function open(dialog, { opener = document.activeElement, otherwise = () => null } = {}) {
  dialog.showModal();
  do {
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    // It is told late: by then the dialog may be open again.
  } while (dialog.open);
  // What opened it may be gone meanwhile: released, or filtered out.
  const target = opener?.isConnected && opener.checkVisibility() ? opener : otherwise();
  target?.focus();
}

/** Asks whether to do something, and resolves with the answer. */
export async function ask({ title, text, confirm }) {
  const dialog = document.querySelector("#question");
  const yes = dialog.querySelector("#question-confirm");
  dialog.querySelector("#question-title").textContent = title;
  dialog.querySelector("#question-text").replaceChildren(...text);
  yes.textContent = confirm;
  let answer = false;
  yes.onclick = () => {
    answer = true;
    dialog.close();
  };
  dialog.querySelector("#question-cancel").onclick = () => dialog.close();
  await open(dialog);
  return answer;
}

/** Asks for the server's token, and resolves with it, or with `null`. */
export async function askForToken(refused) {
  const dialog = document.querySelector("#token");
  const input = dialog.querySelector("#token-input");
  dialog.querySelector("#token-text").textContent = refused
    ? "The token was not accepted. It is in the file that the server was given with --token-file."
    : "This server answers only those who have its token. It is in the file that it was given with --token-file.";
  input.value = "";
  let answer = null;
  dialog.querySelector("#token-form").onsubmit = (event) => {
    event.preventDefault();
    answer = input.value.trim();
    dialog.close();
  };
  dialog.querySelector("#token-cancel").onclick = () => dialog.close();
  await open(dialog);
  input.value = "";
  return answer === "" ? null : answer;
}

/** What a problem says: what is wrong, and what can be done about it. */
export function problemText(problem) {
  const message = element("p", {}, readable(problem.message));
  if (problem.hint === null) return [message];
  return [message, element("p", { class: "hint" }, "hint: ", element("code", {}, readable(problem.hint)))];
}

/**
 * Says that something went wrong. A problem about the same `subject` takes the place of the one
 * before. `remedy` is a button: its text, and what it does.
 */
export function complain(subject, problem, remedy = null) {
  const [text, act] = remedy ?? [];
  const button = remedy && element("button", { type: "button" }, text);
  button?.addEventListener("click", () => act());
  const dismiss = element("button", { type: "button", class: "dismiss", "aria-label": "Dismiss" }, "×");
  const notice = put(subject, { class: "notice problem", role: "alert" }, ...problemText(problem), button, dismiss);
  dismiss.addEventListener("click", () => notice.remove());
}

/** Takes back what was said about a subject: it is all right again. */
export function settle(subject) {
  for (const notice of document.querySelectorAll(".notice")) {
    if (notice.dataset.subject === subject) notice.remove();
  }
}

/** Says that something was done. */
export function say(text) {
  const notice = put("done", { class: "notice done", role: "status" }, element("p", {}, text));
  setTimeout(() => notice.remove(), SAID);
}

function put(subject, attributes, ...children) {
  const dialogs = [...document.querySelectorAll("dialog[open]")].filter((dialog) => dialog.querySelector(".notices"));
  const place = (dialogs.at(-1) ?? document).querySelector(".notices");
  const known = [...place.children].find((notice) => notice.dataset.subject === subject);
  const notice = element("div", { ...attributes, "data-subject": subject }, ...children);
  // What is said already is not read out again, and keeps the focus.
  if (known?.textContent === notice.textContent) return known;
  if (known) known.replaceWith(notice);
  else place.append(notice);
  return notice;
}
