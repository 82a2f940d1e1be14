// The kernel's own EROFS over a bootstrap file and one file a device. mount(8) would take loop devices; mount(2) with paths
// mounts the files themselves.
import { mkdirSync } from 'node:fs';
import { MS_RDONLY, mount, umount } from '../../src/native/mount.ts';

/** Mounts `bootstrap` read-only at `mountpoint`, which is made; unmounted when disposed. */
export async function mountErofs(
  bootstrap: string,
  devices: readonly string[],
  mountpoint: string,
): Promise<AsyncDisposable> {
  mkdirSync(mountpoint, { recursive: true });
  const options = devices.map((path) => `device=${path}`).join(',');
  await mount({ source: bootstrap, target: mountpoint, type: 'erofs', flags: MS_RDONLY, options });
  return {
    async [Symbol.asyncDispose]() {
      await umount(mountpoint);
    },
  };
}
