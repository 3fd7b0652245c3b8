// How the dashboard looks: on narrow and on huge screens, in light and dark, with many reservations.

import assert from "node:assert/strict";
import { until } from "./stage.mjs";

/** As many as a machine of many agents has. */
const MANY = 2_000;
const SERVICES_AT_ONCE = 100;

/** Tests it with the reservations that `testBehaviour` has left. */
export async function testLooks(stage, server, test, { web, api, shop }) {
  // A machine as it is in the afternoon, to be looked at.
  for (const [project, services] of Object.entries({
    shop: ["postgres", "redis", "storybook"],
    payments: ["api", "worker", "web"],
    blog: ["web", "preview"],
    "design-system": ["storybook", "docs"],
  })) {
    for (const [index, service] of services.entries()) {
      for (const tree of ["main", `fix-${project.length}${index}`]) {
        const flags = ["--project", project, "--task", tree];
        if (tree !== "main") flags.push("--agent", index % 2 === 0 ? "claude" : "codex");
        if (service === "postgres") flags.push("--lock");
        stage.reserve(stage.directory("code", project, tree), service, ...flags);
      }
    }
  }

  for (const colorScheme of ["light", "dark"]) {
    await test(`nothing that axe calls serious, ${colorScheme}`, { server, settings: { colorScheme } }, async (visit) => {
      const { page } = visit;
      await visit.row(api).locator(".state", { hasText: "foreign" }).waitFor();
      await page.getByText("In words", { exact: true }).click();
      const minor = new Set(await visit.assertAccessible("the page"));
      await page.getByText("In words", { exact: true }).click();
      await visit.screenshot(colorScheme);
      const details = await visit.details(web);
      for (const summary of await details.locator("summary").all()) await summary.click();
      for (const found of await visit.assertAccessible("the details")) minor.add(found);
      await visit.screenshot(`details-${colorScheme}`);
      await details.getByRole("button", { name: "Release…" }).click();
      for (const found of await visit.assertAccessible("the question")) minor.add(found);
      if (minor.size > 0) console.log(`        axe, below serious: ${[...minor].join(", ")}`);
    });
  }

  for (const [name, width, height] of [["narrow", 360, 780], ["tablet", 820, 1180], ["wide", 3840, 2160]]) {
    await test(`${name}: ${width} pixels`, { server, settings: { viewport: { width, height } } }, async (visit) => {
      await visit.row(web).locator(".state", { hasText: "mine" }).waitFor();
      await visit.page.getByLabel("Filter").fill("shop");
      await visit.assertFits();
      await visit.assertAccessible(name);
      await visit.screenshot(name);
      await visit.details(web);
      await visit.assertFits();
      await visit.screenshot(`${name}-details`);
    });
  }

  await test("forced colours", { server, settings: { forcedColors: "active" } }, async (visit) => {
    await visit.row(web).locator(".state", { hasText: "mine" }).waitFor();
    await visit.page.getByRole("slider").focus();
    await visit.screenshot("forced-colors");
  });

  // Many reservations come last: everything before is easier to read without them.
  const fill = stage.directory("code", "many");
  for (let number = 0; number < MANY; number += SERVICES_AT_ONCE) {
    const name = `agent-${number / SERVICES_AT_ONCE}`;
    const response = await fetch(`${server.base}/v1/reservations`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        directory: stage.directory("code", "many", name),
        services: Array.from({ length: SERVICES_AT_ONCE }, (_, index) => `service-${index}`),
        project: "many",
        agent: name,
      }),
    });
    assert.equal(response.status, 200, await response.text());
  }

  await test(`${MANY} reservations`, { server }, async (visit) => {
    const { page } = visit;
    const rows = page.locator("#rows tbody tr");
    await until("all rows are there", async () => (await rows.count()) >= MANY);
    const loaded = await page.evaluate(() => Math.round(performance.now()));
    const filter = await page.evaluate(timeFilter, "agent-7");
    assert.equal(await page.locator("#rows tbody tr:not([hidden])").count(), SERVICES_AT_ONCE);
    const clear = await page.evaluate(timeFilter, "");
    const sort = await page.evaluate(timeSort, "directory");
    console.log(`        shown ${loaded} ms after the navigation began`);
    console.log(`        filtered in ${filter} ms, all again in ${clear} ms, sorted in ${sort} ms`);

    await page.evaluate(timeSort, "port");
    const begun = performance.now();
    const late = stage.reserve(shop, "late");
    await visit.row(late).waitFor({ state: "attached" });
    console.log(`        a new reservation is shown ${Math.round(performance.now() - begun)} ms after the command began`);
    await visit.screenshot("many");
    await visit.assertAccessible(`${MANY} reservations`);

    await rows.first().locator("button").focus();
    await page.keyboard.press("End");
    assert.equal(await visit.focused(), `button ${await rows.last().locator(".port button").textContent()}`);
    await visit.screenshot("many-end");
  });
}

/** In the page: how many milliseconds a filter takes until the browser has drawn what is left. */
async function timeFilter(text) {
  const begun = performance.now();
  const filter = document.querySelector("#filter");
  filter.value = text;
  filter.dispatchEvent(new Event("input"));
  await new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)));
  return Math.round(performance.now() - begun);
}

/** In the page: the same of the order. */
async function timeSort(column) {
  const begun = performance.now();
  document.querySelector(`[data-column=${column}] button`).click();
  await new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)));
  return Math.round(performance.now() - begun);
}
