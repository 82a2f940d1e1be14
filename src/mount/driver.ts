// The seam between "what a file's bytes are" (ImageFs) and "how the kernel asks": each way of asking is a driver.
import type { NaiadError } from '../base/errors.ts';
import type { Keeper } from '../keeper/keeper.ts';
import type { ImageFs } from './image-fs.ts';

export const DRIVER_NAMES = ['erofs', 'fuse', 'fuse-native'] as const;
export type DriverName = (typeof DRIVER_NAMES)[number];

/** What a driver may need of the process that serves the mount. */
export interface MountPlace {
  /** Of the mount; the same when it is served by another process later. */
  readonly id: string;
  /** Cache directory. */
  readonly cache: string;
  /** Has every first touch of a chunk recorded, also where that costs. */
  readonly record: boolean;
  /** The keeper of this process, started when it is first asked for. */
  keeper(): Promise<Keeper>;
}

export interface DriverReport {
  /** How the mount works at this moment, in sentences. */
  readonly why: readonly string[];
}

/** With what another process goes on with a mount, once it has copies of the descriptors. */
export interface Handover {
  /** All of them are needed: requests in flight on one end when its last copy is closed. */
  readonly descriptors: readonly number[];
  /** For `Driver.resume`; less than 128 bytes. */
  readonly state: string;
}

/** A mount as its driver keeps it. Disposing releases what the driver holds once the kernel has let go. */
export interface DriverMount extends AsyncDisposable {
  /** Resolves when the kernel has let go of the mount, whoever unmounted it. Never rejects. */
  readonly ended: Promise<void>;
  report?(): DriverReport;
  /** What a successor needs, when the driver has such a thing. The descriptors stay open until the mount is disposed of. */
  handover?(): Handover | undefined;
  /** Stops answering without an end for those who wait: a successor that has the handover answers them. Then dispose. */
  release?(): Promise<void>;
}

export interface Driver {
  readonly name: DriverName;
  /** Why it cannot work here with that cache directory, or undefined. */
  unavailable(cache: string): NaiadError | undefined;
  /** Mounts `fs` read-only on the empty directory `target`; resolves when it answers. The caller keeps `fs` open until
   *  `ended`, and unmounts `target` like any other mount. @throws NaiadError MOUNT_FAILED, DRIVER_UNAVAILABLE. */
  mount(fs: ImageFs, target: string, place: MountPlace): Promise<DriverMount>;
  /** Goes on with a mount that another process made; whoever waits is answered. Owns the descriptors from then on, whatever
   *  comes of it. `fs` is the same image. @throws NaiadError MOUNT_FAILED. */
  resume?(fs: ImageFs, target: string, handover: Handover, place: MountPlace): Promise<DriverMount>;
}
