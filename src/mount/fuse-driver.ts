// The native FUSE driver: the addon answers the kernel from the bootstrap's bytes and the cache files; only what is not
// cached comes to JavaScript, once for a whole read.
import { closeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { NaiadError } from '../base/errors.ts';
import { TRACE_TOUCHES_MAX } from '../base/limits.ts';
import type { ChunkCache } from '../cache/chunk-cache.ts';
import { cloneFuseDescriptor, type FuseDevice, type FuseMiss, FuseSession, resendRequests } from '../native/fuse.ts';
import type { FuseNegotiated, FuseStatus } from '../native/fuse-status.ts';
import { loadAddon } from '../native/load.ts';
import type { Driver, DriverMount, Handover } from './driver.ts';
import { errnoOf } from './errno.ts';
import type { RecordedTouches } from './first-touches.ts';
import { checkFuseDevice } from './fuse-descriptors.ts';
import { checkFuseMount, mountFuse, raiseReadAhead } from './fuse-mount.ts';
import type { ImageFs } from './image-fs.ts';
import { unmount } from './unmount.ts';

const NAME = 'fuse';
/** More only wait for each other in the kernel; fewer would let one slow disk hold up all who read what is cached. */
const THREADS_MIN = 2;
const THREADS_MAX = 8;
/** Raised when a state means something else. */
const STATE_VERSION = 1;

export const fuseDriver: Driver = {
  name: NAME,

  unavailable() {
    try {
      loadAddon();
      checkFuseDevice(NAME);
      checkFuseMount(NAME);
      return undefined;
    } catch (error) {
      if (!(error instanceof NaiadError)) throw error;
      if (error.code === 'DRIVER_UNAVAILABLE') return error;
      return new NaiadError('DRIVER_UNAVAILABLE', `${NAME}: ${error.message}`, {
        cause: error,
        ...(error.hint !== undefined && { hint: error.hint }),
      });
    }
  },

  async mount(fs, target, place) {
    const reason = this.unavailable(place.cache);
    if (reason) throw reason;
    const first = await mountFuse(target);
    const mounted = FuseMount.start(fs, withClones(first));
    try {
      await stat(target); // The kernel's first request settles what both can do.
      await raiseReadAhead(target);
      return mounted;
    } catch (cause) {
      await unmount(target, { lazy: true });
      await mounted[Symbol.asyncDispose]();
      throw new NaiadError('MOUNT_FAILED', `${NAME}: ${target} does not answer`, { cause });
    }
  },

  async resume(fs, target, handover) {
    const mounted = FuseMount.start(fs, [...handover.descriptors], handover.state);
    try {
      resendRequests(handover.descriptors[0] as number);
      return mounted;
    } catch (cause) {
      await mounted[Symbol.asyncDispose]();
      throw new NaiadError('MOUNT_FAILED', `${NAME}: ${target} cannot be taken over from another process`, {
        cause,
        hint: 'That needs Linux 6.9. Unmount it and mount again.',
      });
    }
  },
};

class FuseMount implements DriverMount {
  readonly ended: Promise<void>;
  readonly #fs: ImageFs;
  readonly #descriptors: readonly number[];
  readonly #session: FuseSession;
  #stopped:
    | { readonly status: FuseStatus; readonly touches: RecordedTouches; readonly done: Promise<void> }
    | undefined;
  #disposed = false;

  /** Owns `descriptors`, also when it throws. */
  static start(fs: ImageFs, descriptors: readonly number[], state?: string): FuseMount {
    try {
      return new FuseMount(fs, descriptors, state === undefined ? undefined : readState(state));
    } catch (error) {
      for (const fd of descriptors) closeSync(fd);
      throw error;
    }
  }

  private constructor(fs: ImageFs, descriptors: readonly number[], negotiated: FuseNegotiated | undefined) {
    this.#fs = fs;
    this.#descriptors = descriptors;
    let onEnd: () => void = () => undefined;
    this.ended = new Promise((resolve) => {
      onEnd = resolve;
    });
    this.#session = FuseSession.start({
      bootstrap: fs.bootstrap.bytes,
      devices: fs.caches.map(deviceOf),
      descriptors,
      threads: threadCount(),
      negotiated,
      touchesMax: TRACE_TOUCHES_MAX,
      onMiss: (miss) => this.#fetch(miss),
      onEnd,
    });
    fs.countReads(() => this.#status());
    fs.recordTouches(() => this.#stopped?.touches ?? this.#session.touches());
  }

  handover(): Handover {
    const { minor, flags } = this.#status();
    return { descriptors: this.#descriptors, state: JSON.stringify({ version: STATE_VERSION, minor, flags }) };
  }

  release(): Promise<void> {
    // Numbers of a session that has stopped are still asked for.
    this.#stopped ??= {
      status: this.#session.status(),
      touches: this.#session.touches(),
      done: this.#session.stop(),
    };
    return this.#stopped.done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.release();
    for (const fd of this.#descriptors) closeSync(fd);
  }

  #fetch({ id, nid, offset, size }: FuseMiss): void {
    this.#fs.fetch(nid, offset, size).then(
      () => this.#done(id, 0),
      (error) => this.#done(id, errnoOf(error)),
    );
  }

  #done(id: number, errno: number): void {
    if (!this.#stopped) this.#session.done(id, errno);
  }

  #status(): FuseStatus {
    return this.#stopped?.status ?? this.#session.status();
  }
}

function threadCount(): number {
  return Math.min(THREADS_MAX, Math.max(THREADS_MIN, availableParallelism()));
}

/** A descriptor a thread, so that they do not queue for one; where the device cannot be opened again they share. */
function withClones(first: number): number[] {
  const descriptors = [first];
  while (descriptors.length < threadCount()) {
    const clone = cloneFuseDescriptor(first);
    if (clone === undefined) break;
    descriptors.push(clone);
  }
  return descriptors;
}

function deviceOf(cache: ChunkCache): FuseDevice {
  const { chunks, size } = cache.device;
  return {
    dataFd: cache.dataFd,
    mapFd: cache.mapFd,
    readyAt: cache.readyBitsOffset,
    size,
    starts: cache.starts(),
    sizes: Uint32Array.from({ length: chunks.count }, (_, index) => chunks.uncompressedSize(index)),
  };
}

function readState(state: string): FuseNegotiated {
  const { version, minor, flags } = JSON.parse(state) as { version: number } & FuseNegotiated;
  if (version !== STATE_VERSION) {
    throw new NaiadError('MOUNT_FAILED', `${NAME}: a mount of another version of naiad (${version})`);
  }
  return { minor, flags };
}
