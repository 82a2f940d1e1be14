// Descriptors passed between processes over Unix sockets, which Node has no call for. Sockets here are bare descriptors:
// node:net knows nothing of them, and whoever made one closes it.
import { closeSync } from 'node:fs';
import { systemError } from '../base/system-error.ts';
import { errnoError } from './errno.ts';
import { loadAddon, type PassedMessage } from './load.ts';

/** Two connected stream sockets, both close-on-exec: the standard streams of a child are inherited all the same. */
export function socketPair(): [number, number] {
  const pair = loadAddon().socketPair();
  if (typeof pair === 'number') throw failed(pair, 'socketpair', 'a pair of sockets');
  return pair;
}

/** Connects to the stream socket at `path`, at most 107 bytes long. @throws NaiadError NOT_FOUND, PERMISSION, IO … */
export function connectUnix(path: string): number {
  const fd = loadAddon().connectUnix(Buffer.from(path));
  if (fd < 0) throw failed(-fd, 'connect', path);
  return fd;
}

/**
 * Connects to the socket at `path`, which keeps the bounds of messages (SOCK_SEQPACKET); undefined when nobody listens
 * there. A send fails with EAGAIN after `timeoutMs`, and so does this when as many as may wait for who listens.
 * @throws NaiadError PERMISSION, IO
 */
export function connectPackets(path: string, timeoutMs: number): number | undefined {
  const fd = loadAddon().connectPackets(Buffer.from(path), timeoutMs);
  if (fd >= 0) return fd;
  const error = errnoError(-fd, 'connect', Buffer.from(path));
  if (['ENOENT', 'ECONNREFUSED'].includes(error.code ?? '')) return undefined;
  throw systemError(error, `connect ${path}`);
}

/** The process that listens at the other end of a Unix socket. */
export function peerPid(socket: number): number {
  const pid = loadAddon().peerPid(socket);
  if (pid < 0) throw failed(-pid, 'getsockopt', `socket ${socket}`);
  return pid;
}

/** Makes the descriptor `to` another name of what `from` is; what it was before is closed. */
export function duplicateOver(from: number, to: number): void {
  const errno = loadAddon().duplicateOver(from, to);
  if (errno !== 0) throw failed(errno, 'dup3', `descriptor ${to}`);
}

/** A file in memory that holds `bytes` and cannot be changed by anybody; the caller closes it. */
export function memoryFile(bytes: Uint8Array): number {
  const fd = loadAddon().memoryFile(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  if (fd < 0) throw failed(-fd, 'memfd_create', `${bytes.length} bytes`);
  return fd;
}

/** Sends `bytes` (one at least) with copies of `descriptors` (253 at most); the caller's stay open. */
export function sendDescriptors(socket: number, bytes: Buffer, descriptors: readonly number[]): void {
  const errno = loadAddon().sendDescriptors(socket, bytes, descriptors);
  if (errno !== 0) throw failed(errno, 'sendmsg', `socket ${socket}`);
}

/**
 * The next message, which the sender must have sent as one; empty when it has closed. Its descriptors are close-on-exec.
 * @throws NaiadError IO, also when nothing comes within `timeoutMs` (-1 waits without end, and keeps a worker).
 */
export async function receiveDescriptors(
  socket: number,
  options: { readonly sizeMax: number; readonly timeoutMs: number },
): Promise<PassedMessage> {
  const message = await loadAddon().receiveDescriptors(socket, options.sizeMax, options.timeoutMs);
  if (typeof message === 'number') throw failed(message, 'recvmsg', `socket ${socket}`);
  return message;
}

/** Closes what a message brought. */
export function closeDescriptors(descriptors: Iterable<number>): void {
  for (const fd of descriptors) closeSync(fd);
}

function failed(errno: number, operation: string, what: string): Error {
  return systemError(errnoError(errno, operation, Buffer.from(what)), `${operation} ${what}`);
}
