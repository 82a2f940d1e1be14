// Nydus' own tools where they are on PATH: they make images for us to read, and check and mount ours.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { signalChild } from '../../src/base/child-process.ts';
import { decompress } from '../../src/codec/codec.ts';
import { SECTION_HEADER_SIZE } from '../../src/format/blob/records.ts';
import { decodeSectionHeader } from '../../src/format/blob/section.ts';
import { sha256Digest } from '../../src/format/oci/digest.ts';
import { NYDUS_BLOB_MEDIA_TYPE } from '../../src/format/oci/media-types.ts';
import { readToc, TOC_SIZE_MAX } from '../../src/image/blob-reader.ts';
import { every, fuse, program, type Requirement } from './requires.ts';
import { runTool } from './run-tool.ts';

export function nydusImage(): Requirement {
  return program('nydus-image');
}

export function nydusd(): Requirement {
  return every(program('nydusd'), fuse());
}

export interface NydusOptions {
  readonly compressor: 'none' | 'lz4_block' | 'zstd';
  readonly digester: 'blake3' | 'sha256';
  readonly chunkSize?: number;
  /** 0: chunks stand alone. */
  readonly batchSize?: number;
  /** Where the metadata goes: a file of its own, or the blob's tail in one of its three forms. */
  readonly framing: 'separate' | 'inline-meta' | 'toc' | 'inline-meta+toc';
}

/** An image of Nydus' making: blobs named by id below `blobDir`. */
export interface NydusImage {
  readonly bootstrap: string;
  readonly blobDir: string;
  readonly blobIds: readonly string[];
}

/** `nydus-image create` of one directory or tar into `dir`, which is made. A blob with inline metadata stands for its bootstrap. */
export async function nydusCreate(
  source: string,
  dir: string,
  type: 'dir-rafs' | 'tar-rafs',
  options: NydusOptions,
): Promise<NydusImage> {
  const blobDir = join(dir, 'blobs');
  mkdirSync(blobDir, { recursive: true });
  const { compressor, digester, chunkSize = 0x100000, batchSize = 0, framing } = options;
  const args = ['create', '--type', type, '--fs-version', '6', '--blob-dir', blobDir, '--log-level', 'warn'];
  args.push('--compressor', compressor, '--digester', digester);
  args.push('--chunk-size', hex(chunkSize), '--batch-size', batchSize === 0 ? '0' : hex(batchSize));
  if (type === 'tar-rafs') args.push('--whiteout-spec', 'none');
  const inline = framing.startsWith('inline-meta');
  const bootstrap = join(dir, 'bootstrap');
  args.push(...(inline ? ['--blob-inline-meta'] : ['--bootstrap', bootstrap]));
  if (framing.endsWith('toc')) args.push('--features', 'blob-toc');
  await runTool('nydus-image', [...args, source]);
  const blobIds = readdirSync(blobDir);
  return { bootstrap: inline ? join(blobDir, blobIds[0] ?? '') : bootstrap, blobDir, blobIds };
}

/**
 * Renames the blob to its sha256, as converters do before they push. nydus-image takes the id of a blob with inline metadata
 * from the file name; its own id leaves the digests out, and no registry would know it.
 */
export function renameToDigest(image: NydusImage): NydusImage {
  const blobIds = image.blobIds.map((id) => {
    const digest = createHash('sha256')
      .update(readFileSync(join(image.blobDir, id)))
      .digest('hex');
    renameSync(join(image.blobDir, id), join(image.blobDir, digest));
    return digest;
  });
  const [first] = image.blobIds;
  const isBlob = first !== undefined && image.bootstrap === join(image.blobDir, first);
  return { ...image, blobIds, bootstrap: isBlob ? join(image.blobDir, blobIds[0] ?? '') : image.bootstrap };
}

/** The bootstrap at the end of a blob with inline metadata, in a file of the blob's name, as mergers want it. */
export function extractBootstrap(image: NydusImage, dir: string): string {
  const [blobId] = image.blobIds;
  if (blobId === undefined || image.bootstrap !== join(image.blobDir, blobId)) return image.bootstrap;
  const blob = readFileSync(image.bootstrap);
  mkdirSync(dir, { recursive: true });
  const path = join(dir, blobId);
  const last = decodeSectionHeader(blob.subarray(-SECTION_HEADER_SIZE));
  if (last?.name === 'image.boot') {
    writeFileSync(path, blob.subarray(-SECTION_HEADER_SIZE - last.size, -SECTION_HEADER_SIZE));
  } else {
    const entry = readToc(blob.subarray(-TOC_SIZE_MAX), blob.length).find(({ name }) => name === 'image.boot');
    if (!entry) throw new Error(`${image.bootstrap} holds no bootstrap`);
    const stored = blob.subarray(entry.compressedOffset, entry.compressedOffset + entry.compressedSize);
    const raw = entry.compressedSize === entry.uncompressedSize;
    writeFileSync(path, raw ? stored : decompress('zstd', stored, entry.uncompressedSize));
  }
  return path;
}

/** `nydus-image merge` of layers, lowest first, into `dir`; their blobs are moved into one directory. */
export async function nydusMerge(layers: readonly NydusImage[], dir: string): Promise<NydusImage> {
  const blobDir = join(dir, 'blobs');
  mkdirSync(blobDir, { recursive: true });
  const sources = layers.map((layer) => {
    const source = extractBootstrap(layer, join(dir, 'bootstraps'));
    for (const id of layer.blobIds) renameSync(join(layer.blobDir, id), join(blobDir, id));
    return source;
  });
  const bootstrap = join(dir, 'image.boot');
  const output = join(dir, 'merge.json');
  const args = ['--log-level', 'warn', '--output-json', output, '--bootstrap', bootstrap];
  await runTool('nydus-image', ['merge', ...args, ...sources]);
  const { blobs } = JSON.parse(readFileSync(output, 'utf8')) as { blobs: string[] };
  return { bootstrap, blobDir, blobIds: blobs };
}

/** A merged image as an OCI layout, as Nydus' converters push it: the blobs, then the bootstrap in a tar.gz. */
export function nydusLayout(image: NydusImage, dir: string): string {
  const blobs = join(dir, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const add = (bytes: Buffer) => {
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(blobs, hex), bytes);
    return { digest: `sha256:${hex}`, size: bytes.length };
  };
  const tar = join(dir, 'bootstrap.tar');
  const stage = join(dir, 'stage', 'image');
  mkdirSync(stage, { recursive: true });
  copyFileSync(image.bootstrap, join(stage, 'image.boot'));
  execFileSync('tar', ['-C', join(dir, 'stage'), '-cf', tar, 'image']);
  const bootstrapTar = readFileSync(tar);
  const mark = 'containerd.io/snapshot/nydus-';
  const blobLayers = image.blobIds.map((id) => {
    const descriptor = add(readFileSync(join(image.blobDir, id)));
    return { mediaType: NYDUS_BLOB_MEDIA_TYPE, ...descriptor, annotations: { [`${mark}blob`]: 'true' } };
  });
  const layers = [
    ...blobLayers,
    {
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      ...add(gzipSync(bootstrapTar)),
      annotations: { [`${mark}bootstrap`]: 'true', [`${mark}fs-version`]: '6' },
    },
  ];
  const diffIds = [...blobLayers.map(({ digest }) => digest), sha256Digest(bootstrapTar)];
  const rootfs = { type: 'layers', diff_ids: diffIds };
  const config = add(Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', config: {}, rootfs })));
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const configType = 'application/vnd.oci.image.config.v1+json';
  const manifest = { schemaVersion: 2, mediaType, config: { mediaType: configType, ...config }, layers };
  const entry = { mediaType, ...add(Buffer.from(JSON.stringify(manifest))) };
  const named = { ...entry, annotations: { 'org.opencontainers.image.ref.name': 'x' } };
  writeFileSync(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
  writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return `oci:${dir}:x`;
}

/** `nydus-image check`; returns the ids of the blobs it lists. @throws Error when it finds something wrong. */
export async function nydusCheck(bootstrap: string, dir: string): Promise<string[]> {
  const output = join(dir, 'check.json');
  await runTool('nydus-image', ['check', '--log-level', 'warn', '--output-json', output, '--bootstrap', bootstrap]);
  return (JSON.parse(readFileSync(output, 'utf8')) as { blobs: string[] }).blobs;
}

/** Mounts with nydusd, in FUSE, blobs from a directory; unmounted when disposed. */
export async function mountNydusd(image: NydusImage, dir: string): Promise<AsyncDisposable & { mountpoint: string }> {
  const mountpoint = join(dir, 'mnt');
  const cache = join(dir, 'cache');
  for (const path of [mountpoint, cache]) mkdirSync(path, { recursive: true });
  const config = join(dir, 'nydusd.json');
  const device = {
    backend: { type: 'localfs', config: { dir: image.blobDir } },
    cache: { type: 'blobcache', config: { compressed: false, work_dir: cache } },
  };
  writeFileSync(config, JSON.stringify({ device, mode: 'direct', digest_validate: false, enable_xattr: true }));
  const args = ['--rlimit-nofile', '0', '--log-level', 'warn', '--config', config, '--bootstrap', image.bootstrap];
  const child = spawn('nydusd', ['fuse', ...args, '--mountpoint', mountpoint], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
  }
  const stop = async () => {
    await end(child);
    // nydusd unmounts on SIGTERM; when it could not, the mount must still not outlive the test.
    if (isMounted(mountpoint, dir)) await runTool('umount', ['-l', mountpoint], { okay: [0, 32] });
  };
  const deadline = Date.now() + 60_000;
  while (!isMounted(mountpoint, dir)) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await stop();
      throw new Error(`nydusd did not mount ${image.bootstrap}: ${log}`);
    }
    await sleep(20);
  }
  return { mountpoint, [Symbol.asyncDispose]: stop };
}

function isMounted(mountpoint: string, parent: string): boolean {
  return statSync(mountpoint, { throwIfNoEntry: false })?.dev !== statSync(parent).dev;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  signalChild(child, 'SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await exited;
  clearTimeout(timer);
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
