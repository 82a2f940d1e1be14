// The main job on real input: a Debian root with Python, in eleven layers, from an OCI layout into Debian's docker-registry,
// mounted from there, run from there, given to the kernel, unpacked, and moved about by skopeo. The judge is umoci.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { blobCacheFiles } from '../../src/store/paths.ts';
import { openConvertedImage } from '../../src/transport/image.ts';
import { type CountingProxy, countingProxy } from '../support/counting-proxy.ts';
import { mountErofs } from '../support/erofs.ts';
import { fixture, fixturePath, umoci, umociUnpack } from '../support/fixtures.ts';
import { mountpointsBelow, type NaiadHome, naiadHome } from '../support/naiad.ts';
import { addon, erofs, every, fuse, program, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { dockerRegistry, startDockerRegistry, type TestRegistry } from '../support/servers.ts';
import { temporaryDir } from '../support/temporary.ts';
import { assertSameFuseTree, assertSameTree, readTree, type Tree } from '../support/tree.ts';

const image = every(root(), dockerRegistry(), umoci(), program('getfattr'), fixture('debian-python'));

let scratch: ReturnType<typeof temporaryDir>;
let registry: TestRegistry;
let proxy: CountingProxy;
let reference: Tree;
let converted: string;
let convertedSize: number;

before(async () => {
  if (image.skip !== false) return;
  scratch = temporaryDir('whole');
  registry = await startDockerRegistry();
  proxy = await countingProxy(registry.host);
  const layout = fixturePath('debian-python');
  reference = await readTree(await umociUnpack(layout, 'latest', join(scratch.path, 'reference')));
  converted = `docker://${proxy.host}/debian/python:naiad`;
  await using naiad = naiadHome(join(scratch.path, 'convert'));
  await naiad.run(['convert', '--quiet', `oci:${layout}:latest`, converted]);
  await using opened = await openConvertedImage(converted);
  convertedSize = opened.manifest?.layers.reduce((sum, { size }) => sum + size, 0) ?? 0;
});

after(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
  scratch?.[Symbol.dispose]();
});

async function inHome(name: string, use: (naiad: NaiadHome, dir: string) => Promise<void>): Promise<void> {
  const dir = join(scratch.path, name);
  mkdirSync(dir);
  await using naiad = naiadHome(dir);
  await use(naiad, dir);
  assert.deepEqual(mountpointsBelow(dir), []);
}

test('the lazy mount equals what umoci unpacks, and so does the kernel’s own over the cache it filled', {
  ...every(image, fuse(), erofs(), addon()),
}, async (t) => {
  await inHome('lazy', async (naiad, dir) => {
    const mountpoint = join(dir, 'mnt');
    mkdirSync(mountpoint);
    proxy.reset();
    {
      await using _mounted = await naiad.mount(converted, mountpoint);
      const before = proxy.received();
      const { counters, metadataBytes } = await naiad.status(mountpoint);
      t.diagnostic(`mounted after ${before} bytes of ${convertedSize}`);
      assert.equal(counters.backend.bytes, 0);
      assert.ok(before < metadataBytes + 16_384, `${before} bytes received, of which ${metadataBytes} are metadata`);
      assert.ok(before < convertedSize / 50, `${before} bytes received of an image of ${convertedSize}`);
      assertSameTree(reference, await readTree(mountpoint));
    }
    // Every file was read, so every device is complete: the kernel takes the cache files as they are, to the nanosecond.
    await using opened = await openConvertedImage(converted);
    const bootstrap = join(dir, 'boot');
    writeFileSync(bootstrap, opened.bootstrapBytes);
    const devices = opened.bootstrap.blobs.map(({ blobId }) => blobCacheFiles(naiad.cache, blobId).data);
    await using _kernel = await mountErofs(bootstrap, devices, mountpoint);
    assertSameTree(reference, await readTree(mountpoint));
  });
});

test('running Python fetches under a quarter of the image, and running it again fetches nothing', {
  ...every(image, fuse(), program('runc')),
}, async (t) => {
  await inHome('run', async (naiad) => {
    const fetched: number[] = [];
    for (const _ of [1, 2]) {
      proxy.reset();
      const { stdout, stderr } = await naiad.run(['run', '--stats', '--json', converted, 'python3', '-c', 'print(1)']);
      const [first, ...stats] = stdout.split('\n');
      assert.equal(first, '1', stderr);
      const { fetchedBytes, metadataBytes } = JSON.parse(stats.join('\n')) as Record<string, number>;
      fetched.push(fetchedBytes ?? -1);
      t.diagnostic(`${fetchedBytes} bytes of data and ${metadataBytes} of metadata, ${proxy.received()} on the wire`);
      assert.ok(proxy.received() < convertedSize / 4, `${proxy.received()} of ${convertedSize} bytes`);
    }
    assert.equal(fetched[1], 0);
    // What is asked for again is what the tag names: the manifest.
    assert.ok(proxy.received() < 8192, `${proxy.received()} bytes for a second run`);
  });
});

test('unpack writes what umoci writes, exact to the nanosecond', { ...image }, async () => {
  await inHome('unpack', async (naiad, dir) => {
    await naiad.run(['unpack', '--quiet', converted, join(dir, 'root')]);
    assertSameTree(reference, await readTree(join(dir, 'root')));
  });
});

test('layers under gzip, zstd and none give the same tree', { ...every(image, erofs(), addon()) }, async () => {
  await inHome('mixed', async (naiad, dir) => {
    await naiad.run(['convert', '--quiet', `oci:${fixturePath('debian-python')}:mixed`, `oci:${dir}/out:x`]);
    await using one = await openConvertedImage(converted);
    await using other = await openConvertedImage(`oci:${dir}/out:x`);
    // The same tars in the same order: not only an equal tree but the same blobs and bootstrap.
    assert.deepEqual(other.manifest?.layers, one.manifest?.layers);
  });
});

test('skopeo inspects it and copies it to a layout and back, and it still mounts', {
  ...every(image, fuse(), program('skopeo')),
}, async () => {
  await inHome('skopeo', async (naiad, dir) => {
    const { stdout } = await runTool('skopeo', ['inspect', '--tls-verify=false', converted]);
    const { Digest, Layers, Architecture } = JSON.parse(stdout) as {
      Digest: string;
      Layers: string[];
      Architecture: string;
    };
    assert.equal(Architecture, process.arch === 'x64' ? 'amd64' : process.arch);
    await using opened = await openConvertedImage(converted);
    assert.equal(Digest, opened.manifestDigest);
    assert.deepEqual(
      Layers,
      opened.manifest?.layers.map(({ digest }) => digest),
    );

    const layout = `oci:${join(dir, 'layout')}:copied`;
    const back = `docker://${registry.host}/elsewhere/copied:1`;
    await runTool('skopeo', ['copy', '--quiet', '--src-tls-verify=false', converted, layout]);
    await runTool('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', layout, back]);
    // The digest says that it is the same image, so a part of it tells whether it can be read from there.
    const part = 'usr/bin';
    const expected = await readTree(join(scratch.path, 'reference', part));
    for (const [index, copy] of [layout, back].entries()) {
      await using copied = await openConvertedImage(copy);
      assert.equal(copied.manifestDigest, opened.manifestDigest);
      const mountpoint = join(dir, `mnt-${index}`);
      mkdirSync(mountpoint);
      await using _mounted = await naiad.mount(copy, mountpoint, '--driver=fuse-native');
      assertSameFuseTree(expected, await readTree(join(mountpoint, part)));
    }
  });
});
