// Hythe's dashboard: reads the ledger through the HTTP API, follows what happens, and shows both.

import { Cleanup } from "/dashboard-actions.js";
import * as api from "/dashboard-api.js";
import { Details } from "/dashboard-details.js";
import { askForToken, complain, settle } from "/dashboard-dialogs.js";
import { EventLog } from "/dashboard-events.js";
import { PortMap } from "/dashboard-map.js";
import { follow, reconnect } from "/dashboard-stream.js";
import { ReservationTable } from "/dashboard-table.js";
import { count, setText } from "/dashboard-words.js";

/** Events that come within this time are read as one change. */
const TOGETHER = 150;
/** Servers start and stop without an event: who listens is looked at this often. */
const EVERY = 5_000;
/** A machine that takes long to answer is asked less often: this many times as long at least. */
const PATIENCE = 10;

const CONNECTION = {
  connecting: "connecting",
  live: "live",
  asleep: "asleep",
  waiting: "not connected, trying again",
};

/** The latest list, by port. */
let reservations = new Map();

const details = new Details({
  onChange: () => refresh.soon(),
  entrance: (port) => table.buttonOf(port) ?? table.entrance,
});
const table = new ReservationTable({ onOpen: (port, opener) => details.open(port, opener) });
const map = new PortMap({ nameOf, onOpen: (port, opener) => details.open(port, opener) });
const log = new EventLog();
const refresh = repeatedly(readAll);

api.onTokenNeeded(askForToken);
new Cleanup(document.querySelector("#open-cleanup"), () => refresh.soon());
document.addEventListener("visibilitychange", () => refresh.soon());
refresh.soon();
follow({ onEvents, onState });

async function readAll() {
  const [listed, picture] = await Promise.allSettled([api.list(), api.map()]);
  report("list", listed, showList);
  report("map", picture, (answer) => map.update(answer));
}

/** Shows an answer, or why there is none. */
function report(subject, { status, value, reason }, showIt) {
  if (status === "fulfilled") {
    settle(subject);
    showIt(value);
    return;
  }
  const problem = api.Problem.from(reason);
  if (problem.code === "unauthorized") complain("token", problem, ["Enter the token…", enterToken]);
  else if (problem.code === "unreachable") complain("unreachable", problem);
  else complain(subject, problem);
}

function showList({ reservations: all, listeners, containers }) {
  for (const subject of ["token", "unreachable"]) settle(subject);
  const changed = new Set(all.filter(isNews).map(({ port }) => port));
  reservations = new Map(all.map((reservation) => [reservation.port, reservation]));
  table.update(all, whoListens(listeners, containers));
  const foreign = all.filter(({ listening }) => listening === "foreign").length;
  const summary = [count(all.length, "port"), foreign > 0 && `${foreign} held by others`].filter(Boolean).join(", ");
  setText(document.querySelector("#tally"), summary);
  document.title = `Hythe: ${summary}`;
  for (const port of changed) details.refresh(port);
}

function isNews(reservation) {
  const known = reservations.get(reservation.port);
  return known?.listening !== reservation.listening || known.locked !== reservation.locked;
}

/** Who listens on each port, in a few words. */
function whoListens(listeners, containers) {
  const words = new Map();
  const add = (port, text) => words.set(port, words.has(port) ? `${words.get(port)}, ${text}` : text);
  for (const { port, command, pid } of listeners) add(port, `${programOf(command)} (${pid})`);
  for (const { port, name } of containers) add(port, `container ${name}`);
  return words;
}

/** The program of a command line, without where it is installed. */
function programOf(command) {
  const [program] = command.split(" ", 1);
  return program.slice(program.lastIndexOf("/") + 1) || program;
}

/** What a port is called in the picture of the range. */
function nameOf(port) {
  const reservation = reservations.get(port);
  if (reservation === undefined) return null;
  return reservation.project === null ? reservation.service : `${reservation.service} of ${reservation.project}`;
}

function onEvents(events, live) {
  log.add(events, live);
  if (!live) return;
  refresh.soon();
  for (const { event, port, from } of events) {
    if (event === "released") details.end(port);
    else details.refresh(port);
    if (from !== null) details.end(from);
  }
}

function onState(state, problem = null) {
  const connection = document.querySelector("#connection");
  // Each further attempt would be read out otherwise.
  if (state === "connecting" && connection.dataset.state === "waiting") return;
  connection.dataset.state = state;
  connection.title = problem?.message ?? "";
  setText(connection, CONNECTION[state]);
  // What happened while nobody listened is in the ledger.
  if (state === "live") refresh.soon();
}

function enterToken() {
  api.askAgain();
  settle("token");
  refresh.soon();
  reconnect();
}

/**
 * Does some work again and again, one at a time: soon when that is asked for, and every few seconds
 * while somebody looks.
 */
function repeatedly(work) {
  let timer = null;
  let isBusy = false;
  let isStale = false;

  async function run() {
    isBusy = true;
    isStale = false;
    const begun = performance.now();
    try {
      await work();
    } finally {
      isBusy = false;
      const took = performance.now() - begun;
      if (isStale) schedule(Math.max(TOGETHER, took));
      else if (!document.hidden) schedule(Math.max(EVERY, PATIENCE * took));
    }
  }

  function schedule(wait) {
    clearTimeout(timer);
    timer = setTimeout(run, wait);
  }

  function soon() {
    // What is about to be read already must not be put off by each further event.
    if (isStale) return;
    isStale = true;
    if (!isBusy) schedule(TOGETHER);
  }

  return { soon };
}
