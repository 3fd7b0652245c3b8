// Where the test plays: a machine of its own for Hythe, its server, and a browser that watches what
// the page does.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
/** How long a server may take until it accepts, and what the page shows until it is there. */
const PATIENCE = 20_000;
const BROWSER_ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export class Stage {
  #root = realpathSync(mkdtempSync(join(tmpdir(), "hythe-browser-")));
  #children = [];
  #browser = null;
  #binary;
  #screenshots;

  constructor({ binary, screenshots }) {
    this.#binary = resolve(binary);
    this.#screenshots = screenshots && resolve(screenshots);
    if (this.#screenshots) mkdirSync(this.#screenshots, { recursive: true });
    this.file("config/hythe/config.toml", '[ports]\nrange = "20000-24999"\n');
  }

  get #environment() {
    return {
      PATH: process.env.PATH,
      HOME: this.directory("home"),
      XDG_CONFIG_HOME: this.directory("config"),
      XDG_STATE_HOME: this.directory("state"),
      XDG_CACHE_HOME: this.directory("cache"),
      LC_ALL: "C.UTF-8",
    };
  }

  /** The absolute path of a directory below the root, made when it is not there. */
  directory(...names) {
    const path = join(this.#root, ...names);
    mkdirSync(path, { recursive: true });
    return path;
  }

  file(name, text) {
    const path = join(this.#root, name);
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  remove(path) {
    assert.ok(path.startsWith(this.#root));
    rmSync(path, { recursive: true });
  }

  /** Runs the command line in a directory. */
  hythe(directory, ...args) {
    const options = { cwd: directory, env: this.#environment, encoding: "utf8" };
    const { status, stdout, stderr, error } = spawnSync(this.#binary, args, options);
    if (error) throw error;
    return { status, stdout: stdout.trim(), stderr: stderr.trim() };
  }

  /** Reserves a service and returns its port. */
  reserve(directory, service, ...flags) {
    const { status, stdout, stderr } = this.hythe(directory, "reserve", service, ...flags);
    assert.equal(status, 0, stderr);
    return Number(stdout);
  }

  /** Starts `hythe serve` and returns where it listens. */
  async serve(...flags) {
    const args = ["serve", "--listen", "127.0.0.1:0", ...flags];
    const child = this.#start(this.#binary, args, this.directory("home"));
    let complaint = "";
    child.stderr.on("data", (text) => (complaint += text));
    const line = await within(PATIENCE, "hythe serve printed no address", firstLine(child.stdout)).catch((error) => {
      throw new Error(`${error.message}; stderr: ${complaint.trim()}`);
    });
    assert.match(line, /^http:\/\/127\.0\.0\.1:\d+$/, `the first line of hythe serve: ${line}`);
    return { base: line, stop: () => end(child) };
  }

  /** Lets a process listen on a port, working in a directory. */
  async listenOn(port, directory) {
    const program = `require("net").createServer().listen(${port}, "127.0.0.1", () => console.log("ready"))`;
    const child = this.#start(process.execPath, ["-e", program], directory);
    await within(PATIENCE, `nothing listens on ${port}`, firstLine(child.stdout));
  }

  /** Opens the dashboard in a page of its own. `settings` are those of a browser context. */
  async visit(base, settings = {}) {
    this.#browser ??= await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: BROWSER_ARGUMENTS,
    });
    const context = await this.#browser.newContext({ viewport: { width: 1440, height: 900 }, ...settings });
    await context.addInitScript({ path: AXE });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    const visit = new Visit(page, base, this.#screenshots);
    await page.goto(`${base}/`);
    return visit;
  }

  /** Ends everything that was started, and removes what was written. */
  async strike() {
    await this.#browser?.close();
    await Promise.all(this.#children.map(end));
    rmSync(this.#root, { recursive: true, force: true });
  }

  #start(program, args, directory) {
    const child = spawn(program, args, { cwd: directory, env: this.#environment, stdio: ["ignore", "pipe", "pipe"] });
    child.on("error", (error) => console.error(`${program}: ${error.message}`));
    this.#children.push(child);
    return child;
  }
}

/** A page with the dashboard, and everything that went wrong on it. */
class Visit {
  /** What must not happen, as text. */
  wrongs = [];
  #tolerated = new Set();
  #isOver = false;
  #screenshots;

  constructor(page, base, screenshots) {
    this.page = page;
    this.#screenshots = screenshots;
    const wrong = (text) => this.#isOver || this.wrongs.push(text);
    page.on("pageerror", (error) => wrong(`page error: ${error.stack ?? error}`));
    page.on("dialog", (dialog) => {
      wrong(`a script of somebody else's ran: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on("console", (message) => {
      if (!["error", "warning"].includes(message.type())) return;
      const status = /status of (\d+)/.exec(message.text())?.[1];
      if (!this.#tolerated.has(Number(status))) wrong(`console: ${message.text()} (${message.location().url})`);
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(`${base}/`)) wrong(`a request to elsewhere: ${request.url()}`);
    });
    page.on("requestfailed", (request) => wrong(`failed: ${request.url()} ${request.failure()?.errorText}`));
  }

  /** Answers with these statuses are part of what is tested from now on. */
  tolerate(...statuses) {
    for (const status of statuses) this.#tolerated.add(status);
  }

  row(port) {
    return this.page.locator(`#rows tbody tr[data-port="${port}"]`);
  }

  /** Opens the panel of a reservation with the mouse. */
  async details(port) {
    await this.row(port).locator("button").click();
    await this.page.locator("#details #facts dd").first().waitFor();
    return this.page.locator("#details");
  }

  /** What has the focus, as a selector that people can read. */
  focused() {
    return this.page.evaluate(() => {
      const { id, tagName, textContent } = document.activeElement;
      return id === "" ? `${tagName.toLowerCase()} ${textContent.trim().slice(0, 40)}` : `#${id}`;
    });
  }

  /**
   * Fails when axe finds something serious or critical in what is shown. It looks at the first rows
   * only: they are all made alike, and it would take minutes for thousands.
   */
  async assertAccessible(where) {
    const { violations } = await this.page.evaluate(async () => {
      // What is still fading in has other colours than it will have.
      const ending = document.getAnimations().filter(({ effect }) => effect.getComputedTiming().endTime !== Infinity);
      await Promise.allSettled(ending.map(({ finished }) => finished));
      return globalThis.axe.run({ exclude: ["#rows tbody tr:nth-child(n + 50)"] }, { preload: false });
    });
    const grave = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
    const told = grave.map(({ id, help, nodes }) => {
      const where = nodes.slice(0, 5).map(({ target, failureSummary }) => `    ${target}: ${failureSummary}`);
      return `  ${id}: ${help}\n${where.join("\n")}`;
    });
    assert.equal(grave.length, 0, `axe finds in ${where}:\n${told.join("\n")}`);
    return violations.map(({ id, impact }) => `${id} (${impact})`);
  }

  /** Fails when the page is wider than the window. */
  async assertFits() {
    const [content, window] = await this.page.evaluate(() => [
      document.documentElement.scrollWidth,
      document.documentElement.clientWidth,
    ]);
    assert.ok(content <= window, `the page is ${content} pixels wide in a window of ${window}`);
  }

  async screenshot(name) {
    if (!this.#screenshots) return;
    await this.page.screenshot({ path: join(this.#screenshots, `${name}.png`), animations: "disabled" });
  }

  /** Closes the page. Fails when anything went wrong on it. */
  async leave() {
    this.#isOver = true;
    await this.page.context().close();
    assert.deepEqual(this.wrongs, [], "something went wrong on the page");
  }
}

/** Waits until something is so; `what` says what it is that did not come about. */
export async function until(what, isSo) {
  const deadline = Date.now() + PATIENCE;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`after ${PATIENCE / 1000} s it is still not so: ${what}`);
    await new Promise((next) => setTimeout(next, 50));
  }
}

function firstLine(stream) {
  return new Promise((found, failed) => {
    const lines = createInterface({ input: stream });
    lines.once("line", found);
    lines.once("close", () => failed(new Error("it ended without a word")));
  });
}

async function within(milliseconds, complaint, promise) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(complaint)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise((done) => child.once("exit", done));
  child.kill("SIGTERM");
  await within(5_000, "", ended).catch(() => child.kill("SIGKILL"));
}
