import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import { expectErrno } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import { bindUnix, connectUnix, listen } from '../../harness/sockets.js';
import { OTHER, OWNER, asUser, withUmask } from '../../harness/users.js';

export const sockets = new Family('unix sockets');
const { add } = sockets;

add('bind makes a name, by the umask, that unlink removes', { prepare: () => folder('d') }, () => {
  const fd = withUmask(0o027, () => bindUnix('d/s'));
  const s = sys.lstat('d/s');
  assert.deepEqual([s.type, s.perm, s.size], [sys.S.SOCK, 0o750, 0]);
  sys.close(fd);
  assert.deepEqual(sys.names('d'), ['s']);
  sys.unlink('d/s');
  assert.deepEqual(sys.names('d'), []);
});

add('bind over a name is EADDRINUSE', { prepare: () => (file('x'), sys.symlink('no', 'l')) }, () => {
  for (const name of ['x', 'l']) expectErrno('EADDRINUSE', () => bindUnix(name));
  sys.close(bindUnix('s'));
  expectErrno('EADDRINUSE', () => bindUnix('s'));
});

add('connect finds who listens, also under another name', {}, () => {
  const server = bindUnix('s');
  listen(server);
  sys.close(connectUnix('s'));
  sys.link('s', 'hard');
  sys.symlink('s', 'soft');
  sys.rename('s', 't');
  sys.close(connectUnix('t'));
  sys.close(connectUnix('hard'));
  expectErrno('ENOENT', () => connectUnix('soft'));
  sys.chmod('t', 0o700);
  sys.close(connectUnix('t'));
  sys.close(server);
});

add('connect where nobody listens is ECONNREFUSED', { prepare: () => file('x') }, () => {
  sys.close(bindUnix('s'));
  expectErrno('ECONNREFUSED', () => connectUnix('s'));
  expectErrno('ECONNREFUSED', () => connectUnix('x'));
  expectErrno('ENOENT', () => connectUnix('no'));
});

add('connect needs the write bit', { root: true }, () => {
  const server = bindUnix('s');
  listen(server);
  sys.chown('s', OWNER.uid, OWNER.gid);
  sys.chmod('s', 0o755);
  asUser(OTHER, () => expectErrno('EACCES', () => connectUnix('s')));
  asUser(OWNER, () => sys.close(connectUnix('s')));
  sys.chmod('s', 0o722);
  asUser(OTHER, () => sys.close(connectUnix('s')));
  sys.close(server);
});

add('bind needs a folder one may write to', { root: true, prepare: () => folder('d', { owner: OWNER }) }, () => {
  asUser(OTHER, () => expectErrno('EACCES', () => bindUnix('d/s')));
  asUser(OWNER, () => sys.close(bindUnix('d/s')));
  assert.equal(sys.lstat('d/s').uid, OWNER.uid);
});
