// What a process that is there already, as a container engine's daemon is, brings of an image. A full pull, as well as it can be done: every layer at once, verified, decompressed and unpacked while it still arrives, each
// into a directory of its own for overlayfs; or a bootstrap alone, for programs that want it as a file.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants, mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Writable } from 'node:stream';
import { decompressStream } from '../../codec/stream.ts';
import type { Descriptor } from '../../format/oci/manifest.ts';
import { makeNode, setXattr } from '../../native/fs.ts';
import { openConvertedImage } from '../../transport/image.ts';
import { openSource } from '../../transport/open.ts';
import { readConfig, resolveImage } from '../../transport/resolve.ts';
import type { ImageSource } from '../../transport/transport.ts';
import { nowMs } from './link-proxy.ts';
import { answerRequests } from './worker-process.ts';

/** A pull that was asked for; `directory` exists. `whiteouts` as the question of that name tells them. */
export interface PullOrder {
  readonly reference: string;
  readonly directory: string;
  readonly whiteouts: Whiteouts;
}

/** Of each layer, the names of its files that mean a deletion. */
export type Whiteouts = readonly (readonly string[])[];

/** Times in milliseconds since the epoch; the directories of the layers from the base up. */
export interface PullOutcome {
  readonly resolvedAt: number;
  readonly unpackedAt: number;
  readonly layers: readonly string[];
}

/** The bootstrap of a converted image, which is written to `path`. */
export interface BootstrapOrder {
  readonly reference: string;
  readonly path: string;
}

/** In milliseconds since the epoch. */
export interface BootstrapOutcome {
  readonly resolvedAt: number;
  readonly fetchedAt: number;
}

answerRequests({
  async bootstrap({ reference, path }: BootstrapOrder): Promise<BootstrapOutcome> {
    let resolvedAt = Number.NaN;
    const onResolved = () => {
      resolvedAt = nowMs();
    };
    await using image = await openConvertedImage(reference, { lenient: true, onResolved });
    writeFileSync(path, image.bootstrapBytes);
    return { resolvedAt, fetchedAt: nowMs() };
  },
  async pull({ reference, directory, whiteouts }: PullOrder): Promise<PullOutcome> {
    await using source = await openSource(reference);
    const { manifest } = await resolveImage(source, { converted: 'skip' });
    const config = readConfig(source, manifest);
    const resolvedAt = nowMs();
    const layers = await Promise.all(
      manifest.layers.map(async (layer, index) => {
        const target = join(directory, String(index));
        mkdirSync(target);
        await unpack(source, layer, target);
        for (const path of whiteouts[index] ?? []) applyWhiteout(join(target, path));
        return target;
      }),
    );
    await config;
    return { resolvedAt, unpackedAt: nowMs(), layers };
  },
  /** Off the clock: looking for them while unpacking would cost what no engine pays. */
  async whiteouts(reference: string): Promise<Whiteouts> {
    await using source = await openSource(reference);
    const { manifest } = await resolveImage(source, { converted: 'skip' });
    const found: string[][] = [];
    for (const layer of manifest.layers) {
      const { output } = await tarOver(source, layer, ['--list']);
      found.push(output.split('\n').filter((path) => basename(path).startsWith('.wh.')));
    }
    return found;
  },
});

const OPAQUE = '.wh..wh..opq';

/** From the layer's mark to that of overlayfs. */
function applyWhiteout(path: string): void {
  const name = basename(path);
  if (name === OPAQUE) setXattr(Buffer.from(dirname(path)), 'trusted.overlay.opaque', Buffer.from('y'));
  else makeNode(Buffer.from(join(dirname(path), name.slice('.wh.'.length))), constants.S_IFCHR, 0);
}

async function unpack(source: ImageSource, layer: Descriptor, target: string): Promise<void> {
  const how = ['--numeric-owner', '--xattrs', '--xattrs-include=*', '--exclude=.wh.*'];
  await tarOver(source, layer, ['--extract', ...how, `--directory=${target}`]);
}

/** Runs tar over the uncompressed bytes of a layer. */
async function tarOver(source: ImageSource, layer: Descriptor, args: readonly string[]): Promise<{ output: string }> {
  const tar = spawn('tar', [...args, '--file=-'], { stdio: 'pipe' });
  let said = '';
  let output = '';
  tar.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2000);
  });
  tar.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const ended = new Promise<void>((resolve, reject) => {
    tar.once('error', reject);
    tar.once('close', (code) => (code === 0 ? resolve() : reject(new Error(`tar: ${said.trim()}`))));
  });
  await Promise.all([feed(tar.stdin, decompressStream(await source.openBlob(layer))), ended]);
  return { output };
}

/** All of `bytes`, whose digest is checked at their end; tar itself ends at the marks before the last padding. */
async function feed(stdin: Writable, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  let open = true;
  const closed = new Promise<void>((resolve) => {
    for (const event of ['close', 'error']) {
      stdin.on(event, () => {
        open = false;
        resolve();
      });
    }
  });
  for await (const piece of bytes) {
    if (open && !stdin.write(piece)) await Promise.race([once(stdin, 'drain'), closed]);
  }
  if (open) stdin.end();
}
