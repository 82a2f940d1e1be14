// Chunk maps: what a crash, a full disk or another program left of one. Read as the cache reads it.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChunkMapFile, type MapIdentity } from '../../../src/cache/chunk-map-file.ts';
import { claimsOf } from '../../../src/cache/claims.ts';
import { makeBlob, patterned } from '../../support/blobs.ts';
import type { FuzzTarget } from '../target.ts';

export const MAP_BOOT_ID = '11111111-2222-3333-4444-555555555555';
const { device } = makeBlob(Array.from({ length: 40 }, (_, index) => patterned(3000, index)));
export const mapIdentity: MapIdentity = {
  blobId: device.blobId,
  chunkCount: device.chunks.count,
  deviceSize: device.size,
  claims: claimsOf(device),
};

let place: string | undefined;

export const chunkMapTarget: FuzzTarget = {
  name: 'chunk-map',
  run(input) {
    if (place === undefined) {
      const dir = mkdtempSync(join(tmpdir(), 'naiad-fuzz-'));
      process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
      place = join(dir, 'map');
    }
    writeFileSync(place, input);
    for (const bootId of [MAP_BOOT_ID, '']) {
      const found = ChunkMapFile.open(place, mapIdentity, bootId);
      if (found.state !== 'found') continue;
      using map = found.map;
      map.refresh(0, device.chunks.count - 1);
      for (let index = 0; index < device.chunks.count; index++) if (!map.has(index)) map.isSuspect(index);
      map.add(7);
      if (!map.has(7)) throw new Error('a chunk that was added is not there');
    }
  },
  hotspots: (input) => [
    { offset: 0, size: Math.min(160, input.length) },
    { offset: Math.min(16_384, input.length), size: Math.max(0, Math.min(256, input.length - 16_384)) },
  ],
};
