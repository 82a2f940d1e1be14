// File attributes that Node's fs cannot set or cannot set exactly. Nothing here follows a symlink at the end of its path.
import { type ByteString, bytesToString, stringToBytes } from '../base/bytes.ts';
import { systemError } from '../base/system-error.ts';
import { errnoError } from './errno.ts';
import { loadAddon } from './load.ts';

/**
 * Makes a fifo, socket, device node or empty file. `mode` has the type bits, and the umask applies to it; `device` is
 * Linux' dev_t, whose low 32 bits are what images store.
 * @throws NaiadError PERMISSION, TARGET_EXISTS, …, ADDON_MISSING
 */
export function makeNode(path: Buffer, mode: number, device: number): void {
  check(loadAddon().mknod(path, mode, device), 'mknod', path);
}

/** Sets the mtime, to the nanosecond; the atime stays. Seconds may be negative. */
export function setTimes(path: Buffer, mtimeSec: number, mtimeNsec: number): void {
  check(loadAddon().setTimes(path, mtimeSec, mtimeNsec), 'utimensat', path);
}

/** Makes or replaces an extended attribute; `name` with its prefix. */
export function setXattr(path: Buffer, name: ByteString, value: Uint8Array): void {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  check(loadAddon().setXattr(path, stringToBytes(name), bytes), `lsetxattr ${name}`, path);
}

/** A fresh buffer with the attribute's value. */
export function getXattr(path: Buffer, name: ByteString): Buffer {
  return checked(loadAddon().getXattr(path, stringToBytes(name)), `lgetxattr ${name}`, path);
}

/** Names of all attributes this process may see, in the order of the file system. */
export function listXattrs(path: Buffer): ByteString[] {
  const names = checked(loadAddon().listXattrs(path), 'llistxattr', path);
  return bytesToString(names)
    .split('\0')
    .filter((name) => name !== '');
}

function check(errno: number, operation: string, path: Buffer): void {
  if (errno !== 0) throw systemError(errnoError(errno, operation, path), `${operation} ${path.toString()}`);
}

function checked(result: Buffer | number, operation: string, path: Buffer): Buffer {
  if (typeof result !== 'number') return result;
  throw systemError(errnoError(result, operation, path), `${operation} ${path.toString()}`);
}
