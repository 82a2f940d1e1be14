// The seam between "what a file's bytes are" (ImageFs) and "how the kernel asks": each way of asking is a driver.
import type { NaiadError } from '../base/errors.ts';
import type { ImageFs } from './image-fs.ts';

export const DRIVER_NAMES = ['fuse-native'] as const;
export type DriverName = (typeof DRIVER_NAMES)[number];

/** A mount as its driver keeps it. Disposing releases what the driver holds once the kernel has let go. */
export interface DriverMount extends AsyncDisposable {
  /** Resolves when the kernel has let go of the mount, whoever unmounted it. Never rejects. */
  readonly ended: Promise<void>;
}

export interface Driver {
  readonly name: DriverName;
  /** Why it cannot work here, or undefined. */
  unavailable(): NaiadError | undefined;
  /** Mounts `fs` read-only on the empty directory `target`; resolves when it answers. The caller keeps `fs` open until
   *  `ended`, and unmounts `target` like any other mount. @throws NaiadError MOUNT_FAILED, DRIVER_UNAVAILABLE. */
  mount(fs: ImageFs, target: string): Promise<DriverMount>;
}
