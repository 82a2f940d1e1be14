// Unix sockets at paths of any length: the kernel takes 107 bytes, a state directory may be deeper.
import { closeSync, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';

/** sun_path of Linux, without its NUL. */
const SOCKET_PATH_SIZE_MAX = 107;

export interface SocketPath extends Disposable {
  /** What to bind or connect to, until this is disposed. */
  readonly path: string;
}

/** A short name for `path`, whose directory must exist. @throws what open(2) throws. */
export function shortSocketPath(path: string): SocketPath {
  if (Buffer.byteLength(path) <= SOCKET_PATH_SIZE_MAX) return { path, [Symbol.dispose]: () => undefined };
  const directory = openSync(dirname(path), 'r');
  return { path: `/proc/self/fd/${directory}/${basename(path)}`, [Symbol.dispose]: () => closeSync(directory) };
}
