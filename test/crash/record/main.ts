/** `main.js FOLDER MOUNTPOINT LOG`: serves a recorder until it is unmounted. Says `ready` once it does. */
import { writeSync } from 'node:fs';
import { Connection, Loop, mountKernel, mountWithHelper } from '@layerfs/fuse';
import { Recorder } from './recorder.js';

const [folder, mountpoint, log] = process.argv.slice(2);
const options = { mountpoint, fsname: 'recorder', subtype: 'recorder' };
const fd = process.geteuid?.() === 0 ? mountKernel(options) : await mountWithHelper(options);
const loop = new Loop();
loop.add(
  new Connection(fd, new Recorder(folder, log), {
    onError: (error, opcode) => process.stderr.write(`${opcode}: ${String(error)}\n`),
  }),
);
writeSync(1, 'ready\n');
loop.run();
