import { execFile } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { forgetCredentials, saveCredentials } from './login.js';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-login-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const who = { username: 'someone', password: 'secret-word' };
const save = (host: string, file: string): Promise<string> =>
  saveCredentials(host, who, { environment: { REGISTRY_AUTH_FILE: file, HOME: folder } });
const hostsIn = (file: string): string[] =>
  Object.keys((JSON.parse(readFileSync(file, 'utf8')) as { auths: object }).auths).toSorted();

test('of many logins at once, by several processes, none is lost', async () => {
  const file = join(folder, 'auth.json');
  const login = new URL('../../../dist/registry/auth/login.js', import.meta.url).href;
  const program = `
    const { saveCredentials } = await import(${JSON.stringify(login)});
    const environment = { REGISTRY_AUTH_FILE: ${JSON.stringify(file)}, HOME: ${JSON.stringify(folder)} };
    for (let i = 0; i < 20; i++) await saveCredentials('host-' + process.argv.at(-1) + '-' + i + '.test', ${JSON.stringify(who)}, { environment });
  `;
  const run = promisify(execFile);
  const processes = ['a', 'b', 'c'].map((name) => run(process.execPath, ['--input-type=module', '-e', program, name]));
  const own = Array.from({ length: 20 }, (_, i) => save(`own-${i}.test`, file));
  await Promise.all([...processes, ...own]);
  expect(hostsIn(file).length).toBe(80);
  expect(readdirSync(folder)).toEqual(['auth.json']);
});

test('keys keep their order, and the file its mode, unless everybody could read it', async () => {
  const file = join(folder, 'config.json');
  for (const [before, after] of [
    [0o640, 0o640],
    [0o400, 0o400],
    [0o644, 0o600],
  ]) {
    rmSync(file, { force: true });
    const text =
      '{"HttpHeaders":{"b":"1","a":"2"},"auths":{"z.test":{"auth":"eDp5"},"a.test":{}},"detachKeys":"ctrl-x"}';
    writeFileSync(file, text, { mode: before });
    await save('new.test', file);
    const written = readFileSync(file, 'utf8');
    expect(statSync(file).mode & 0o777).toBe(after);
    expect(Object.keys(JSON.parse(written) as object)).toEqual(['HttpHeaders', 'auths', 'detachKeys']);
    expect(JSON.stringify(JSON.parse(written))).toBe(
      text.replace(
        '"a.test":{}',
        `"a.test":{},"new.test":{"auth":"${Buffer.from('someone:secret-word').toString('base64')}"}`,
      ),
    );
    await forgetCredentials('new.test', { environment: { REGISTRY_AUTH_FILE: file, HOME: folder } });
    expect(JSON.stringify(JSON.parse(readFileSync(file, 'utf8')))).toBe(text);
  }
});

test('a link stays, also one to a file, or a folder, that is not there yet; links without end are told', async () => {
  const [link, other] = [join(folder, 'config.json'), join(folder, 'other.json')];
  symlinkSync('other.json', link);
  symlinkSync('real/auth.json', other);
  await save('one.test', link);
  await save('two.test', link);
  for (const path of [link, other]) expect(lstatSync(path).isSymbolicLink()).toBe(true);
  expect(hostsIn(join(folder, 'real/auth.json'))).toEqual(['one.test', 'two.test']);
  mkdirSync(join(folder, 'round'));
  const [here, there] = [join(folder, 'round/here.json'), join(folder, 'round/there.json')];
  symlinkSync('there.json', here);
  symlinkSync('here.json', there);
  await expect(save('three.test', here)).rejects.toThrow(/link|ELOOP/);
});

test('what cannot be kept leaves the file as it was', async () => {
  const file = join(folder, 'auth.json');
  writeFileSync(file, '{"auths":{"a.test":{}}}');
  const colon = { username: 'a:b', password: 'c' };
  const environment = { REGISTRY_AUTH_FILE: file, HOME: folder };
  await expect(saveCredentials('b.test', colon, { environment })).rejects.toMatchObject({ code: 'invalid-argument' });
  expect(readFileSync(file, 'utf8')).toBe('{"auths":{"a.test":{}}}');
  expect(existsSync(`${file}.new`)).toBe(false);
});
