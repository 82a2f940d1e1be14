// Pushing files to a registry.
import assert from 'node:assert/strict';
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { sha256Digest } from '../../../src/format/oci/digest.ts';
import { parseReference } from '../../../src/format/oci/reference.ts';
import { RegistryTarget } from '../../../src/transport/registry-transport.ts';
import { startDouble } from '../../support/http-double.ts';
import { noise } from '../../support/small-image.ts';
import { temporaryDir } from '../../support/temporary.ts';

function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
}

test('registry target: a push that nobody takes leaves no file open', async () => {
  using dir = temporaryDir();
  const path = join(dir.path, 'blob');
  const bytes = noise(100_000);
  writeFileSync(path, bytes);
  // Uploads go where nobody listens.
  await using double = await startDouble((asked, response) => {
    if (asked.method === 'POST') response.writeHead(202, { location: 'http://127.0.0.1:1/upload' }).end();
    else response.writeHead(404).end();
  });
  await using target = await RegistryTarget.open(parseReference(`${double.host}/a:1`), {
    attemptsMax: 2,
    retryDelayMs: 1,
  });
  const descriptor = { digest: sha256Digest(bytes), size: bytes.length };
  await assert.rejects(target.putBlob({ path, descriptor }), { code: 'REGISTRY_UNAVAILABLE' });
  assert.deepEqual(
    openFiles().filter((name) => name === path),
    [],
  );
});

test('registry target: what was pushed is not sent again', async () => {
  const bytes = noise(1000);
  const descriptor = { digest: sha256Digest(bytes), size: bytes.length };
  let puts = 0;
  await using double = await startDouble(({ method }, response) => {
    if (method === 'PUT') puts++;
    const status = method === 'HEAD' ? (puts > 0 ? 200 : 404) : method === 'POST' ? 202 : 201;
    response.writeHead(status, { location: '/upload' }).end();
  });
  await using target = await RegistryTarget.open(parseReference(`${double.host}/a:1`));
  assert.equal(await target.hasBlob(descriptor), false);
  await Promise.all([target.putBytes(descriptor, bytes), target.putBytes(descriptor, bytes)]);
  await target.putBytes(descriptor, bytes);
  assert.equal(puts, 1);
});
