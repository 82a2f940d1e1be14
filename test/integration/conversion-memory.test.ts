// Memory of a conversion does not grow with the image, but for what has to be known of each file and chunk: some 180 bytes
// for a file of one chunk (docs/benchmarks/method.md).
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createWriteStream, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { after, test } from 'node:test';
import { createGzip } from 'node:zlib';
import { MiB } from '../../src/base/units.ts';
import { sha256Digest } from '../../src/format/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/format/oci/media-types.ts';
import { naiadHome } from '../support/naiad.ts';
import { member } from '../support/tar-bytes.ts';
import { temporaryDir } from '../support/temporary.ts';

/** What the documentation promises, whatever the image has. */
const PEAK_MEMORY_MAX = 256 * MiB;
const FILES = Number(process.env.NAIAD_TEST_MEMORY_FILES ?? 150_000);
const FILES_PER_DIRECTORY = 50;

const scratch = temporaryDir('memory');
const naiad = naiadHome(scratch.path);
after(() => scratch[Symbol.dispose]());

/** A layer of files that all differ, each a chunk of its own; made piece by piece. */
function* manyFiles(from: number, to: number): Iterable<Buffer> {
  let pieces: Buffer[] = [];
  for (let i = from; i < to; i++) {
    const directory = `opt/node_modules/package-${Math.floor(i / FILES_PER_DIRECTORY)}/lib`;
    if (i % FILES_PER_DIRECTORY === 0) pieces.push(member({ name: directory, type: '5', mode: 0o755 }));
    pieces.push(member({ name: `${directory}/some-module-${i}.js`, mtime: 1_700_000_000 + i, body: `export ${i};\n` }));
    if (pieces.length < 500) continue;
    yield Buffer.concat(pieces);
    pieces = [];
  }
  yield Buffer.concat([...pieces, Buffer.alloc(1024)]);
}

interface Layer {
  readonly descriptor: { readonly mediaType: string; readonly digest: string; readonly size: number };
  readonly diffId: string;
}

async function writeLayer(blobs: string, tar: Iterable<Buffer>): Promise<Layer> {
  const plain = createHash('sha256');
  const stored = createHash('sha256');
  let size = 0;
  const counting = (count: (piece: Buffer) => void) =>
    new Transform({
      transform(piece: Buffer, _encoding, done) {
        count(piece);
        done(null, piece);
      },
    });
  const path = join(blobs, 'unnamed');
  const countStored = (piece: Buffer) => {
    stored.update(piece);
    size += piece.length;
  };
  await pipeline(
    Readable.from(tar),
    counting((piece) => plain.update(piece)),
    createGzip({ level: 1 }),
    counting(countStored),
    createWriteStream(path),
  );
  const hex = stored.digest('hex');
  renameSync(path, join(blobs, hex));
  const descriptor = { mediaType: MEDIA_TYPES.ociLayerGzip, digest: `sha256:${hex}`, size };
  return { descriptor, diffId: `sha256:${plain.digest('hex')}` };
}

/** An OCI layout of one image, tag `x`. */
async function writeLayout(directory: string, layers: readonly Iterable<Buffer>[]): Promise<void> {
  const blobs = join(directory, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (document: object, mediaType: string) => {
    const bytes = Buffer.from(JSON.stringify(document));
    const digest = sha256Digest(bytes);
    writeFileSync(join(blobs, digest.slice('sha256:'.length)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const written: Layer[] = [];
  for (const tar of layers) written.push(await writeLayer(blobs, tar));
  const rootfs = { type: 'layers', diff_ids: written.map(({ diffId }) => diffId) };
  const config = put({ architecture: 'amd64', os: 'linux', config: {}, rootfs }, MEDIA_TYPES.ociConfig);
  const descriptors = written.map(({ descriptor }) => descriptor);
  const manifest = put(
    { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: descriptors },
    MEDIA_TYPES.ociManifest,
  );
  const entry = { ...manifest, annotations: { 'org.opencontainers.image.ref.name': 'x' } };
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}

test(`${FILES} different files are converted in ${PEAK_MEMORY_MAX / MiB} MiB`, async (t) => {
  const source = join(scratch.path, 'source');
  const half = Math.floor(FILES / 2);
  await writeLayout(source, [manyFiles(0, half), manyFiles(half, FILES)]);
  const target = `oci:${join(scratch.path, 'target')}:x`;
  const report = await naiad.json<{ files: number; usage: { peakMemory: number } }>([
    'convert',
    `oci:${source}:x`,
    target,
    '--platform=linux/amd64',
  ]);
  rmSync(source, { recursive: true });
  assert.equal(report.files, FILES);
  const peak = report.usage.peakMemory;
  t.diagnostic(`${Math.round(peak / MiB)} MiB`);
  assert.ok(peak <= PEAK_MEMORY_MAX, `${Math.round(peak / MiB)} MiB at the peak`);
});
