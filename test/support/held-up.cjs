// Loaded before a program (`node --require`): calls on files are held up now and then, at random, before or after they are made.
// What may happen between two calls of a process then does happen.
const fs = require('node:fs');
const { syncBuiltinESMExports } = require('node:module');

/** How many of a thousand calls. */
const OFTEN = Number(process.env['HELD_UP'] ?? 20);
const LONGEST = 120;
const CALLS =
  'closeSync existsSync fstatSync fsyncSync linkSync lstatSync mkdirSync mkdtempSync openSync readFileSync readdirSync ' +
  'renameSync rmSync rmdirSync statSync unlinkSync writeFileSync';
const cell = new Int32Array(new SharedArrayBuffer(4));

function holdUp() {
  if (Math.random() * 1000 < OFTEN) Atomics.wait(cell, 0, 0, Math.random() * LONGEST);
}

for (const name of CALLS.split(' ')) {
  const real = fs[name];
  fs[name] = Object.assign((...args) => {
    holdUp();
    try {
      return real(...args);
    } finally {
      holdUp();
    }
  }, real);
}
syncBuiltinESMExports();
