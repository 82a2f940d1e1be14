// Logging in to a real registry with passwords, and what docker's and podman's side of the files makes of it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { credentialHelper } from '../support/credential-helper.ts';
import { NAIAD } from '../support/naiad.ts';
import { every, program } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { bcrypt, dockerRegistry, startDockerRegistry } from '../support/servers.ts';
import { smallImage, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';

const account = { user: 'someone', password: 'pass:word-5ecret' };

/** A home of its own, a registry that wants passwords, and an image in a layout. */
async function setUp() {
  const dir = temporaryDir('login');
  const registry = await startDockerRegistry({ account });
  const home = join(dir.path, 'home');
  mkdirSync(join(home, '.docker'), { recursive: true });
  mkdirSync(join(dir.path, 'run'));
  writeSmallLayout(join(dir.path, 'layout'), await smallImage([{ hello: 'world' }]), 'v1');
  const { REGISTRY_AUTH_FILE: _, DOCKER_CONFIG: __, ...others } = process.env;
  const env = { ...others, HOME: home, XDG_RUNTIME_DIR: join(dir.path, 'run') };
  const naiad = (args: readonly string[], options: { input?: string; okay?: number[]; path?: string } = {}) => {
    const { path, ...rest } = options;
    return runTool(process.execPath, [NAIAD, ...args], { ...rest, env: { ...env, ...(path ? { PATH: path } : {}) } });
  };
  return {
    ...{ dir, registry, env, naiad },
    config: join(home, '.docker', 'config.json'),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      dir[Symbol.dispose]();
    },
  };
}

const needs = every(dockerRegistry(), bcrypt(), program('skopeo'));
const LOGIN = ['login', '-u', account.user, '--password-stdin'];

test('login: skopeo pushes with what naiad kept, naiad pulls with what skopeo kept', needs, async () => {
  await using place = await setUp();
  const { host } = place.registry;
  const { stdout } = await place.naiad([...LOGIN, host], { input: `${account.password}\n` });
  assert.match(stdout, new RegExp(`logged in to ${host} as someone, kept in ${place.config}`));
  assert.equal(statSync(place.config).mode & 0o777, 0o600);
  const image = `docker://${host}/a/b:v1`;
  const skopeo = (...args: string[]) => runTool('skopeo', ['--insecure-policy', ...args], { env: place.env });
  await skopeo('copy', '--dest-tls-verify=false', `oci:${place.dir.path}/layout:v1`, image);
  await place.naiad(['inspect', image]);

  const out = await place.naiad(['logout', host]);
  assert.match(out.stdout, /removed from/);
  const denied = await place.naiad(['inspect', image], { okay: [11] });
  assert.match(denied.stderr, new RegExp(`no credentials were sent .*\\n.*naiad login ${host}`));

  await skopeo('login', '--tls-verify=false', '-u', account.user, '-p', account.password, host);
  await place.naiad(['inspect', image]);
  // Logging out leaves podman's file alone, and says so.
  const still = await place.naiad(['logout', host]);
  assert.match(still.stderr, /auth\.json still has credentials/);
});

/** Other clients: how they log in, and what they ask a registry with the credentials they find. */
const CLIENTS = [
  {
    name: 'docker',
    login: ['login'],
    ask: (host: string) => ['manifest', 'inspect', '--insecure', `${host}/a/b:v1`],
  },
  {
    name: 'podman',
    login: ['login', '--tls-verify=false'],
    ask: (host: string) => ['login', '--tls-verify=false', host],
  },
] as const;

for (const { name, login, ask } of CLIENTS) {
  test(`login: ${name} finds what naiad kept, naiad what ${name} kept`, every(needs, program(name)), async () => {
    await using place = await setUp();
    const { host } = place.registry;
    const input = account.password;
    const run = (args: readonly string[], options: { input?: string } = {}) =>
      runTool(name, args, { ...options, env: place.env });
    await place.naiad([...LOGIN, host], { input });
    await place.naiad(['copy', `oci:${place.dir.path}/layout:v1`, `${host}/a/b:v1`]);
    await run(ask(host));
    await place.naiad(['logout', host]);
    await assert.rejects(run(ask(host)));
    await place.naiad(['tags', `${host}/a/b`], { okay: [11] });

    await run([...login, '-u', account.user, '--password-stdin', host], { input });
    assert.equal((await place.naiad(['tags', `${host}/a/b`])).stdout, 'v1\n');
    await run(['logout', host]);
    await place.naiad(['tags', `${host}/a/b`], { okay: [11] });
  });
}

test(
  'login: podman and naiad keep passwords for a path of a registry alike',
  every(needs, program('podman')),
  async () => {
    await using place = await setUp();
    const { host } = place.registry;
    const podman = (...args: string[]) => runTool('podman', args, { input: account.password, env: place.env });
    await podman('login', '--tls-verify=false', '-u', account.user, '--password-stdin', `${host}/team`);
    await place.naiad(['copy', `oci:${place.dir.path}/layout:v1`, `${host}/team/a:v1`]);
    await place.naiad(['tags', `${host}/other/a`], { okay: [11] });
    await podman('logout', `${host}/team`);
    await place.naiad([...LOGIN, `${host}/team`], { input: account.password });
    assert.equal((await podman('login', '--get-login', `${host}/team`)).stdout, `${account.user}\n`);
  },
);

test('login: docker and naiad use the same helper', every(needs, program('docker')), async () => {
  await using place = await setUp();
  const { host } = place.registry;
  const { name, path, kept } = credentialHelper(place.dir.path);
  mkdirSync(join(place.config, '..'), { recursive: true });
  writeFileSync(place.config, JSON.stringify({ credsStore: name }));
  const docker = (args: readonly string[], input = '') =>
    runTool('docker', args, { input, env: { ...place.env, PATH: path } });
  await docker(['login', '-u', account.user, '--password-stdin', host], account.password);
  assert.equal(kept()[host]?.Username, account.user);
  await place.naiad(['copy', `oci:${place.dir.path}/layout:v1`, `${host}/a:v1`], { path });
  await place.naiad(['logout', host], { path });
  await place.naiad([...LOGIN, host], { input: account.password, path });
  await docker(['manifest', 'inspect', '--insecure', `${host}/a:v1`]);
});

test('login: a password the registry refuses is not kept, and shown nowhere', needs, async () => {
  await using place = await setUp();
  const refused = await place.naiad([...LOGIN, place.registry.host], { input: 'wr0ng-pa55', okay: [11] });
  assert.match(refused.stderr, /ACCESS_DENIED.*401/);
  assert.doesNotMatch(refused.stderr, /wr0ng/);
  assert.throws(() => readFileSync(place.config), { code: 'ENOENT' });
});

test('login: docker’s helper keeps the password where one is configured', needs, async () => {
  await using place = await setUp();
  const { host } = place.registry;
  const helper = credentialHelper(place.dir.path);
  writeFileSync(place.config, JSON.stringify({ credsStore: helper.name }));
  const { path } = helper;
  await place.naiad([...LOGIN, host], { input: account.password, path });
  assert.deepEqual(helper.kept(), { [host]: { Username: account.user, Secret: account.password } });
  assert.doesNotMatch(readFileSync(place.config, 'utf8'), /auth/);
  const missing = await place.naiad(['inspect', `${host}/a/b:v1`], { path, okay: [10] });
  assert.match(missing.stderr, /IMAGE_NOT_FOUND/);
  await place.naiad(['logout', host], { path });
  assert.deepEqual(helper.kept(), {});
});

test('login: asks on the terminal, and does not show the password', every(needs, program('script')), async () => {
  await using place = await setUp();
  const command = `${process.execPath} ${NAIAD} login ${place.registry.host}`;
  const child = spawn('script', ['-qec', command, '/dev/null'], { env: place.env, stdio: ['pipe', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  let shown = '';
  const answers = [
    { to: 'Username: ', typed: 'somx\x7feone\r' },
    { to: 'Password: ', typed: `${account.password}\r` },
  ];
  // Each is typed once the terminal asks for it. script ends with its input, so that stays open.
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
    const [next] = answers;
    if (next && shown.includes(next.to)) child.stdin.write(answers.shift()?.typed);
  });
  const [code] = await closed;
  assert.equal(code, 0, shown);
  assert.match(shown, /Username: som/);
  assert.match(shown, /logged in to .* as someone/);
  assert.doesNotMatch(shown, /5ecret/);
});

test('login: without a terminal, what to give instead is said', async () => {
  const { stderr } = await runTool('setsid', ['-w', process.execPath, NAIAD, 'login', 'h.x'], { okay: [2] });
  assert.match(stderr, /no terminal.*\n.*--password-stdin/);
});
