// Logging in to a real registry with passwords, and what docker's and podman's side of the files makes of it.
import assert from 'node:assert/strict';
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
  const transcript = join(place.dir.path, 'typescript');
  // Every character is typed once the terminal asks for it: script passes on what it reads.
  const typed = `(sleep 1; printf 'somx\\177eone\\r'; sleep 1; printf '%s\\r' '${account.password}'; sleep 1)`;
  await runTool('sh', ['-c', `${typed} | script -qec '${command}' ${transcript}`], { env: place.env });
  const shown = readFileSync(transcript, 'utf8');
  assert.match(shown, /Username: som/);
  assert.match(shown, /logged in to .* as someone/);
  assert.doesNotMatch(shown, /5ecret/);
});

test('login: without a terminal, what to give instead is said', async () => {
  const { stderr } = await runTool('setsid', ['-w', process.execPath, NAIAD, 'login', 'h.x'], { okay: [2] });
  assert.match(stderr, /no terminal.*\n.*--password-stdin/);
});
