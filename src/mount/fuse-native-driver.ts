// The portable driver: JavaScript handlers over the npm package fuse-native and libfuse 2.
import { createRequire } from 'node:module';
import { Lanes } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import type { Driver } from './driver.ts';
import { checkFuseDevice, closedFuse, fuseDescriptors } from './fuse-descriptors.ts';
import { FuseHandlers } from './fuse-native-handlers.ts';
import { mountAt } from './mount-table.ts';

/** What the package's handlers call when they are done: status first, then the buffer they were given. */
type Signal = (status: number, buffer: ArrayBufferLike) => void;

interface FuseInstance {
  mount(done: (error: Error | null) => void): void;
}
type FuseConstructor = new (mountpoint: string, operations: object, options: object) => FuseInstance;

/** Nothing in an image changes, so the kernel may keep all it has learnt. */
const CACHE_SEC = 86_400;
/** One mount at a time: its descriptor is the one that was not there before. */
const mounting = new Lanes(1);

export const fuseNativeDriver: Driver = {
  name: 'fuse-native',

  unavailable() {
    try {
      checkFuseDevice('fuse-native');
      loadPackage();
      return undefined;
    } catch (error) {
      if (error instanceof NaiadError) return error;
      throw error;
    }
  },

  async mount(fs, target, place) {
    const reason = this.unavailable(place.cache);
    if (reason) throw reason;
    const handlers = new FuseHandlers(fs);
    const Fuse = withSafeXattrs(loadPackage(), handlers);
    const fuse = new Fuse(target, handlers.operations(), fuseOptions(process.geteuid?.() === 0));
    using _turn = await mounting.acquire();
    const before = new Set(fuseDescriptors());
    await new Promise<void>((resolve, reject) => {
      fuse.mount((error) => (error ? reject(mountFailed(target, error)) : resolve()));
    });
    if (!mountAt(target)) throw mountFailed(target, new Error('it is not in the list of mounts'));
    const fd = fuseDescriptors().find((one) => !before.has(one));
    return {
      ended: fd === undefined ? Promise.resolve() : closedFuse(fd),
      [Symbol.asyncDispose]: () => {
        handlers.release(); // The package keeps the handlers of a mount for ever.
        return Promise.resolve();
      },
    };
  },
};

/** The package copies xattrs past the end of buffers that are too small; these two handlers of its own do not. */
function withSafeXattrs(Fuse: FuseConstructor, handlers: FuseHandlers): FuseConstructor {
  return class extends Fuse {
    _op_getxattr(signal: Signal, path: string, name: string, buffer: Buffer): void {
      signal(handlers.getxattr(path, name, buffer), buffer.buffer);
    }
    _op_listxattr(signal: Signal, path: string, buffer: Buffer): void {
      signal(handlers.listxattr(path, buffer), buffer.buffer);
    }
  };
}

function fuseOptions(asRoot: boolean): object {
  // The package hands `fsname` to -o as it is, which gives the options it has no name for.
  const extra = [
    'use_ino',
    'ro',
    `attr_timeout=${CACHE_SEC}`,
    `entry_timeout=${CACHE_SEC}`,
    `negative_timeout=${CACHE_SEC}`,
  ];
  if (asRoot) extra.push('suid', 'dev');
  return {
    fsname: ['naiad', ...extra].join(','),
    subtype: 'naiad',
    allowOther: asRoot,
    defaultPermissions: true,
    kernelCache: true,
    timeout: false,
  };
}

function loadPackage(): FuseConstructor {
  try {
    return createRequire(import.meta.url)('fuse-native') as FuseConstructor;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'MODULE_NOT_FOUND') {
      throw unavailable(
        'the npm package fuse-native is not installed',
        'Run "npm install" without --omit=optional.',
        cause,
      );
    }
    if (message.includes('libfuse')) {
      throw unavailable('libfuse 2 is not installed', 'Debian and Ubuntu: apt-get install libfuse2.', cause);
    }
    throw unavailable(`the npm package fuse-native does not load: ${message}`, 'Run "npm rebuild fuse-native".', cause);
  }
}

function unavailable(message: string, hint: string, cause?: unknown): NaiadError {
  return new NaiadError('DRIVER_UNAVAILABLE', `fuse-native: ${message}`, { hint, cause });
}

function mountFailed(target: string, cause: Error): NaiadError {
  return new NaiadError('MOUNT_FAILED', `fuse-native: ${target} was not mounted: ${cause.message}`, {
    cause,
    hint: 'libfuse wrote the reason above; mounting needs CAP_SYS_ADMIN or fusermount.',
  });
}
