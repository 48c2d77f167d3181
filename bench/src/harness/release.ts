/** What must not outlive a benchmark, however it ends: mounts, loop devices, servers, files. */
import { execFile } from 'node:child_process';

const pending: (() => void)[] = [];
let ready = false;

/**
 * Registers something to be undone, synchronously. It is done by the function that this returns, or else when the process
 * ends: also by an interrupt, the last registered first.
 */
export function onRelease(action: () => void): () => void {
  if (!ready) prepare();
  pending.push(action);
  return () => {
    const at = pending.lastIndexOf(action);
    if (at < 0) return;
    pending.splice(at, 1);
    action();
  };
}

function prepare(): void {
  ready = true;
  process.on('exit', () => {
    for (let action = pending.pop(); action !== undefined; action = pending.pop()) {
      try {
        action();
      } catch (error) {
        // The others are undone all the same.
        console.error(error);
        process.exitCode = 1;
      }
    }
  });
  // Programs that are waited for get a terminal's interrupt, too, and end.
  // A second one (npm hands on what the terminal has sent to all) must not end what is being undone.
  process.on('SIGINT', () => process.exit(130));
  process.on('SIGTERM', () => process.exit(143));
}

/** Runs a program to its end while others run, and gives its output; an interrupt ends it, too. @throws Error with its words */
export async function runBeside(program: string, ...args: string[]): Promise<string> {
  let release: (() => void) | undefined;
  try {
    return await new Promise((resolve, reject) => {
      const child = execFile(program, args, (error, stdout) => (error === null ? resolve(stdout) : reject(error)));
      release = onRelease(() => void child.kill());
    });
  } finally {
    release?.();
  }
}

/** Lets an interrupt that came while a program was waited for take effect. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
