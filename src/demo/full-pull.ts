// The way images start without naiad: download every layer, verify, unpack, run. As docker does it: three layers at once,
// unpacked from the base up. Kinder to it than docker is, a layer is unpacked while it still arrives.
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { deferred, forEachBounded } from '../base/concurrency.ts';
import { systemError } from '../base/system-error.ts';
import { MiB } from '../base/units.ts';
import type { Descriptor } from '../format/oci/manifest.ts';
import { openSource } from '../transport/open.ts';
import { readConfig, resolveImage } from '../transport/resolve.ts';
import type { ImageSource } from '../transport/transport.ts';
import { runProgram } from './child.ts';

/** `max-concurrent-downloads` of docker, unless it is configured. */
const DOWNLOADS_IN_FLIGHT_MAX = 3;

export interface FullPullTimes {
  /** All layers are here, verified. On the clock of performance.now(), as the next. */
  readonly downloadedMs: number;
  readonly unpackedMs: number;
}

/**
 * Pulls the image into `directory`, which it makes; `spool` keeps the layers meanwhile.
 * @throws NaiadError of the registry, COMMAND_FAILED when tar fails, NO_SPACE, CANCELED
 */
export async function pullImage(
  reference: string,
  { directory, spool, signal }: { readonly directory: string; readonly spool: string; readonly signal: AbortSignal },
): Promise<FullPullTimes> {
  await mkdir(directory);
  await mkdir(spool);
  await using source = await openSource(reference, { signal });
  const { manifest } = await resolveImage(source, { converted: 'skip', signal });
  await readConfig(source, manifest, signal);
  const layers = manifest.layers.map((descriptor, index) => ({
    descriptor,
    file: new GrowingFile(join(spool, String(index))),
  }));
  const failed = new AbortController();
  const own = AbortSignal.any([signal, failed.signal]);
  const guarded = async (work: Promise<number>) => {
    try {
      return await work;
    } catch (error) {
      failed.abort(error);
      throw error;
    }
  };
  // The first failure is the one to report; the other then ends because of it.
  const outcomes = await Promise.allSettled([
    guarded(download(source, layers, own)),
    guarded(unpack(layers, directory, own)),
  ]);
  if (signal.aborted) throw signal.reason;
  if (failed.signal.aborted) throw failed.signal.reason;
  const [downloadedMs, unpackedMs] = outcomes.map((outcome) =>
    outcome.status === 'fulfilled' ? outcome.value : Number.NaN,
  );
  await rm(spool, { recursive: true });
  return { downloadedMs: downloadedMs as number, unpackedMs: unpackedMs as number };
}

type Layer = { readonly descriptor: Descriptor; readonly file: GrowingFile };

async function download(source: ImageSource, layers: readonly Layer[], signal: AbortSignal): Promise<number> {
  const options = { inFlightMax: DOWNLOADS_IN_FLIGHT_MAX, signal };
  await forEachBounded(layers, options, async ({ descriptor, file }, own) => {
    await file.fill(await source.openBlob(descriptor, own));
  });
  return performance.now();
}

async function unpack(layers: readonly Layer[], directory: string, signal: AbortSignal): Promise<number> {
  for (const { file } of layers) {
    await runProgram('tar', ['-xzf', '-', '-C', directory], {
      signal,
      input: async (stdin) => await pipeline(file.read(signal), stdin, { signal }),
    });
  }
  return performance.now();
}

/** A file that one writes while another reads it from the beginning, waiting for what is not there yet. */
class GrowingFile {
  readonly #path: string;
  #size = 0;
  #done = false;
  #grown = deferred<void>();

  constructor(path: string) {
    this.#path = path;
  }

  async fill(bytes: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      await using handle = await open(this.#path, 'wx');
      for await (const piece of bytes) {
        await handle.writeFile(piece);
        this.#size += piece.length;
        this.#wake();
      }
    } catch (error) {
      throw systemError(error, `writing ${this.#path}`);
    }
    this.#done = true;
    this.#wake();
  }

  #wake(): void {
    const grown = this.#grown;
    this.#grown = deferred();
    grown.resolve();
  }

  /** Ends with the file; `signal` ends the waiting for more. */
  async *read(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const stopped = deferred<void>();
    signal.addEventListener('abort', () => stopped.resolve(), { once: true });
    while (this.#size === 0 && !this.#done && !signal.aborted)
      await Promise.race([this.#grown.promise, stopped.promise]);
    if (signal.aborted) throw signal.reason;
    await using handle = await open(this.#path);
    for (let offset = 0; ; ) {
      if (signal.aborted) throw signal.reason;
      const piece = Buffer.allocUnsafe(Math.min(this.#size - offset, 1 * MiB));
      if (piece.length > 0) {
        const { bytesRead } = await handle.read(piece, 0, piece.length, offset);
        offset += bytesRead;
        yield piece.subarray(0, bytesRead);
      } else if (this.#done) return;
      else await Promise.race([this.#grown.promise, stopped.promise]);
    }
  }
}
