// Images that several mounts ask for at once: resolved, fetched and opened once for all of them. Who asks a moment later asks the
// registry again, for a tag may name another image by then; only what is named by its digest is shared as long as it is open.
import { createHash } from 'node:crypto';
import { deferred, unlessAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { identityOf } from '../registry/connections.ts';
import { type ConvertedImage, openConvertedImage } from '../transport/image.ts';
import { locate } from '../transport/locate.ts';
import { EarlyBlobs } from './early-blobs.ts';
import { imageOptions, type OpenImages } from './image-options.ts';
import type { MountRequest } from './mount-request.ts';
import type { TracePlace } from './trace-source.ts';

/** An image for one mount. */
export interface WantedImage {
  readonly reference: string;
  readonly request: MountRequest;
  /** Directory of what is cached. */
  readonly cache: string;
  /** See OpenImageOptions. */
  readonly keptFirst: boolean;
  /** Called when the manifest is here. */
  readonly onResolved: (place: TracePlace) => void;
}

/** A share of an open image. Disposing gives it back; the last one closes the image. */
export interface SharedImage extends AsyncDisposable {
  readonly image: ConvertedImage;
  readonly early: EarlyBlobs;
}

interface Entry {
  users: number;
  readonly over: AbortController;
  readonly early: EarlyBlobs;
  readonly resolved: Promise<TracePlace>;
  readonly opened: Promise<ConvertedImage>;
}

export class SharedImages {
  readonly #context: OpenImages;
  readonly #entries = new Map<string, Entry>();

  constructor(context: OpenImages) {
    this.#context = context;
  }

  /** `signal` ends the waiting, and the work where nobody else waits. @throws what openConvertedImage throws */
  async open(wanted: WantedImage, signal: AbortSignal): Promise<SharedImage> {
    const key = keyOf(wanted);
    const entry = this.#entries.get(key) ?? this.#begin(key, wanted);
    entry.users++;
    entry.resolved.then((place) => signal.aborted || wanted.onResolved(place)).catch(() => undefined);
    try {
      const image = await unlessAborted(entry.opened, signal);
      return { image, early: entry.early, [Symbol.asyncDispose]: () => this.#release(key, entry) };
    } catch (error) {
      await this.#release(key, entry);
      throw error;
    }
  }

  #begin(key: string, { reference, request, cache, keptFirst }: WantedImage): Entry {
    const over = new AbortController();
    const resolved = deferred<TracePlace>();
    const early = new EarlyBlobs(cache, { wholeIfSmall: request.owner !== undefined });
    const opened = openConvertedImage(reference, {
      signal: over.signal,
      onResolved: (source, manifestDigest) =>
        resolved.resolve({ source, manifestDigest, shared: { signal: over.signal, found: new Map() } }),
      onLineFree: (source, manifest) => {
        if (request.prefetch !== 'none') early.begin(source, manifest);
      },
      keptFirst,
      ...imageOptions(request, cache, this.#context),
    });
    const entry = { users: 0, over, early, resolved: resolved.promise, opened };
    this.#entries.set(key, entry);
    const place = locate(reference);
    const isFixed = place.transport === 'docker' && place.reference.digest !== undefined;
    opened.then(
      () => isFixed || this.#forget(key, entry),
      () => this.#forget(key, entry),
    );
    return entry;
  }

  #forget(key: string, entry: Entry): void {
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
  }

  async #release(key: string, entry: Entry): Promise<void> {
    if (--entry.users > 0) return;
    this.#forget(key, entry);
    entry.over.abort(new NaiadError('CANCELED', 'nobody needs the image any more'));
    entry.early[Symbol.dispose]();
    const image = await entry.opened.catch(() => undefined);
    await image?.[Symbol.asyncDispose]();
  }
}

/** All that says what is opened, how, and with whose credentials: some of it may be secret. */
function keyOf({ reference, request, cache, keptFirst }: WantedImage): string {
  const { platform, environment, registry, prefetch, owner } = request;
  const who = identityOf(environment ?? process.env);
  const parts = [reference, cache, keptFirst, platform, registry, who, prefetch === 'none', owner !== undefined];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
