// Makes a component of by-pattern.js, with a JavaScript engine inside and without any import.

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { componentize } from 'componentize-qjs';

const file = (path) => fileURLToPath(new URL(path, import.meta.url));

// The contract, and the part of it that this plugin exports.
const contract = await readFile(file('../../wit/policy.wit'), 'utf8');
const world = 'world by-pattern { export info; export port-selection; }';
await mkdir(file('build'), { recursive: true });
await writeFile(file('build/by-pattern.wit'), `${contract}\n${world}\n`);

const { component } = await componentize({
  jsPath: file('by-pattern.js'),
  jsSource: await readFile(file('by-pattern.js'), 'utf8'),
  witPath: file('build/by-pattern.wit'),
  world: 'by-pattern',
  // What the engine would import becomes a trap.
  stubWasi: true,
  // Policies are not asynchronous.
  sync: true,
});
await writeFile(file('by-pattern.wasm'), component);
