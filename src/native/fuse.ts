// A FUSE session of the addon: threads that answer the kernel from a bootstrap and from cached data, without JavaScript.
// What is not cached comes here as a miss, once for a whole read.
import { systemError } from '../base/system-error.ts';
import { errnoError } from './errno.ts';
import type { FuseNegotiated, FuseStatus } from './fuse-status.ts';
import { loadAddon } from './load.ts';

/** A device that sessions read: its cache files and where its chunks lie. */
export interface FuseDevice {
  readonly dataFd: number;
  readonly mapFd: number;
  /** Where the ready bits start in the map, a multiple of 4096. */
  readonly readyAt: number;
  readonly size: number;
  /** Of each chunk, ascending: where it starts on the device, and its bytes. */
  readonly starts: BigUint64Array;
  readonly sizes: Uint32Array;
}

/** The first read of a chunk. */
export interface FuseTouch {
  /** Where the chunk begins: on the device, and in the file that was read. */
  readonly device: number;
  readonly deviceOffset: number;
  readonly nid: number;
  readonly fileOffset: number;
  /** Of the system's monotonic clock. */
  readonly atMs: number;
  /** 0 when the bytes were there; undefined while somebody waits for them. */
  readonly waitMs: number | undefined;
}

/** Bytes of a file that somebody waits for. */
export interface FuseMiss {
  readonly id: number;
  readonly nid: number;
  readonly offset: number;
  readonly size: number;
}

export interface FuseOptions {
  /** Kept, and must not change, as long as the session lives. */
  readonly bootstrap: Uint8Array;
  /** In blob order. */
  readonly devices: readonly FuseDevice[];
  /** Of one connection; the caller's, open until `stop` is done. Each has a thread. */
  readonly descriptors: readonly number[];
  /** At least so many threads. */
  readonly threads: number;
  /** Of a connection that another process made; else the kernel's first request settles it. */
  readonly negotiated?: FuseNegotiated | undefined;
  /** First touches of chunks that are kept, at most. */
  readonly touchesMax: number;
  /** Each must be answered with `done`. */
  readonly onMiss: (miss: FuseMiss) => void;
  /** The kernel has let go of the mount. */
  readonly onEnd: () => void;
}

/** Numbers of one miss in what the addon hands over. */
const MISS_NUMBERS = 4;
/** Numbers of one touch there. */
const TOUCH_NUMBERS = 6;

export class FuseSession {
  readonly #session: number;

  private constructor(session: number) {
    this.#session = session;
  }

  /** @throws NaiadError IO when a map or a bootstrap is not what it should be; ADDON_MISSING. */
  static start(options: FuseOptions): FuseSession {
    const {
      bootstrap,
      devices,
      descriptors,
      threads,
      negotiated = { minor: 0, flags: 0 },
      touchesMax,
      onMiss,
      onEnd,
    } = options;
    const session = loadAddon().fuseStart(
      {
        bootstrap: Buffer.from(bootstrap.buffer, bootstrap.byteOffset, bootstrap.byteLength),
        devices,
        descriptors,
        threads,
        minor: negotiated.minor,
        flags: negotiated.flags,
        touchesMax,
      },
      (misses, ended) => {
        for (let at = 0; at < misses.length; at += MISS_NUMBERS) {
          const [id, nid, offset, size] = misses.subarray(at, at + MISS_NUMBERS) as unknown as [
            number,
            number,
            number,
            number,
          ];
          onMiss({ id, nid, offset, size });
        }
        if (ended) onEnd();
      },
    );
    if (session < 0) throw failed(-session, 'starting a FUSE session');
    return new FuseSession(session);
  }

  /** Has a miss answered: `errno` 0 when its bytes are in the cache. */
  done(id: number, errno: number): void {
    loadAddon().fuseDone(this.#session, id, errno);
  }

  status(): FuseStatus {
    return loadAddon().fuseStatus(this.#session);
  }

  /** First touches of chunks since the session began, in order; `cut` when there were more than are kept. */
  touches(): { readonly touches: readonly FuseTouch[]; readonly cut: boolean } {
    const { touches: numbers, cut } = loadAddon().fuseTouches(this.#session);
    const touches = Array.from({ length: numbers.length / TOUCH_NUMBERS }, (_, index) => {
      const at = index * TOUCH_NUMBERS;
      const [device, deviceOffset, nid, fileOffset, atMs, waitMs] = numbers.subarray(
        at,
        at + TOUCH_NUMBERS,
      ) as unknown as [number, number, number, number, number, number];
      return { device, deviceOffset, nid, fileOffset, atMs, waitMs: waitMs < 0 ? undefined : waitMs };
    });
    return { touches, cut };
  }

  /** Ends the threads. Requests stay unanswered until the last descriptor is closed, or another process answers. The
   *  session is of no use afterwards. */
  stop(): Promise<void> {
    return loadAddon().fuseStop(this.#session);
  }
}

/** Another descriptor of the connection behind `fd`, for a thread of its own; undefined where that cannot be had. */
export function cloneFuseDescriptor(fd: number): number | undefined {
  const clone = loadAddon().fuseClone(fd);
  return clone < 0 ? undefined : clone;
}

/** Has the kernel send again what another process read and did not answer. @throws NaiadError IO before Linux 6.9. */
export function resendRequests(fd: number): void {
  const errno = loadAddon().fuseResend(fd);
  if (errno !== 0) throw failed(errno, 'FUSE_NOTIFY_RESEND');
}

function failed(errno: number, operation: string): Error {
  return systemError(errnoError(errno, operation, Buffer.from('/dev/fuse')), operation);
}
