// Sees that somebody unmounted: one look at the kernel's list for all mounts of this process that ask.
import { setTimeout as sleep } from 'node:timers/promises';
import { type MountEntry, mountAt, readMountTable } from './mount-table.ts';

const WATCH_INTERVAL_MS = 500;

interface Watched {
  readonly mountpoint: string;
  readonly isIt: (entry: MountEntry) => boolean;
  readonly resolve: () => void;
}

const watched = new Set<Watched>();
let looking = false;

/** Resolves once what is seen at `mountpoint` is not what `isIt` says any more, or after `signal`. */
export async function untilUnmounted(
  mountpoint: string,
  isIt: (entry: MountEntry) => boolean,
  signal: AbortSignal,
): Promise<void> {
  await new Promise<void>((resolve) => {
    const one = { mountpoint, isIt, resolve };
    watched.add(one);
    const stop = () => {
      watched.delete(one);
      resolve();
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    if (!looking) void look();
  });
}

async function look(): Promise<void> {
  looking = true;
  while (watched.size > 0) {
    const table = readMountTable();
    for (const one of watched) {
      const entry = mountAt(one.mountpoint, table);
      if (entry && one.isIt(entry)) continue;
      watched.delete(one);
      one.resolve();
    }
    await sleep(WATCH_INTERVAL_MS, undefined, { ref: false });
  }
  looking = false;
}
