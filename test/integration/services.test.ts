// One scenario from end to end against each service as it is documented: convert and push, probe, read lazily, copy, refuse,
// delete.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { convertReference } from '../../src/convert/convert-reference.ts';
import { sha256Digest } from '../../src/format/oci/digest.ts';
import { examineRegistry } from '../../src/mount/doctor-registry.ts';
import type { CredentialSource } from '../../src/registry/credentials.ts';
import { deleteManifest, getManifest } from '../../src/registry/manifests.ts';
import { Registry, type RegistryOptions } from '../../src/registry/transport.ts';
import { uploadBlob } from '../../src/registry/upload.ts';
import { copyReference } from '../../src/transport/copy.ts';
import { probeReference } from '../../src/transport/probe.ts';
import { tagsOf } from '../../src/transport/tags.ts';
import { type Emulator, startEmulator } from '../support/emulator/emulator.ts';
import { SERVICES, type Service } from '../support/emulator/services.ts';
import { readLazily } from '../support/read-lazily.ts';
import { noise, smallImage, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';

const account = { user: 'robot$team+ci', password: 'p4ss:word' };
const as =
  (password: string): CredentialSource =>
  async () => ({
    credentials: { user: account.user, password, source: '/auth.json' },
    looked: ['/auth.json'],
  });
const registry: RegistryOptions = { credentials: as(account.password), retryDelayMs: 1 };
const { signal } = new AbortController();
const BUILD = { compressor: 'zstd', chunkSize: 65_536, digester: 'blake3', jobs: 1, prefetch: [] } as const;

for (const service of SERVICES) {
  test(`services: ${service.name}`, async (t) => {
    using dir = temporaryDir('service');
    await using emulator = await startEmulator(service, join(dir.path, 'root'), account);
    const { host } = emulator;
    const image = `${host}/team/app:v1-naiad`;
    writeSmallLayout(join(dir.path, 'in'), await smallImage([{ small: 'hello' }, { large: noise(600_000) }]), 'v1');

    await t.test('convert and push', async () => {
      await convertReference(`oci:${dir.path}/in:v1`, image, { ...BUILD, registry }, { signal });
      assert.deepEqual((await tagsOf(image, { registry })).tags, ['v1-naiad']);
    });
    await t.test('probe', () => checkProbe(service, emulator, image));
    await t.test('read lazily', () => readLazily(host, registry, 0));
    await t.test('copy', async () => {
      const options = { source: { registry }, target: { registry } };
      const inside = await copyReference(image, `${host}/team/copy:v2`, { referrers: true }, {}, options);
      const outside = await copyReference(`${host}/team/copy:v2`, `oci:${dir.path}/out:v2`, {}, {}, options);
      assert.equal(outside.digest, inside.digest);
    });
    if (service.auth.kind !== 'none') {
      await t.test('refuse', async () => {
        const wrong = { registry: { ...registry, credentials: as('wr0ng') } };
        await assert.rejects(tagsOf(image, wrong), (error: Error & { code?: string }) => {
          assert.equal(error.code, 'ACCESS_DENIED');
          assert.match(error.message, /robot\$team\+ci/);
          assert.doesNotMatch(error.message, /wr0ng/);
          return true;
        });
      });
    }
    const put = (name: string) =>
      copyReference(image, `${host}/${name}`, {}, {}, { source: { registry }, target: { registry } });
    if (service.frozen) {
      const { code } = service.frozen;
      await t.test('refuse to change a tag', () =>
        assert.rejects(put('team/app:frozen'), { message: new RegExp(code) }),
      );
    }
    if (service.repositories) {
      await t.test('refuse a repository that there is not', async () => {
        await assert.rejects(put('team/none:v1'), { message: /NAME_UNKNOWN/, hint: /repository exist/ });
      });
    }
    await t.test('delete', async () => {
      await using open = new Registry(host, registry);
      const { digest } = await getManifest(open, { repository: 'team/copy', selector: 'v2' });
      const { deletion = {} } = service;
      const gone = (selector: string) => deleteManifest(open, { repository: 'team/copy', selector });
      assert.equal(await gone('v2'), deletion.tag === undefined);
      assert.equal(await gone(digest), deletion.manifest === undefined);
    });
  });
}

/** What the table says is what the probe finds. */
async function checkProbe(service: Service, { host, storageHost }: Emulator, image: string): Promise<void> {
  const { auth, blobs, uploads, mount, referrers, deletion, manifests, manifestHeaders } = service;
  const probe = await probeReference(image, { registry, push: true });
  assert.equal(probe.registry, host);
  assert.equal(probe.authentication, auth.kind);
  assert.equal(probe.redirectsTo, blobs.kind === 'redirect' ? storageHost : undefined);
  assert.equal(probe.ranges.works, blobs.kind !== 'whole' || blobs.times === 1);
  assert.equal(probe.referrersApi, referrers === undefined);
  assert.equal(probe.rateLimit?.remaining, manifestHeaders?.['ratelimit-remaining']);
  const works = Object.entries(probe.push ?? {}).map(([name, found]) => [
    name,
    typeof found === 'object' && found.works,
  ]);
  assert.deepEqual(Object.fromEntries(works), {
    put: uploads.put === undefined,
    stream: true,
    chunks: uploads.chunks === undefined,
    chunkMin: false,
    resume: uploads.status === undefined,
    mount: mount === undefined,
    convertedLayers: true,
    indexWithFeatures: !manifests?.noOsFeatures,
    subject: referrers === undefined,
    deletion: deletion?.manifest === undefined,
  });
}

test('services: a body that is too large for one request goes in parts, and so do those after it', async () => {
  using dir = temporaryDir('service');
  const service = SERVICES.find(({ name }) => name === 'ACR');
  assert.ok(service);
  await using emulator = await startEmulator(service, join(dir.path, 'root'), account);
  await using open = new Registry(emulator.host, registry);
  const push = async (bytes: Buffer) => {
    const descriptor = { digest: sha256Digest(bytes), size: bytes.length };
    await uploadBlob(open, { repository: 'a', descriptor, open: () => bytes });
    return emulator.log.splice(0).filter((line) => /^(PUT|PATCH)/.test(line));
  };
  assert.deepEqual(await push(randomBytes(21_000_000)), [
    'PUT upload 413',
    'PATCH upload 202',
    'PATCH upload 202',
    'PUT upload 201',
  ]);
  assert.deepEqual(await push(randomBytes(22_000_000)), ['PATCH upload 202', 'PATCH upload 202', 'PUT upload 201']);
});

test('services: what one push has learned, and what a probe has found, is known to the next process', async () => {
  using dir = temporaryDir('service');
  const service = SERVICES.find(({ name }) => name === 'ACR');
  assert.ok(service);
  await using emulator = await startEmulator(service, join(dir.path, 'root'), account);
  const options = { ...registry, knownHosts: join(dir.path, 'known') };
  const push = async (tag: string) => {
    const layout = join(dir.path, tag);
    writeSmallLayout(layout, await smallImage([{ large: randomBytes(21_000_000) }]), 'v1');
    emulator.log.splice(0);
    await copyReference(`oci:${layout}:v1`, `${emulator.host}/a:${tag}`, {}, {}, { target: { registry: options } });
    return emulator.log.filter((line) => /^PUT upload 413/.test(line)).length;
  };
  assert.equal(await push('one'), 1);
  assert.equal(await push('two'), 0);
  const image = `${emulator.host}/a:one`;
  const probe = await probeReference(image, { registry: options, push: true });
  assert.equal(probe.uploads?.way, 'chunks');
  emulator.log.splice(0);
  const { probedAt, push: pushed, repository } = await probeReference(image, { registry: options, mayBeKnown: true });
  assert.deepEqual(emulator.log, []);
  assert.equal(repository, 'a');
  assert.equal(pushed?.put.works, true);
  assert.ok(Math.abs(probedAt - Date.now()) < 60_000);
  // Asked again without pushing, what pushing had shown is not forgotten.
  await probeReference(image, { registry: options });
  assert.equal((await probeReference(image, { registry: options, mayBeKnown: true })).push?.put.works, true);
});

test('services: doctor tells what a registry is like and what its limit leaves', async () => {
  using dir = temporaryDir('service');
  const service = SERVICES.find(({ name }) => name === 'Docker Hub');
  assert.ok(service);
  await using emulator = await startEmulator(service, join(dir.path, 'root'), account);
  const options = { registry: { ...registry, knownHosts: join(dir.path, 'known') }, signal };
  const image = `${emulator.host}/team/app:1`;
  writeSmallLayout(join(dir.path, 'in'), await smallImage([{ small: 'hello' }]), 'v1');
  await copyReference(`oci:${join(dir.path, 'in')}:v1`, image, {}, {}, { target: options });
  for (const _ of ['asked', 'known']) {
    const checks = await examineRegistry(image, options);
    assert.deepEqual(
      checks.map(({ name, status }) => [name, status]),
      [
        ['registry', 'ok'],
        ['rate limit', 'ok'],
      ],
    );
    assert.match(String(checks[0]?.detail), /: authentication bearer, blobs from .*, referrers by the fallback tag$/);
    assert.equal(checks[1]?.detail, '76 of 100 requests left in 360 min');
  }
  assert.deepEqual(await examineRegistry('oci:/nowhere:x', options), []);
});
