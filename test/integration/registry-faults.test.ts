// Troubles of a real registry: tokens that end in the middle of a push and of a mount, connections that are reset. The right
// result or one clear error, in bounded time and memory. PUSH_MB (24) and READ_MB (6) are the sizes of what is pushed and of what is
// read through a mount.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { MiB } from '../../src/base/units.ts';
import { convertReference } from '../../src/convert/convert-reference.ts';
import { sha256Digest } from '../../src/format/oci/digest.ts';
import { hasBlob } from '../../src/registry/blobs.ts';
import { logIn, parseLoginPlace } from '../../src/registry/login.ts';
import { Registry, type RegistryOptions } from '../../src/registry/transport.ts';
import { uploadBlob } from '../../src/registry/upload.ts';
import type { UploadWay } from '../../src/registry/upload-habits.ts';
import { countingProxy } from '../support/counting-proxy.ts';
import { naiadHome } from '../support/naiad.ts';
import { addon, every, fuse, root } from '../support/requires.ts';
import { dockerRegistry, startDockerRegistry } from '../support/servers.ts';
import { noise, smallImage, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';
import { openssl, startTokenServer } from '../support/token-server.ts';

const PUSH_MB = Number(process.env.PUSH_MB ?? 24);
const READ_MB = Number(process.env.READ_MB ?? 6);
const account = { user: 'someone', password: 'p4ss-s3cret' };
const options: RegistryOptions = {
  credentials: async () => ({ credentials: { ...account, source: '/auth.json' }, looked: [] }),
  retryDelayMs: 1,
};
/** One of which every MiB differs, without being held in memory. */
const block = randomBytes(MiB);
function* blocks(): Generator<Buffer> {
  for (let count = 0; count < PUSH_MB; count++) {
    const piece = Buffer.from(block);
    piece.writeUInt32LE(count);
    yield piece;
  }
}
const hash = createHash('sha256');
for (const piece of blocks()) hash.update(piece);
const descriptor = { digest: `sha256:${hash.digest('hex')}`, size: PUSH_MB * MiB };

/** Ends in the middle of what needs it. Those after it last: a machine that is busy may use up a second for nothing. */
const firstIsShort = (number: number) => (number === 1 ? 1 : undefined);

/** Longer than that one lasts, whatever the size. */
async function* paced(): AsyncGenerator<Uint8Array, void, void> {
  for (const piece of blocks()) {
    await sleep(1600 / PUSH_MB);
    yield piece;
  }
}

for (const way of ['put', 'stream', 'chunks'] as const satisfies readonly UploadWay[]) {
  test(`registry faults: tokens end in the middle of a push, ${way}`, every(dockerRegistry(), openssl()), async () => {
    await using tokens = await startTokenServer({ ...account, lifetimeSec: firstIsShort });
    await using server = await startDockerRegistry({ token: tokens });
    await using registry = new Registry(server.host, options);
    Object.assign(registry.uploadHabits, { way, chunkSize: Math.ceil(PUSH_MB / 6) * MiB });
    const before = process.memoryUsage().rss;
    await uploadBlob(registry, { repository: 'a', descriptor, open: paced });
    assert.equal(await hasBlob(registry, { repository: 'a', ...descriptor }), true);
    // Of its own accord a token of 300 s would have been kept.
    assert.ok(tokens.asked.length >= 2, `${tokens.asked.length} tokens`);
    assert.ok(process.memoryUsage().rss - before < 300 * MiB);
  });
}

test(
  'registry faults: tokens end under a mount',
  every(dockerRegistry(), openssl(), root(), addon(), fuse()),
  async () => {
    using dir = temporaryDir('faults');
    let lifetimeSec: number | undefined;
    await using tokens = await startTokenServer({ ...account, lifetimeSec: () => lifetimeSec });
    await using server = await startDockerRegistry({ token: tokens });
    const authFile = join(dir.path, 'auth.json');
    const registry = { authFile };
    await logIn(parseLoginPlace(server.host), account, { registry, authFile });
    const count = Math.max(2, Math.ceil(READ_MB / 64));
    const files = Array.from({ length: count }, () => noise(Math.floor((READ_MB * MiB) / count)));
    const image = `${server.host}/team/app:v1-naiad`;
    writeSmallLayout(
      join(dir.path, 'in'),
      await smallImage([Object.fromEntries(files.map((file, at) => [`f${at}`, file]))]),
      'v1',
    );
    const build = { compressor: 'none', chunkSize: 65_536, digester: 'blake3', jobs: 1, prefetch: [] } as const;
    await convertReference(
      `oci:${dir.path}/in:v1`,
      image,
      { ...build, registry },
      { signal: new AbortController().signal },
    );
    await using naiad = naiadHome(join(dir.path, 'home'));
    const mountpoint = join(dir.path, 'mnt');
    mkdirSync(mountpoint);
    lifetimeSec = 1;
    await using _mounted = await naiad.mount(image, mountpoint, '--prefetch=none', '--authfile', authFile);
    lifetimeSec = undefined;
    const askedBefore = tokens.asked.length;
    for (const [at, file] of files.entries()) {
      // They end on whole seconds: the nearest to a second after they were given out.
      await sleep(1600);
      // Not at once: who gives out the tokens is in this process.
      await using opened = await open(join(mountpoint, `f${at}`));
      const got = Buffer.alloc(65_536);
      for (let from = 0; from < file.length; from += got.length) {
        const { bytesRead } = await opened.read(got, 0, got.length, from);
        assert.equal(Buffer.compare(got.subarray(0, bytesRead), file.subarray(from, from + got.length)), 0);
      }
    }
    // Those of the mount itself had ended; what the second read needs may have come along with the first.
    assert.ok(tokens.asked.length > askedBefore);
  },
);

for (const [beginsInSec, message] of [
  [1, undefined],
  [3600, /it calls a new token of its token service invalid/],
] as const) {
  test(
    `registry faults: tokens begin ${beginsInSec} s later by the registry's clock`,
    every(dockerRegistry(), openssl()),
    async () => {
      await using tokens = await startTokenServer({ ...account, beginsInSec });
      await using server = await startDockerRegistry({ token: tokens });
      await using registry = new Registry(server.host, options);
      const blob = randomBytes(1000);
      const own = { digest: sha256Digest(blob), size: blob.length };
      const push = uploadBlob(registry, { repository: 'a', descriptor: own, open: () => blob });
      if (message) await assert.rejects(push, { code: 'ACCESS_DENIED', message, hint: /clocks/ });
      else await push;
      assert.ok(tokens.asked.length <= 4, `${tokens.asked.length} tokens`);
    },
  );
}

test('registry faults: one reset at each tenth of an upload', dockerRegistry(), async () => {
  await using server = await startDockerRegistry();
  const size = 4 * MiB;
  for (let tenth = 1; tenth <= 9; tenth++) {
    const blob = randomBytes(size);
    let resets = 0;
    await using proxy = await countingProxy(server.host, ({ sent }) => {
      if (resets > 0 || sent < (size * tenth) / 10) return;
      resets++;
      proxy.sever();
    });
    await using registry = new Registry(proxy.host, options);
    const own = { digest: sha256Digest(blob), size };
    await uploadBlob(registry, { repository: 'a', descriptor: own, open: () => piecesOf(blob) });
    assert.equal(resets, 1);
    assert.equal(await hasBlob(registry, { repository: 'a', ...own }), true);
  }
});

async function* piecesOf(blob: Buffer): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < blob.length; at += 65_536) yield blob.subarray(at, at + 65_536);
}

test('registry faults: a line that always breaks is one clear error', dockerRegistry(), async () => {
  await using server = await startDockerRegistry();
  const blob = randomBytes(4 * MiB);
  let broken = 0;
  let next = MiB;
  await using proxy = await countingProxy(server.host, ({ sent }) => {
    if (sent < next) return;
    next = sent + MiB;
    broken++;
    proxy.sever();
  });
  await using registry = new Registry(proxy.host, options);
  const upload = { repository: 'a', descriptor: { digest: sha256Digest(blob), size: blob.length } };
  await assert.rejects(uploadBlob(registry, { ...upload, open: () => piecesOf(blob) }), {
    code: 'REGISTRY_UNAVAILABLE',
    message: /connection lost.*after 5 attempts/,
  });
  assert.ok(broken <= 20, `${broken} connections`);
});
