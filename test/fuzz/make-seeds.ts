// Makes fixtures/fuzz anew: node dist/test/fuzz/make-seeds.js. The seeds are committed; run it after a change of format.
// GNU tar, gzip, zstd and, where it is on PATH, nydus-image make what other people's tools would send us.
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ChunkMapFile } from '../../src/cache/chunk-map-file.ts';
import { createCompressor, digestOf } from '../../src/codec/codec.ts';
import { formatTrace } from '../../src/format/trace/trace.ts';
import { finishBlob } from '../../src/image/blob-writer.ts';
import { ChunkTable } from '../../src/image/chunk-table.ts';
import { type ChunkRef, chunkRef, makeDevice } from '../../src/image/tree.ts';
import { patterned } from '../support/blobs.ts';
import { type NydusOptions, nydusCreate } from '../support/nydus.ts';
import { type DirectoryLiteral, emptyDirectory, writeBootstrap } from '../support/planted-tree.ts';
import { findProgram } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { MAP_BOOT_ID, mapIdentity } from './targets/chunk-map.ts';

const ROOT = join('fixtures', 'fuzz');

const RANGE_ANSWER =
  'HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\nContent-Range: bytes 0-3/9\r\nX-A: b\r\nx-a: c\r\n\r\nbody';
const CHUNKED_ANSWER =
  'HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5;n="v"\r\nhello\r\nA\r\n, chunked!\r\n0\r\nT: x\r\n\r\n';

function put(target: string, name: string, bytes: Uint8Array | string): void {
  mkdirSync(join(ROOT, target), { recursive: true });
  writeFileSync(join(ROOT, target, name), bytes);
}

function joined(bootstrap: Uint8Array, blob: Uint8Array): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(bootstrap.length);
  return Buffer.concat([size, bootstrap, blob]);
}

/** A tree with one of everything; `names` more files in a directory that spans blocks. */
function everything(names: number, fileOf: (bytes: Buffer) => { size: number; chunks: ChunkRef[] }): DirectoryLiteral {
  const root = emptyDirectory();
  const attributes = { uid: 1000, gid: 7, mtimeSec: -5, mtimeNsec: 123_456_789 };
  const xattrs = [
    { name: 'user.mime', value: Buffer.from('text/plain') },
    { name: 'security.capability', value: Buffer.alloc(20, 1) },
    { name: 'system.posix_acl_access', value: Buffer.alloc(28, 2) },
  ];
  const file = { kind: 'file' as const, mode: 0o104755, ...attributes, xattrs, ...fileOf(patterned(9000, 1)) };
  root.children.set('file', file);
  root.children.set('hard link', file);
  root.children.set('link', { kind: 'symlink', mode: 0o120777, ...attributes, xattrs: [], target: 'x'.repeat(200) });
  root.children.set('null', { kind: 'special', mode: 0o020666, ...attributes, xattrs: [], rdev: makeDevice(1, 3) });
  root.children.set('fifo', { kind: 'special', mode: 0o010600, ...attributes, xattrs: [], rdev: 0 });
  const many = emptyDirectory(0o1777);
  for (let i = 0; i < names; i++) {
    const small = { kind: 'file' as const, mode: 0o100644, ...attributes, xattrs: [], ...fileOf(patterned(20 + i, i)) };
    many.children.set(`\xe9ntry-${i}-with-a-name-of-some-length`, small);
  }
  root.children.set('many', many);
  return root;
}

/** An image of ours with its blob, of whatever compressor. */
function ours(compressor: 'zstd' | 'lz4' | 'none', digester: 'blake3' | 'sha256', names: number) {
  const chunkSize = 4096;
  const compress = createCompressor(compressor);
  const chunks = new ChunkTable();
  const stored: Uint8Array[] = [];
  let [position, device] = [0, 0];
  const fileOf = (bytes: Buffer) => {
    const refs: ChunkRef[] = [];
    for (let at = 0; at < bytes.length; at += chunkSize, device += chunkSize) {
      const chunk = bytes.subarray(at, at + chunkSize);
      const packed = Buffer.from(compress(chunk));
      const compressed = packed.length < chunk.length;
      const unit = compressed ? packed : chunk;
      const place = { compressedOffset: position, compressedSize: unit.length, compressed, crc32: 0 };
      const record = { ...place, uncompressedOffset: device, uncompressedSize: chunk.length };
      refs.push(chunkRef(0, chunks.add(record, digestOf(digester, chunk))));
      stored.push(unit);
      position += unit.length;
    }
    return { size: bytes.length, chunks: refs };
  };
  const root = everything(names, fileOf);
  const hash = createHash('sha256').update(Buffer.concat(stored));
  const { sections, info } = finishBlob({ chunks, compressor, digester, dataSize: position, hash });
  const prefetch = [['file'], ['many']];
  const { bytes } = writeBootstrap({ root, blobs: [info], chunkSize, compressor, digester, prefetch });
  return { bootstrap: bytes, blob: Buffer.concat([...stored, ...sections]) };
}

const SCRATCH = mkdtempSync(join(tmpdir(), 'naiad-seeds-'));

const STAGE = `mkdir -p d/e many && echo hello > d/f && ln d/f d/g && ln -s d/f l && mkfifo p && mknod n c 1 3
printf 'long enough to be compressed, long enough to be compressed' > d/e/h && : > d/empty && ln -s "$(printf 'x%.0s' {1..150})" d/far
setfattr -n user.a -v 1 d/f && head -c 9000 /dev/zero | tr '\\0' 'x' > d/e/i && for i in 1 2 3 4 5 6 7; do echo $i > many/$i; done
: > d/.wh.gone && : > d/e/.wh..wh..opq && truncate -s 40000 s && printf data | dd of=s bs=1 seek=20000 conv=notrunc status=none
mkdir -p "$(printf 'p%.0s' {1..90})/$(printf 'q%.0s' {1..90})" && : > "$(printf 'p%.0s' {1..90})/$(printf 'q%.0s' {1..90})/$(printf 'r%.0s' {1..120})"
find . -exec touch -h -d '2020-01-01 00:00:00.5 UTC' {} +`;

/** A layer with an entry of every kind, as a build cache knows it. */
function layerRecord(): void {
  const sizes = { compressedSize: 5000, ciOffset: 2000, ciCompressedSize: 48, ciUncompressedSize: 48, tocSize: 1024 };
  const blob = { blobId: 'ab'.repeat(32), compressor: 'zstd', digester: 'blake3', ciCompressor: 'none', features: 0 };
  const counts = { entries: 7, tarSize: 20480, chunks: 3, bytes: 6000 };
  const chunk = { digest: Buffer.alloc(32, 7).toString('base64'), size: 4096, stored: 1000, crc32: 9 };
  const attributes = { uid: 0, gid: 0, mtimeSec: 1_600_000_000, mtimeNsec: 5 };
  const at = (kind: string, path: string, mode: number) => ({ kind, path, mode, ...attributes });
  const lines = [
    {
      format: 'naiad-layer',
      version: 1,
      ...counts,
      blob: { ...blob, ...sizes, chunkCount: 2, tocDigest: 'cd'.repeat(32) },
    },
    chunk,
    { ...chunk, digest: Buffer.alloc(32, 8).toString('base64'), size: 904, stored: 904 },
    at('directory', 'd', 0o040755),
    { ...at('file', 'd/f\xfe', 0o104755), xattrs: [['user.a', '\xff']], size: 5000, chunks: [0, 1] },
    { ...at('file', 'd/.wh.gone', 0o100644), size: 0, chunks: [] },
    { kind: 'link', path: 'l', target: 'd/f\xfe' },
    { ...at('symlink', 's', 0o120777), target: 'd' },
    { ...at('special', 's/c', 0o020600), rdev: 259 },
    { ...at('file', 'g', 0o100600), size: 904, chunks: [1] },
  ];
  put('layer-record', 'everything', Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join('')));
}

async function layers(): Promise<void> {
  const stage = join(SCRATCH, 'stage');
  mkdirSync(stage);
  await runTool('bash', ['-ec', STAGE], { cwd: stage });
  const tar = async (name: string, ...args: string[]) => {
    const path = join(SCRATCH, name);
    // In a pid namespace of its own: names of sparse files' headers hold the process id.
    await runTool('unshare', [
      '--pid',
      '--fork',
      'tar',
      '--sort=name',
      '--numeric-owner',
      '-b1',
      '-C',
      stage,
      '-cf',
      path,
      ...args,
    ]);
    put('layer', name, readFileSync(path));
  };
  const pax = [
    '--format=pax',
    '--pax-option=exthdr.name=%d/%f,delete=atime,delete=ctime',
    '--xattrs',
    '--xattrs-include=*',
  ];
  await tar('pax.tar', ...pax, '.');
  await tar('pax-sparse-0.0.tar', ...pax, '--sparse', '--sparse-version=0.0', 's', 'd/f');
  await tar('pax-sparse-0.1.tar', ...pax, '--sparse', '--sparse-version=0.1', 's', 'd/f');
  await tar('pax-sparse-1.0.tar', ...pax, '--sparse', '--sparse-version=1.0', 's', 'd/f');
  await tar('gnu.tar', '--format=gnu', '--sparse', '.');
  await tar('ustar.tar', '--format=ustar', '--exclude=far', 'd', 'many', 'p', 'n', 'l');
  await tar('v7.tar', '--format=v7', 'd/f', 'd/g', 'd/e', 'l');
  for (const [name, level] of [
    ['gzip', '-9n'],
    ['zstd', '-19'],
  ] as const) {
    const { stdout } = await runTool('bash', ['-c', `${name} ${level} -c < ${join(SCRATCH, 'pax.tar')} | base64 -w0`]);
    put('stream', `layer.${name}`, Buffer.from(stdout, 'base64'));
  }
}

function streams(): void {
  const text = Buffer.from('some text that repeats, some text that repeats, and then ends '.repeat(40));
  put('stream', 'members.gzip', Buffer.concat([gzipSync(text), gzipSync('and more'), gzipSync('')]));
  const named = gzipSync(text);
  named[3] = 0x08;
  put('stream', 'name.gzip', Buffer.concat([named.subarray(0, 10), Buffer.from('a name\0'), named.subarray(10)]));
  put('stream', 'plain.tar', Buffer.alloc(1024));
  const skippable = Buffer.concat([Buffer.from('502a4d1804000000', 'hex'), Buffer.from('skip')]);
  const frame = Buffer.from(createCompressor('zstd')(text));
  put('stream', 'frames.zstd', Buffer.concat([skippable, frame, frame]));
  for (const [index, compressor] of (['lz4', 'zstd', 'gzip', 'none'] as const).entries()) {
    const stored = Buffer.from(createCompressor(compressor)(text));
    const head = Buffer.from([index, 0, 0, 0, 0]);
    head.writeUInt32LE(text.length, 1);
    put('chunk', compressor, Buffer.concat([head, stored]));
  }
}

function documents(): void {
  const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
  const oci = 'application/vnd.oci.image';
  const docker = 'application/vnd.docker';
  const layer = { mediaType: `${oci}.layer.v1.tar+gzip`, digest: digest('a'), size: 1234 };
  const config = { mediaType: `${oci}.config.v1+json`, digest: digest('b'), size: 99 };
  const mark = 'containerd.io/snapshot/nydus-';
  const manifest = { schemaVersion: 2, mediaType: `${oci}.manifest.v1+json`, config, layers: [layer, layer] };
  const blob = { ...layer, mediaType: `${oci}.layer.nydus.blob.v1`, annotations: { [`${mark}blob`]: 'true' } };
  const last = { ...layer, annotations: { [`${mark}bootstrap`]: 'true', [`${mark}fs-version`]: '6' } };
  const platform = { os: 'linux', architecture: 'arm64', variant: 'v8', 'os.features': ['x'] };
  const entry = { mediaType: manifest.mediaType, digest: digest('c'), size: 500, platform };
  const index = {
    schemaVersion: 2,
    mediaType: `${oci}.index.v1+json`,
    manifests: [entry, entry],
    annotations: { a: 'b' },
  };
  const rootfs = { type: 'layers', diff_ids: [digest('d'), digest('e')] };
  const history = [{ created: '2020-01-01T00:00:00Z', created_by: 'x', empty_layer: true }, { comment: 'y' }];
  const run = {
    User: '1000:1000',
    Env: ['PATH=/bin'],
    Entrypoint: ['/a'],
    Cmd: ['b'],
    WorkingDir: '/',
    Labels: { a: 'b' },
  };
  const seeds = {
    manifest,
    'manifest-converted': { ...manifest, layers: [blob, last], subject: entry, artifactType: 'x/y' },
    'manifest-docker': {
      ...manifest,
      mediaType: `${docker}.distribution.manifest.v2+json`,
      layers: [{ ...layer, mediaType: `${docker}.image.rootfs.foreign.diff.tar.gzip`, urls: ['https://example.org/'] }],
    },
    'manifest-schema1': { schemaVersion: 1, name: 'x', tag: 'y', fsLayers: [{ blobSum: digest('a') }], history: [] },
    index,
    'index-docker': { ...index, mediaType: `${docker}.distribution.manifest.list.v2+json` },
    config: { os: 'linux', architecture: 'amd64', created: '2020-01-01T00:00:00Z', config: run, rootfs, history },
  };
  for (const [name, value] of Object.entries(seeds)) put('document', `${name}.json`, JSON.stringify(value, null, 1));
  const references = [
    ...[
      'debian',
      'debian:12',
      `debian@${digest('a')}`,
      `localhost:5000/a/b-c/d_e:v1.2@${digest('b')}`,
      '[::1]:5000/x:y',
    ],
    ...['docker.io/library/debian', 'example.org/a__b/c--d', 'EXAMPLE.org:443/a', '127.0.0.1/x'],
  ];
  for (const [number, text] of references.entries()) put('reference', `${number}`, text);
  put(
    'challenge',
    'bearer',
    'Bearer realm="https://auth.example.org/token",service="registry, the",scope="repository:a/b:pull,push"',
  );
  put(
    'challenge',
    'several',
    'Negotiate YIIabc==, Basic realm="a \\"quoted\\" one", charset=UTF-8\nBearer realm=x , error="invalid_token"',
  );
  put('answer', 'range', RANGE_ANSWER);
  put('answer', 'chunks', CHUNKED_ANSWER);
}

function traces(): void {
  const touch = {
    path: '/d/f',
    offset: 0,
    size: 4096,
    chunk: `blake3:${'ab'.repeat(32)}`,
    atMs: 1.5,
    waitMs: 2,
    runs: 1,
  };
  const moved = { ...touch, path: '/d/\xff\\', offset: 4096, runs: 2, waitMs: 0 };
  const whole = { path: '/many', offset: 0, atMs: 0, waitMs: 0, runs: 1 };
  const [image, reference] = [`sha256:${'cd'.repeat(32)}`, 'localhost:5000/a:b'];
  put(
    'trace',
    'ours',
    formatTrace({ image, reference, runs: 2, readyMs: 3.25, cut: true, touches: [touch, moved, whole] }),
  );
  put('trace', 'list', '# paths\n/file\n/many/\n./d/e\n/\n');
  put(
    'trace',
    'nydus',
    '{"version":"v1","files":[{"path":"/file","ranges":[[0,4096],[8192,1]]},{"path":"/many","ranges":null}]}',
  );
}

function chunkMap(): void {
  const path = join(SCRATCH, 'map');
  ChunkMapFile.create(path, mapIdentity, { dataInode: 5n, dataBirthNs: 6n }, MAP_BOOT_ID);
  put('chunk-map', 'empty', readFileSync(path));
  const found = ChunkMapFile.open(path, mapIdentity, MAP_BOOT_ID);
  if (found.state !== 'found') throw new Error(`the map just made is ${found.state}`);
  using map = found.map;
  for (const index of [0, 1, 5, 39]) map.add(index);
  put('chunk-map', 'some', readFileSync(path));
}

async function archives(): Promise<void> {
  const root = join(SCRATCH, 'stage', 'd', 'e');
  const [ours, plain, docker] = ['naiad', 'oci', 'docker'].map((name) => join(SCRATCH, `${name}.archive`));
  const naiad = join('dist', 'cli', 'main.js');
  await runTool(process.execPath, [naiad, 'convert', '--quiet', `dir:${root}`, `oci-archive:${ours}:x`]);
  const layout = join(SCRATCH, 'archives');
  await runTool('umoci', ['init', '--layout', layout]);
  await runTool('umoci', ['new', '--image', `${layout}:x`]);
  await runTool('umoci', ['raw', 'add-layer', '--image', `${layout}:x`, join(SCRATCH, 'v7.tar')]);
  await runTool('skopeo', ['copy', '--quiet', `oci:${layout}:x`, `oci-archive:${plain}:x`]);
  await runTool('skopeo', ['copy', '--quiet', `oci:${layout}:x`, `docker-archive:${docker}:some/image:x`]);
  for (const path of [ours, plain, docker]) if (path) put('archive', basename(path, '.archive'), readFileSync(path));
}

async function nydus(): Promise<void> {
  if (!findProgram('nydus-image')) {
    console.error('nydus-image is not on PATH: its seeds stay as they are');
    return;
  }
  const source = join(SCRATCH, 'stage', 'd');
  const cases: readonly (NydusOptions & { name: string })[] = [
    { name: 'nydus-plain', compressor: 'zstd', digester: 'blake3', framing: 'separate', chunkSize: 4096 },
    {
      name: 'nydus-batch',
      compressor: 'lz4_block',
      digester: 'sha256',
      framing: 'separate',
      batchSize: 4096,
      chunkSize: 4096,
    },
    { name: 'nydus-toc', compressor: 'none', digester: 'blake3', framing: 'toc', chunkSize: 4096 },
  ];
  for (const options of cases) {
    const image = await nydusCreate(source, join(SCRATCH, options.name), 'dir-rafs', options);
    const bootstrap = readFileSync(image.bootstrap);
    put('bootstrap', options.name, bootstrap);
    put('blob', options.name, joined(bootstrap, readFileSync(join(image.blobDir, image.blobIds[0] ?? ''))));
  }
}

try {
  const large = ours('zstd', 'blake3', 150);
  put('bootstrap', 'everything', large.bootstrap);
  for (const [compressor, digester] of [
    ['zstd', 'blake3'],
    ['lz4', 'sha256'],
    ['none', 'blake3'],
  ] as const) {
    const { bootstrap, blob } = ours(compressor, digester, 3);
    put('blob', compressor, joined(bootstrap, blob));
  }
  put('bootstrap', 'small', ours('none', 'sha256', 1).bootstrap);
  await layers();
  layerRecord();
  streams();
  documents();
  traces();
  chunkMap();
  await archives();
  await nydus();
  for (const target of readdirSync(ROOT)) console.log(`${target}: ${readdirSync(join(ROOT, target)).join(' ')}`);
} finally {
  rmSync(SCRATCH, { recursive: true, force: true });
}
