// Pushes over lines that break and with tokens that end: the right blob, and not everything sent again.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { sha256Digest } from '../../src/format/oci/digest.ts';
import { hasBlob } from '../../src/registry/blobs.ts';
import type { CredentialSource } from '../../src/registry/credentials.ts';
import { Registry, type RegistryOptions } from '../../src/registry/transport.ts';
import { uploadBlob } from '../../src/registry/upload.ts';
import type { UploadWay } from '../../src/registry/upload-habits.ts';
import { startRegistry } from '../../src/registry-server/start.ts';
import { countingProxy } from '../support/counting-proxy.ts';
import { startEmulator } from '../support/emulator/emulator.ts';
import { SERVICES } from '../support/emulator/services.ts';
import { dockerRegistry, startDockerRegistry } from '../support/servers.ts';

import { temporaryDir } from '../support/temporary.ts';

const SIZE = 40_000_000;
const blob = randomBytes(SIZE);
const descriptor = { digest: sha256Digest(blob), size: SIZE };
const account = { user: 'u', password: 'p4ssw0rd' };
const known: CredentialSource = async () => ({ credentials: { ...account, source: '/auth.json' }, looked: [] });
const options: RegistryOptions = { credentials: known, retryDelayMs: 1 };

async function* pieces(from = 0): AsyncGenerator<Uint8Array, void, void> {
  for (let offset = from; offset < SIZE; offset += 262_144)
    yield blob.subarray(offset, Math.min(offset + 262_144, SIZE));
}
const upload = { repository: 'a', descriptor, open: () => pieces(), openAt: pieces };

async function isThere(host: string): Promise<boolean> {
  await using registry = new Registry(host, options);
  return await hasBlob(registry, { repository: 'a', ...descriptor });
}

for (const way of ['put', 'stream', 'chunks'] as const satisfies readonly UploadWay[]) {
  test(`push faults: reset at every tenth of an upload, ${way}`, async () => {
    using dir = temporaryDir('push');
    await using server = await startRegistry({ root: dir.path, host: '127.0.0.1', port: 0 });
    let next = SIZE / 10;
    let resets = 0;
    await using proxy = await countingProxy(server.host, ({ sent }) => {
      if (sent < next) return;
      next = sent + SIZE / 10;
      resets++;
      proxy.sever();
    });
    await using registry = new Registry(proxy.host, options);
    Object.assign(registry.uploadHabits, { way, chunkSize: 2 ** 20 });
    await uploadBlob(registry, upload);
    assert.equal(await isThere(server.host), true);
    // One that begins anew each time would never come to its end.
    assert.ok(resets >= 8, `${resets} resets`);
  });
}

test('push faults: a server that cannot resume gets it whole again', dockerRegistry(), async () => {
  await using server = await startDockerRegistry();
  let severed = 0;
  await using proxy = await countingProxy(server.host, ({ sent }) => {
    if (severed++ > 0 || sent < SIZE / 2) severed -= sent < SIZE / 2 ? 1 : 0;
    else proxy.sever();
  });
  await using registry = new Registry(proxy.host, options);
  await uploadBlob(registry, upload);
  assert.equal(await isThere(server.host), true);
  assert.ok(severed > 0);
});

for (const [name, way] of [
  ['Harbor', 'chunks'],
  ['GHCR', 'chunks'],
  ['Docker Hub', 'put'],
] as const) {
  test(`push faults: tokens that end in the middle, ${name}`, async () => {
    using dir = temporaryDir('push');
    const service = SERVICES.find((one) => one.name === name);
    assert.ok(service);
    await using emulator = await startEmulator(service, join(dir.path, 'root'), account);
    await using registry = new Registry(emulator.host, options);
    Object.assign(registry.uploadHabits, { way, chunkSize: 4 * 2 ** 20 });
    let revoked = 0;
    const onProgress = (sent: number) => {
      if (sent < (SIZE * (revoked + 1)) / 4) return;
      revoked++;
      emulator.revokeTokens();
    };
    await uploadBlob(registry, { ...upload, onProgress });
    assert.equal(await hasBlob(registry, { repository: 'a', ...descriptor }), true);
    assert.ok(revoked >= 3);
    assert.ok(emulator.log.filter((line) => line === 'GET token 200').length >= 2);
  });
}
