// What the dashboard does: it shows what is, while it changes, and changes it.

import assert from "node:assert/strict";
import { until } from "./stage.mjs";

const NOT_FOUND = 7;
const MARKUP = "<img src=x onerror=alert(1)>";

/** Tests it, and leaves reservations that have something to show: those that are returned. */
export async function testBehaviour(stage, server, test) {
  const shop = stage.directory("code", "shop");
  const blog = stage.directory("code", "blog");
  const hostile = stage.directory("code", MARKUP);

  await test("it loads empty, and says so", { server }, async ({ page }) => {
    await page.locator("#connection[data-state=live]").waitFor();
    await page.getByText("Nothing is reserved").waitFor();
    assert.equal(await page.locator("#rows").isVisible(), false);
  });

  const web = stage.reserve(shop, "web", "--project", "shop", "--agent", "claude", "--task", "fix-1");
  const api = stage.reserve(shop, "api", "--project", "shop");
  const odd = stage.reserve(hostile, "web", "--project", "<b>bold</b>", "--agent", MARKUP);
  await stage.listenOn(web, shop);
  await stage.listenOn(api, blog);

  await test("what the command line does is shown without a reload", { server }, async (visit) => {
    const { page } = visit;
    await visit.row(web).waitFor();
    await page.locator("#connection[data-state=live]").waitFor();
    await page.evaluate(() => (globalThis.unchanged = true));

    const admin = stage.reserve(blog, "admin", "--project", "blog");
    await visit.row(admin).waitFor();
    assert.equal(await visit.row(admin).locator(".name").textContent(), "blog");
    await page.locator(`#log li:has-text("reserved"):has-text("${admin}")`).waitFor();

    stage.hythe(blog, "release", "admin");
    await visit.row(admin).waitFor({ state: "detached" });
    await page.locator(`#log li:has-text("released"):has-text("${admin}")`).waitFor();
    assert.equal(await page.evaluate(() => globalThis.unchanged), true);
  });

  await test("who listens is told in words", { server }, async (visit) => {
    await visit.row(web).locator(".state", { hasText: "mine" }).waitFor();
    await visit.row(api).locator(".state", { hasText: "foreign" }).waitFor();
    assert.match(await visit.row(web).locator(".who").textContent(), /^node \(\d+\)$/);
    const details = await visit.details(web);
    assert.match(await details.locator("#who").innerText(), /works in\s+\/.*\/code\/shop/);
    await details.locator("#why .card").first().locator("summary").click();
    assert.match(await details.locator("#why").innerText(), /path-sticky/);
    assert.match(await details.locator("#history").innerText(), /reserved/);
  });

  await test("a name with markup is text", { server }, async (visit) => {
    const { page } = visit;
    const row = visit.row(odd);
    await row.waitFor();
    assert.equal(await row.locator(".name").textContent(), MARKUP);
    assert.equal(await row.locator(".project").textContent(), "<b>bold</b>");
    const details = await visit.details(odd);
    assert.match(await details.locator("#facts").innerText(), /<b>bold<\/b>/);
    await details.getByRole("button", { name: "Release…" }).click();
    assert.match(await page.locator("#question").innerText(), /<img src=x onerror=alert\(1\)>/);
    assert.equal(await page.locator("img:not(.mark), main b:not(.legend b), #question b").count(), 0);
  });

  await test("filter and order", { server }, async (visit) => {
    const { page } = visit;
    await visit.row(web).waitFor();
    await page.getByLabel("Filter").fill("SHOP foreign");
    await until("only the foreign one is shown", async () => !(await visit.row(web).isVisible()));
    assert.equal(await visit.row(api).isVisible(), true);
    assert.equal(await page.locator("#shown").textContent(), "1 of 3 shown");
    await page.getByLabel("Filter").fill("no such thing");
    await page.getByText("No reservation has all of these words").waitFor();
    await page.getByLabel("Filter").fill("");

    const ports = async () => (await page.locator("#rows tbody .port").allTextContents()).map(Number);
    const ascending = [web, api, odd].sort((one, other) => one - other);
    assert.deepEqual(await ports(), ascending);
    const header = page.getByRole("columnheader", { name: "Port" });
    assert.equal(await header.getAttribute("aria-sort"), "ascending");
    await header.getByRole("button").click();
    assert.equal(await header.getAttribute("aria-sort"), "descending");
    assert.deepEqual(await ports(), ascending.reverse());
    await page.getByRole("columnheader", { name: "Project" }).getByRole("button").click();
    assert.equal(await header.getAttribute("aria-sort"), null);
    assert.equal((await ports())[0], odd);
  });

  await test("the picture of the range, with keys", { server }, async (visit) => {
    const { page } = visit;
    await page.locator("#legend li[data-state=foreign]", { hasText: "1" }).waitFor();
    const picture = page.getByRole("slider");
    await picture.focus();
    await page.keyboard.press("Home");
    assert.equal(await picture.getAttribute("aria-valuenow"), "20000");
    const seen = [];
    for (let step = 0; step < 10; step += 1) {
      await page.keyboard.press("Shift+ArrowRight");
      seen.push(await picture.getAttribute("aria-valuetext"));
    }
    assert.ok(seen.includes(`${web}, reserved, and listening: web of shop`), seen.join("\n"));
    await page.getByText("In words", { exact: true }).click();
    await page.locator("#runs li", { hasText: `${api} held by others` }).waitFor();
  });

  await test("lock, and unlock", { server }, async (visit) => {
    const details = await visit.details(odd);
    await details.getByRole("button", { name: "Lock", exact: true }).click();
    await details.getByRole("button", { name: "Unlock" }).waitFor();
    await visit.row(odd).locator(".locked").waitFor();
    assert.match(stage.hythe(hostile, "show", "web").stdout, /locked +yes/);
    await details.getByRole("button", { name: "Unlock" }).click();
    await details.getByRole("button", { name: "Lock", exact: true }).waitFor();
    assert.match(stage.hythe(hostile, "show", "web").stdout, /locked +no/);
  });

  await test("release asks, and what is refused asks again", { server }, async (visit) => {
    const { page } = visit;
    visit.tolerate(409);
    const admin = stage.reserve(blog, "admin", "--lock");
    const question = page.locator("#question");
    const details = await visit.details(admin);
    await details.getByRole("button", { name: "Release…" }).click();
    await question.getByRole("button", { name: "Cancel" }).click();
    assert.equal(stage.hythe(blog, "get", "admin").status, 0);

    await details.getByRole("button", { name: "Release…" }).click();
    await visit.assertAccessible("the question");
    await question.getByRole("button", { name: `Release ${admin}` }).click();
    await question.getByText("all the same?").waitFor();
    assert.match(await question.innerText(), /locked/);
    assert.equal(stage.hythe(blog, "get", "admin").status, 0);
    await visit.screenshot("release-refused");
    await question.getByRole("button", { name: `Release ${admin} by force` }).click();
    await visit.row(admin).waitFor({ state: "detached" });
    assert.equal(stage.hythe(blog, "get", "admin").status, NOT_FOUND);
    await until("the panel is closed", async () => !(await details.isVisible()));
    await page.getByText(`Port ${admin} is released.`).waitFor();
  });

  await test("cleanup shows what would go before it goes", { server }, async (visit) => {
    const { page } = visit;
    const gone = stage.directory("code", "gone");
    const port = stage.reserve(gone, "web");
    await visit.row(port).waitFor();
    stage.remove(gone);
    await page.getByRole("button", { name: "Clean up…" }).click();
    const dialog = page.locator("#cleanup");
    await dialog.locator("#cleanup-list li", { hasText: String(port) }).waitFor();
    await visit.assertAccessible("cleanup");
    await visit.screenshot("cleanup");
    const found = await dialog.locator("#cleanup-list li").count();
    assert.equal(await visit.row(port).count(), 1);
    await dialog.getByRole("button", { name: `Release ${found}` }).click();
    await visit.row(port).waitFor({ state: "detached" });
    await until("the dialog is closed", async () => !(await dialog.isVisible()));

    await page.getByRole("button", { name: "Clean up…" }).click();
    await dialog.getByText("Nothing to release.").waitFor();
    visit.tolerate(400, 422);
    await dialog.getByLabel("Also what was not used for").fill("nonsense");
    await page.keyboard.press("Enter");
    await dialog.getByRole("alert").waitFor();
  });

  await test("everything with the keyboard alone", { server }, async (visit) => {
    const { page } = visit;
    const keys = stage.directory("code", "keys");
    const port = stage.reserve(keys, "keys");
    await visit.row(port).waitFor();
    const tabTo = async (what) => {
      const seen = [];
      for (let step = 0; step < 40; step += 1) {
        await page.keyboard.press("Tab");
        seen.push(await visit.focused());
        if (seen.at(-1) === what) return;
      }
      assert.fail(`tab never came to ${what}: ${seen.join(", ")}`);
    };
    await page.keyboard.press("Tab");
    assert.match(await visit.focused(), /Skip to the reservations/);
    await page.keyboard.press("Enter");
    await tabTo("#filter");
    await page.keyboard.type("keys");
    await tabTo(`button ${port}`);
    await page.keyboard.press("Enter");
    await page.locator("#details-release:enabled").waitFor();
    await page.keyboard.press("Escape");
    assert.equal(await visit.focused(), `button ${port}`);

    await page.keyboard.press("Enter");
    await page.locator("#details-release:enabled").waitFor();
    await tabTo("#details-release");
    await page.keyboard.press("Enter");
    assert.equal(await visit.focused(), "#question-cancel");
    await tabTo("#question-confirm");
    await page.keyboard.press("Enter");
    await visit.row(port).waitFor({ state: "detached" });
    assert.equal(stage.hythe(keys, "get", "keys").status, NOT_FOUND);
    await until("the focus is in the page", async () => !(await visit.focused()).startsWith("body"));
    assert.equal(await visit.focused(), "#filter");
    await page.getByLabel("Filter").fill("");
    const first = page.locator("#rows tbody tr").first().locator("button");
    await first.focus();
    await page.keyboard.press("ArrowDown");
    assert.equal(await visit.focused(), `button ${await page.locator("#rows tbody .port button").nth(1).textContent()}`);
  });

  await test("events can be paused, and a flood is not read out", { server }, async (visit) => {
    const { page } = visit;
    const log = page.getByRole("log");
    await page.locator("#connection[data-state=live]").waitFor();
    await page.locator("#log[aria-live=polite]").waitFor();
    await page.getByRole("button", { name: "Pause" }).click();
    const port = stage.reserve(blog, "paused");
    await page.getByText("paused, 1 event waiting").waitFor();
    assert.equal(await log.locator("li", { hasText: String(port) }).count(), 0);
    await page.getByRole("button", { name: "Pause" }).click();
    await log.locator("li", { hasText: String(port) }).waitFor();

    await page.locator("#log[aria-live=polite]").waitFor();
    stage.hythe(blog, "reserve", "a", "b", "c", "d", "e", "f", "g");
    await page.locator("#log[aria-live=off]").waitFor();
    await page.locator("#log[aria-live=polite]").waitFor();
    stage.hythe(blog, "release", "--all");
    await visit.row(port).waitFor({ state: "detached" });
  });

  return { web, api, shop };
}
