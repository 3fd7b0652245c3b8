// Drives a real browser through the dashboard of a real `hythe serve`.
//
//     npm ci && HYTHE=../../target/release/hythe node dashboard.mjs
//
// CHROMIUM names another browser than /usr/bin/chromium, SCREENSHOTS a directory for pictures.

import { testBehaviour } from "./behaviour.mjs";
import { testLooks } from "./looks.mjs";
import { Stage } from "./stage.mjs";
import { testToken } from "./token.mjs";

const { HYTHE, SCREENSHOTS } = process.env;
if (!HYTHE) {
  console.error("HYTHE does not say which binary to test\nhint: HYTHE=../../target/release/hythe node dashboard.mjs");
  process.exit(2);
}

const stage = new Stage({ binary: HYTHE, screenshots: SCREENSHOTS });
const failures = [];

/** Runs a test with a page of its own, and goes on when it fails. */
async function test(name, { server, settings }, play) {
  const begun = performance.now();
  let visit = null;
  try {
    visit = await stage.visit(server.base, settings);
    await play(visit);
    await visit.leave();
    console.log(`ok      ${name} (${Math.round(performance.now() - begun)} ms)`);
  } catch (error) {
    await visit?.screenshot(`failed-${failures.length + 1}`).catch(() => {});
    for (const wrong of visit?.wrongs ?? []) console.log(`        ${wrong}`);
    await visit?.leave().catch(() => {});
    failures.push(name);
    console.log(`FAILED  ${name}\n${error.stack ?? error}`);
  }
}

try {
  const server = await stage.serve();
  const scene = await testBehaviour(stage, server, test);
  await testLooks(stage, server, test, scene);
  // There is one server for a ledger.
  await server.stop();
  await testToken(stage, test, scene.web);
} catch (error) {
  failures.push("what the tests need");
  console.log(error.stack ?? error);
} finally {
  await stage.strike();
}
if (failures.length > 0) {
  console.error(`${failures.length} failed: ${failures.join("; ")}`);
  process.exit(1);
}
console.log("the dashboard does what it should");
