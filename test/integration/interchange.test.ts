// What naiad pushes, other clients read; what they push, naiad converts. A converted image is moved by everyone who does not
// unpack; whoever unpacks without knowing its layers says so.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startRegistry } from '../../src/registry-server/start.ts';
import { copyReference } from '../../src/transport/copy.ts';
import { containerd, startContainerd } from '../support/containerd.ts';
import { type NaiadHome, naiadHome } from '../support/naiad.ts';
import { every, program, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { dockerRegistry, startDockerRegistry, type TestRegistry } from '../support/servers.ts';
import { noise, type SmallImage, smallImage, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';

const needs = dockerRegistry();
const podman = every(needs, root(), program('podman'));
const buildah = every(needs, root(), program('buildah'));

let scratch: ReturnType<typeof temporaryDir>;
let registry: TestRegistry;
let naiad: NaiadHome;
let image: SmallImage;

/** `app:v1` as it is and `app:naiad`, converted, are in the registry. */
before(async () => {
  if (needs.skip !== false) return;
  scratch = temporaryDir('interchange');
  registry = await startDockerRegistry();
  naiad = naiadHome(join(scratch.path, 'home'));
  image = await smallImage([{ 'hello.txt': 'hello' }, { large: noise(300_000) }]);
  writeSmallLayout(join(scratch.path, 'layout'), image, 'v1');
  await naiad.run(['copy', `oci:${scratch.path}/layout:v1`, at('app:v1')]);
  await naiad.run(['convert', '--quiet', at('app:v1'), at('app:naiad')]);
});

after(async () => {
  await naiad?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
  scratch?.[Symbol.dispose]();
});

const at = (name: string) => `${registry.host}/${name}`;

/** podman or buildah over a store that is the test's own. */
function containers(tool: 'podman' | 'buildah', args: readonly string[], okay: readonly number[] = [0]) {
  const store = ['root', 'runroot'].flatMap((name) => [`--${name}`, join(scratch.path, 'containers', name)]);
  return runTool(tool, [...store, '--storage-driver', 'vfs', ...args], { okay });
}

/** Converts what another client pushed, and reads a file of it. */
async function assertConverts(pushed: string): Promise<void> {
  await naiad.run(['convert', '--quiet', pushed, at('converted:v1')]);
  const { stdout } = await naiad.run(['cat', at('converted:v1'), '/hello.txt']);
  assert.equal(stdout, 'hello');
}

test('interchange: podman pulls a copy and pushes it as docker’s kind of image', podman, async () => {
  const pulled = await containers('podman', ['pull', '--quiet', '--tls-verify=false', at('app:v1')]);
  assert.equal(`sha256:${pulled.stdout.trim()}`, image.config.descriptor.digest);
  const push = ['push', '--quiet', '--tls-verify=false', '--format', 'v2s2'];
  await containers('podman', [...push, at('app:v1'), `docker://${at('podman:v2s2')}`]);
  assert.match((await naiad.run(['inspect', at('podman:v2s2')])).stdout, /vnd\.docker\.distribution\.manifest\.v2/);
  await assertConverts(at('podman:v2s2'));
});

test('interchange: podman does not unpack a converted image, and leaves it where it is', podman, async () => {
  const pull = ['pull', '--quiet', '--tls-verify=false', at('app:naiad')];
  const refused = await containers('podman', pull, [125]);
  assert.match(refused.stderr, /writing blob/);
});

test('interchange: buildah builds on a copy, naiad converts what comes out', buildah, async () => {
  const from = await containers('buildah', ['from', '--quiet', '--tls-verify=false', at('app:v1')]);
  const container = from.stdout.trim();
  writeFileSync(join(scratch.path, 'added'), 'by buildah');
  await containers('buildah', ['add', '--quiet', container, join(scratch.path, 'added'), '/added.txt']);
  const commit = ['commit', '--quiet', '--tls-verify=false', container, `docker://${at('buildah:v1')}`];
  await containers('buildah', commit);
  await containers('buildah', ['rm', container]);
  await assertConverts(at('buildah:v1'));
  assert.equal((await naiad.run(['cat', at('converted:v1'), '/added.txt'])).stdout, 'by buildah');
});

test('interchange: skopeo moves a converted image, and naiad a docker-format one of skopeo', {
  ...every(needs, program('skopeo')),
}, async () => {
  const skopeo = (...args: string[]) => runTool('skopeo', ['--insecure-policy', 'copy', '--quiet', ...args]);
  const [from, to] = ['--src-tls-verify=false', '--dest-tls-verify=false'];
  await skopeo('--preserve-digests', from, to, `docker://${at('app:naiad')}`, `docker://${at('moved:naiad')}`);
  const digest = async (name: string) =>
    (await naiad.json<{ manifest: { digest: string } }>(['inspect', at(name)])).manifest.digest;
  assert.equal(await digest('moved:naiad'), await digest('app:naiad'));
  assert.equal((await naiad.run(['cat', at('moved:naiad'), '/hello.txt'])).stdout, 'hello');
  await skopeo('--format', 'v2s2', from, to, `docker://${at('app:v1')}`, `docker://${at('skopeo:v2s2')}`);
  await assertConverts(at('skopeo:v2s2'));
});

test('interchange: one tag for both kinds: podman and skopeo take the original, naiad the converted one', {
  ...every(podman, program('skopeo')),
}, async () => {
  const both = at('both:v1');
  await naiad.run(['copy', '--quiet', at('app:v1'), both]);
  await naiad.run(['convert', '--quiet', '--with-original', both, both]);
  const pulled = await containers('podman', ['pull', '--quiet', '--tls-verify=false', both]);
  assert.equal(`sha256:${pulled.stdout.trim()}`, image.config.descriptor.digest);
  const inspected = await runTool('skopeo', ['inspect', '--tls-verify=false', '--config', '--raw', `docker://${both}`]);
  assert.equal(inspected.stdout, image.config.bytes.toString());
  assert.equal((await naiad.run(['cat', both, '/hello.txt'])).stdout, 'hello');
  assert.match((await naiad.run(['convert', '--with-original', both, both])).stdout, /^nothing to do/);
});

test('interchange: containerd unpacks a copy, moves a converted image, reads the same hosts.toml', {
  ...every(needs, containerd()),
}, async () => {
  await using daemon = await startContainerd();
  const native = ['--snapshotter', 'native'];
  const pull = ['images', 'pull', '--plain-http', ...native];
  await daemon.ctr([...pull, at('app:v1')]);
  // An index of both kinds: the original is what it unpacks.
  await naiad.run(['convert', '--quiet', '--with-original', at('app:v1'), at('containerd:both')]);
  await daemon.ctr([...pull, at('containerd:both')]);
  await daemon.ctr(['images', 'push', '--plain-http', at('containerd:v1'), at('app:v1')]);
  await assertConverts(at('containerd:v1'));

  // Not unpacked, because no processor knows the layers; fetched and pushed without a change all the same.
  await assert.rejects(daemon.ctr([...pull, at('app:naiad')]), /nydus\.blob\.v1: no processor for media-type/);
  await daemon.ctr(['content', 'fetch', '--plain-http', at('app:naiad')]);
  await daemon.ctr(['images', 'push', '--plain-http', at('containerd:naiad'), at('app:naiad')]);
  await naiad.run(['check', at('containerd:naiad')]);

  const hosts = join(scratch.path, 'certs.d');
  mkdirSync(join(hosts, 'registry.test'), { recursive: true });
  await using mirror = await startRegistry({ root: join(scratch.path, 'mirror'), host: '127.0.0.1', port: 0 });
  await copyReference(at('app:v1'), `${mirror.host}/app:v1`, {});
  writeFileSync(
    join(hosts, 'registry.test', 'hosts.toml'),
    `server = "${registry.url}"\n[host."${mirror.url}/v2"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n`,
  );
  const asked = () => mirror.stats().requests.manifest;
  const before = asked();
  await daemon.ctr(['images', 'pull', '--hosts-dir', hosts, ...native, 'registry.test/app:v1']);
  const between = asked();
  assert.ok(between > before);
  await naiad.run(['inspect', '--certs-dir', hosts, 'registry.test/app:v1']);
  assert.ok(asked() > between);
});
