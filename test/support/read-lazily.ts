// Ranged reads of a converted image in a registry, as a mount makes them, against the whole of a blob.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseManifest } from '../../src/format/oci/manifest.ts';
import { openBlob } from '../../src/registry/blobs.ts';
import { getManifest } from '../../src/registry/manifests.ts';
import { registryReader } from '../../src/registry/reader.ts';
import { Registry, type RegistryOptions } from '../../src/registry/transport.ts';

/** Ranges of the largest layer are what the whole of it has there; `pauseMs` lets signed addresses run out in between. */
export async function readLazily(host: string, options: RegistryOptions, pauseMs: number): Promise<void> {
  await using open = new Registry(host, options);
  const repository = 'team/app';
  const { bytes } = await getManifest(open, { repository, selector: 'v1-naiad' });
  const blob = parseManifest(bytes).layers.reduce((best, layer) => (layer.size > best.size ? layer : best));
  const pieces: Uint8Array[] = [];
  for await (const piece of await openBlob(open, repository, blob)) pieces.push(piece);
  const whole = Buffer.concat(pieces);
  const reader = registryReader(open, { repository, ...blob });
  for (const [offset, size] of [
    [0, 100],
    [1234, 5678],
    [whole.length - 10, 10],
  ] as const) {
    assert.deepEqual(Buffer.from(await reader.readAt({ offset, size })), whole.subarray(offset, offset + size));
    if (pauseMs > 0 && offset === 0) await sleep(pauseMs);
  }
}
