import { CommanderError } from 'commander';
import { LayerfsError, type LayerfsErrorCode } from 'layerfs';
import { describe, expect, test } from 'vitest';
import { EXIT, explainError } from './errors.js';

const IMPORT = { command: 'import', task: 'import app.tar' };

test.each<[LayerfsErrorCode, number]>([
  ['not-found', 3],
  ['already-exists', 1],
  ['invalid-argument', 4],
  ['corrupt', 4],
  ['unimplemented', 4],
  ['permission-denied', 5],
  ['failed-precondition', 6],
  ['resource-exhausted', 1],
  ['unavailable', 1],
  ['aborted', 130],
  ['internal', 1],
])('%s ends with code %d', (code, exit) => expect(explainError(new LayerfsError(code, 'x')).exit).toBe(exit));

describe('the words', () => {
  const said = (message: string): string | undefined =>
    explainError(new LayerfsError('invalid-argument', message), IMPORT).message;
  test('say what could not be done, and why', () => {
    expect(said('it holds 2 images')).toBe('cannot import app.tar: it holds 2 images');
  });
  test('do not say it twice', () => {
    expect(said('importing app.tar: no space left')).toBe('cannot import app.tar: no space left');
    expect(said('Cannot mount app on /mnt: EIO')).toBe('cannot mount app on /mnt: EIO');
  });
  test('join sentences, and leave names alone', () => {
    expect(said('The mount point /mnt is not a folder')).toBe(
      'cannot import app.tar: the mount point /mnt is not a folder',
    );
    expect(said('FUSE is off')).toBe('cannot import app.tar: FUSE is off');
    expect(said('Linux 6.9 is needed')).toBe('cannot import app.tar: Linux 6.9 is needed');
    expect(said('README is no image')).toBe('cannot import app.tar: README is no image');
  });
  test('have no stack trace', () => {
    expect(said('x')).not.toContain('at ');
  });
});

test('what to do next depends on the command', () => {
  const busy = new LayerfsError('failed-precondition', '/mnt is in use by:\n  12 (sh): cwd /mnt');
  expect(explainError(busy, { command: 'unmount', task: 'unmount /mnt' }).hint).toMatch(/--lazy/);
  expect(explainError(busy, { command: 'tag', task: 'tag x' }).hint).toBeUndefined();
  expect(explainError(new LayerfsError('resource-exhausted', 'full'), IMPORT).hint).toMatch(/--root/);
  // The message says it already.
  expect(explainError(new LayerfsError('resource-exhausted', 'use --root'), IMPORT).hint).toBeUndefined();
});

test('errors of the system and of nobody', () => {
  const denied = Object.assign(new Error('EACCES: permission denied, open'), { code: 'EACCES', path: '/x' });
  expect(explainError(denied, IMPORT)).toEqual({
    message: 'cannot import app.tar: /x: permission denied',
    exit: EXIT.notPermitted,
  });
  expect(explainError(new TypeError('x is not a function'), IMPORT)).toMatchObject({ exit: EXIT.failed });
  expect(explainError('a string', IMPORT)).toEqual({ message: 'cannot import app.tar: a string', exit: EXIT.failed });
});

test('a closed pipe is quiet, also where the library wrapped it', () => {
  const pipe = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
  expect(explainError(pipe)).toEqual({ exit: EXIT.ok });
  expect(explainError(new LayerfsError('unavailable', 'exporting app: EPIPE', { cause: pipe }))).toEqual({
    exit: EXIT.ok,
  });
});

test('commander has printed its own: only the code is left', () => {
  expect(explainError(new CommanderError(1, 'commander.unknownOption', 'x'))).toEqual({ exit: EXIT.usage });
  expect(explainError(new CommanderError(0, 'commander.helpDisplayed', 'x'))).toEqual({ exit: EXIT.ok });
});
