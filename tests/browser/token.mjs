// What the dashboard does when its server asks for a token, and when it goes away.

import assert from "node:assert/strict";

/** Tests it with a server of its own; `web` is a port that is reserved. */
export async function testToken(stage, test, web) {
  const token = stage.file("token", "a-secret-of-some-length-0123456789\n");
  const server = await stage.serve("--token-file", token);

  await test("the token is asked for, and kept in the tab", { server }, async (visit) => {
    const { page } = visit;
    visit.tolerate(401);
    const dialog = page.locator("#token");
    await dialog.waitFor();
    await visit.assertAccessible("the token dialog");
    await visit.screenshot("token");
    await page.keyboard.type("wrong");
    await page.keyboard.press("Enter");
    await dialog.getByText("was not accepted").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Enter the token…" }).click();
    await dialog.getByLabel("Token").fill("a-secret-of-some-length-0123456789");
    await page.keyboard.press("Enter");
    await visit.row(web).waitFor();
    await page.locator("#connection[data-state=live]").waitFor();
    assert.equal(await page.evaluate(() => localStorage.length), 0);
    assert.equal(await page.evaluate(() => document.cookie), "");
    assert.equal(await dialog.isVisible(), false);
  });

  await test("a server that goes away is said to be gone", { server }, async (visit) => {
    const { page } = visit;
    visit.tolerate(401);
    await page.locator("#token-input").fill("a-secret-of-some-length-0123456789");
    await page.keyboard.press("Enter");
    await page.locator("#connection[data-state=live]").waitFor();
    await visit.row(web).waitFor();
    await server.stop();
    await page.locator("#connection[data-state=waiting]").waitFor();
    await page.getByRole("alert").filter({ hasText: "does not answer" }).waitFor();
    assert.equal(await visit.row(web).isVisible(), true);
    // What the browser says of a server that is gone is not the page's doing.
    const gone = /ERR_(CONNECTION_REFUSED|CONNECTION_RESET|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE)/;
    assert.deepEqual(visit.wrongs.filter((wrong) => !gone.test(wrong)), []);
    visit.wrongs.length = 0;
  });
}
