/** `layerfs login` and `logout`: where credentials are kept, and that they show nowhere. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { CLI, layerfs, type CliResult } from '../support/cli.js';
import { missing, need } from '../support/needs.js';
import {
  IDENTITY_TOKEN,
  makeCertificate,
  serveTokens,
  TestRegistry,
  USER,
  type Certificate,
} from '../support/registry.js';
import { scratchFolder } from '../support/scratch.js';

const here = missing('docker-registry', 'openssl') === undefined;
const ENTRY = Buffer.from(`${USER.name}:${USER.password}`).toString('base64');
const SECRETS = new RegExp(`${USER.password}|${ENTRY}|${IDENTITY_TOKEN}|wrong-word`);

let registry: TestRegistry;
let certificate: Certificate;
let tokens: Awaited<ReturnType<typeof serveTokens>>;
let tokenRegistry: TestRegistry;
let shared: string;
let work: string;

beforeAll(async () => {
  if (!here) return;
  shared = scratchFolder('layerfs-login-');
  certificate = await makeCertificate(shared);
  tokens = await serveTokens(certificate);
  registry = await TestRegistry.start({ password: true });
  tokenRegistry = await TestRegistry.start({ tokens: { realm: tokens.realm, cert: certificate.cert } });
});

afterAll(async () => {
  if (!here) return;
  await registry.stop();
  await tokenRegistry.stop();
  tokens.server.closeAllConnections();
  tokens.server.close();
  rmSync(shared, { recursive: true, force: true });
});

beforeEach((context) => {
  need(context, 'docker-registry', 'openssl');
  work = scratchFolder('layerfs-login-');
});

afterEach(() => {
  if (here) rmSync(work, { recursive: true, force: true });
});

/** Nothing of this machine's own credentials. */
function environment(more: Record<string, string> = {}): Record<string, string> {
  const runtime = join(work, 'runtime');
  mkdirSync(runtime, { recursive: true });
  return {
    HOME: work,
    XDG_RUNTIME_DIR: runtime,
    XDG_CONFIG_HOME: '',
    DOCKER_CONFIG: '',
    DOCKER_AUTH_CONFIG: '',
    REGISTRY_AUTH_FILE: '',
    PATH: `${work}:${process.env['PATH']}`,
    ...more,
  };
}

async function call(args: string[], more: Record<string, string> = {}, input = ''): Promise<CliResult> {
  const result = await layerfs(args, { env: environment(more), input: Buffer.from(input) });
  expect(result.stdout + result.stderr).not.toMatch(SECRETS);
  return result;
}

const login = (host: string, more: Record<string, string> = {}, password = `${USER.password}\n`): Promise<CliResult> =>
  call(['login', host, '--username', USER.name, '--password-stdin'], more, password);

const may = async (host: string, more: Record<string, string> = {}): Promise<boolean> =>
  (await call(['tags', `${host}/private/app`], more)).code !== 5;

const json = (path: string): Record<string, unknown> =>
  JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;

/** A helper that keeps what it is given, and writes down how it was called. */
function makeHelper(name: string): { kept: string; log: () => string } {
  const kept = join(work, `${name}.kept`);
  const log = join(work, `${name}.log`);
  const script = `#!/bin/sh
echo "$@" >> ${log}
case $1 in
  store) cat > ${kept} ;;
  get) cat > /dev/null; [ -s ${kept} ] && exec cat ${kept}; echo 'credentials not found in native keychain'; exit 1 ;;
  erase) cat > /dev/null; rm ${kept} ;;
esac
`;
  writeFileSync(join(work, `docker-credential-${name}`), script);
  chmodSync(join(work, `docker-credential-${name}`), 0o755);
  return { kept, log: () => readFileSync(log, 'utf8') };
}

test('a password that the registry takes is kept, for its owner alone; a wrong one is not', async () => {
  const file = join(work, 'runtime/containers/auth.json');
  const wrong = await login(registry.host, {}, 'wrong-word');
  expect([wrong.code, existsSync(file)]).toEqual([5, false]);
  expect(await may(registry.host)).toBe(false);
  expect(await login(registry.host)).toMatchObject({
    code: 0,
    stderr: '',
    stdout: expect.stringContaining(file) as string,
  });
  expect(json(file)).toEqual({ auths: { [registry.host]: { auth: ENTRY } } });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(await may(registry.host)).toBe(true);
  // What was right before stays when somebody mistypes.
  expect((await login(registry.host, {}, 'wrong-word')).code).toBe(5);
  expect(await may(registry.host)).toBe(true);
  expect((await call(['logout', registry.host])).code).toBe(0);
  expect(json(file)).toEqual({ auths: {} });
  expect(await may(registry.host)).toBe(false);
  expect((await call(['logout', registry.host])).code).toBe(3);
});

test('the tools’ variables name the file; what else is in it stays, and a link to it too', async () => {
  const named = { REGISTRY_AUTH_FILE: join(work, 'named.json') };
  expect((await login(registry.host, named)).code).toBe(0);
  expect(json(named.REGISTRY_AUTH_FILE)).toEqual({ auths: { [registry.host]: { auth: ENTRY } } });
  const docker = { DOCKER_CONFIG: join(work, 'docker') };
  mkdirSync(docker.DOCKER_CONFIG);
  const other = { auths: { 'other.test': { auth: 'eDp5' } }, detachKeys: 'ctrl-x' };
  writeFileSync(join(work, 'real.json'), JSON.stringify(other), { mode: 0o644 });
  symlinkSync('../real.json', join(docker.DOCKER_CONFIG, 'config.json'));
  expect((await login(registry.host, docker)).code).toBe(0);
  expect(lstatSync(join(docker.DOCKER_CONFIG, 'config.json')).isSymbolicLink()).toBe(true);
  expect(json(join(work, 'real.json'))).toEqual({
    ...other,
    auths: { ...other.auths, [registry.host]: { auth: ENTRY } },
  });
  expect(statSync(join(work, 'real.json')).mode & 0o777).toBe(0o600);
  expect(await may(registry.host, docker)).toBe(true);
  expect((await call(['logout', registry.host], docker)).code).toBe(0);
  expect(json(join(work, 'real.json'))).toEqual(other);
  const broken = { REGISTRY_AUTH_FILE: join(work, 'broken.json') };
  writeFileSync(broken.REGISTRY_AUTH_FILE, `{"auths": "${USER.password}`);
  const refused = await login(registry.host, broken);
  expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining('broken.json')]);
});

test.each([
  ['credsStore', (host: string) => ({ credsStore: 'vault', auths: { [host]: {} } })],
  ['credHelpers', (host: string) => ({ credHelpers: { [host]: 'vault' } })],
])('%s: the helper keeps it, and no file does', async (_, config) => {
  const helper = makeHelper('vault');
  const docker = { DOCKER_CONFIG: join(work, 'docker') };
  const file = join(docker.DOCKER_CONFIG, 'config.json');
  mkdirSync(docker.DOCKER_CONFIG);
  writeFileSync(file, JSON.stringify(config(registry.host)));
  const before = readFileSync(file, 'utf8');
  expect(await login(registry.host, docker)).toMatchObject({ code: 0 });
  expect(readFileSync(file, 'utf8')).toBe(before);
  expect(json(helper.kept)).toEqual({ ServerURL: registry.host, Username: USER.name, Secret: USER.password });
  expect(await may(registry.host, docker)).toBe(true);
  expect((await call(['logout', registry.host], docker)).code).toBe(0);
  expect(existsSync(helper.kept)).toBe(false);
  expect(await may(registry.host, docker)).toBe(false);
  expect(helper.log()).toMatch(/^store\n(?:get\n)+erase\n(?:get\n)+$/);
  // A helper that fails: its words may show what it was given.
  writeFileSync(join(work, 'docker-credential-vault'), '#!/bin/sh\ncat; cat >&2; exit 7\n');
  expect((await login(registry.host, docker)).code).toBe(1);
});

test('tokens: a password is tried at the token server; identity tokens get others', async () => {
  await call(['logout', tokenRegistry.host]);
  expect((await login(tokenRegistry.host, {}, 'wrong-word')).code).toBe(5);
  expect((await login(tokenRegistry.host)).code).toBe(0);
  expect(await may(tokenRegistry.host)).toBe(true);
  expect((await call(['logout', tokenRegistry.host])).code).toBe(0);
  expect(await may(tokenRegistry.host)).toBe(false);
  const named = { REGISTRY_AUTH_FILE: join(work, 'named.json') };
  const save = (token: string): void =>
    writeFileSync(
      named.REGISTRY_AUTH_FILE,
      JSON.stringify({ auths: { [tokenRegistry.host]: { identitytoken: token } } }),
    );
  save(IDENTITY_TOKEN);
  expect(await may(tokenRegistry.host, named)).toBe(true);
  save('wrong-word');
  expect(await may(tokenRegistry.host, named)).toBe(false);
  const helper = makeHelper('tokens');
  writeFileSync(helper.kept, JSON.stringify({ Username: '<token>', Secret: IDENTITY_TOKEN }));
  writeFileSync(named.REGISTRY_AUTH_FILE, JSON.stringify({ credsStore: 'tokens' }));
  expect(await may(tokenRegistry.host, named)).toBe(true);
});

test('at a terminal it asks, and the password is not shown', async (context) => {
  need(context, 'script');
  const command = `'${process.execPath}' '${CLI}' login ${registry.host}`;
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    env: { ...process.env, ...environment(), SHELL: '/bin/sh' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let shown = '';
  const answers: [RegExp, string][] = [
    [/User: $/, `${USER.name}x\u007f\r`],
    [/Password: $/, `${USER.password}é\u007f\r`],
  ];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
    if (answers.length > 0 && answers[0][0].test(shown)) child.stdin.write(answers.shift()?.[1] ?? '');
  });
  const [code] = (await once(child, 'close')) as [number];
  expect(shown).toMatch(new RegExp(`^User: ${USER.name}`));
  expect(shown).not.toMatch(SECRETS);
  expect([code, shown]).toEqual([0, expect.stringContaining('logged in')]);
  expect(await may(registry.host)).toBe(true);
});

test('what is no registry, or nobody to ask', async () => {
  expect((await call(['login', 'not a host', '-u', 'x', '--password-stdin'], {}, 'x')).code).toBe(4);
  expect((await call(['login', registry.host, '-u', 'a:b', '--password-stdin'], {}, 'x')).code).toBe(4);
  expect((await call(['login', registry.host, '-u', 'a', '--password-stdin'])).code).toBe(4);
  const nobody = await call(['login', registry.host, '-u', 'a']);
  expect([nobody.code, nobody.stderr]).toEqual([4, expect.stringContaining('--password-stdin')]);
  // There is no option that would show it to all who list processes.
  expect((await call(['login', registry.host, '-u', 'a', '--password', 'wrong-word'])).code).toBe(2);
});
