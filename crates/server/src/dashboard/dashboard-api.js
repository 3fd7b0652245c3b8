// Hythe's HTTP API: calls, problems, the token. All of it is described by /v1/openapi.json.

/** Where the token is kept: this tab, until it is closed. */
const KEPT_AS = "hythe-token";

/** Why something did not work, as `application/problem+json` says it. */
export class Problem extends Error {
  constructor({ status = 0, code = "unexpected", title, detail, hint = null }) {
    super(detail ?? title ?? "the server gave no reason");
    this.status = status;
    this.code = code;
    this.hint = hint;
  }

  /** What a response says that is not what was asked for. */
  static async of(response) {
    const said = await response.json().catch(() => null);
    if (said !== null && typeof said === "object") return new Problem({ status: response.status, ...said });
    return new Problem({ status: response.status, title: `the server answered ${response.status}` });
  }

  /** Whatever was thrown, as a problem. */
  static from(thrown) {
    if (thrown instanceof Problem) return thrown;
    return new Problem({ detail: String(thrown?.message ?? thrown) });
  }
}

let token = sessionStorage.getItem(KEPT_AS);
let asking = null;
let declined = false;
let askForToken = async () => null;

/** Says how a token is asked for: with whether one was refused; answered with one, or `null`. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

/** Lets the token be asked for again after somebody did not want to say it. */
export function askAgain() {
  declined = false;
}

/** Asks for a token, once for all calls that wait for it. False when there is none. */
async function renewToken(refused) {
  if (declined) return false;
  asking ??= askForToken(refused).finally(() => (asking = null));
  const said = await asking;
  if (said === null) {
    declined = true;
    return false;
  }
  token = said;
  sessionStorage.setItem(KEPT_AS, said);
  return true;
}

/** A response that is all right, whatever token that takes. Throws a `Problem` otherwise. */
export async function request(path, { headers = {}, ...options } = {}) {
  for (;;) {
    const used = token;
    const authorization = used === null ? {} : { Authorization: `Bearer ${used}` };
    const response = await send(path, { ...options, headers: { ...headers, ...authorization } });
    if (response.ok) return response;
    const problem = await Problem.of(response);
    // Another call may have got a token while this one was on its way.
    const outdated = response.status === 401 && used !== token;
    if (!outdated && !(response.status === 401 && (await renewToken(used !== null)))) throw problem;
  }
}

async function send(path, options) {
  try {
    return await fetch(path, { cache: "no-store", credentials: "omit", redirect: "error", ...options });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem({ code: "unreachable", detail: "the server does not answer", hint: "hythe serve" });
  }
}

async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await request(path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return response.json();
}

const of = (port) => `/v1/reservations/${port}`;

export const list = () => call("GET", "/v1/reservations");
export const show = (port) => call("GET", of(port));
export const explain = (port) => call("GET", `${of(port)}/explanation`);
export const map = () => call("GET", "/v1/map");
export const latestEvents = (limit) => call("GET", `/v1/events?limit=${limit}`);
export const setLock = (port, locked) => call("PUT", `${of(port)}/lock`, { locked });
export const release = (port, force) => call("DELETE", force ? `${of(port)}?force=true` : of(port));
export const cleanup = (olderThan, dryRun) =>
  call("POST", "/v1/cleanup", { dry_run: dryRun, ...(olderThan === "" ? {} : { older_than: olderThan }) });
