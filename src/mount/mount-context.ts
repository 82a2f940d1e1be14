// What the mounts of a process share.
import type { CacheDirectories } from './cache-directory.ts';
import type { CachePool } from './cache-pool.ts';
import type { MountObserver } from './image-fs.ts';
import type { OpenImages } from './image-options.ts';
import type { KeeperHandle } from './keeper-handle.ts';
import type { SharedImages } from './shared-images.ts';

export interface MountContext extends OpenImages {
  /** State directory, as `stateRoot` gives it. */
  readonly state: string;
  readonly directories: CacheDirectories;
  readonly pool: CachePool;
  readonly observer?: MountObserver;
  readonly keeper: KeeperHandle;
  readonly images: SharedImages;
}
