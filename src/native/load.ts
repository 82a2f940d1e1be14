// The addon: where it is looked for, and what it means when it is not there. Its operations answer with 0 or an errno.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { NaiadError } from '../base/errors.ts';
import type { FuseStatus } from './fuse-status.ts';

/** What native/src/addon.cc registers. Paths and names are bytes without NUL; an errno is positive. */
export interface Addon {
  mknod(path: Buffer, mode: number, device: number): number;
  setTimes(path: Buffer, seconds: number, nanoseconds: number): number;
  setXattr(path: Buffer, name: Buffer, value: Buffer): number;
  getXattr(path: Buffer, name: Buffer): Buffer | number;
  listXattrs(path: Buffer): Buffer | number;
  tryLock(fd: number, operation: number): number;
  mount(source: Buffer, target: Buffer, type: Buffer, flags: number, options: Buffer): Promise<number>;
  limitMemory(): boolean;
  replaceProcess(words: Buffer): number;
  umount(target: Buffer, flags: number): Promise<number>;
  socketPair(): [number, number] | number;
  connectUnix(path: Buffer): number;
  sendDescriptors(socket: number, bytes: Buffer, descriptors: readonly number[]): number;
  /** These three answer with a descriptor, or a process number, or a negative errno. */
  connectPackets(path: Buffer, timeoutMs: number): number;
  peerPid(socket: number): number;
  memoryFile(bytes: Buffer): number;
  duplicateOver(from: number, to: number): number;
  receiveDescriptors(socket: number, sizeMax: number, timeoutMs: number): Promise<PassedMessage | number>;
  fuseStart(options: object, onEvent: (misses: Float64Array, ended: boolean) => void): number;
  fuseDone(session: number, id: number, errno: number): void;
  fuseStop(session: number): Promise<void>;
  fuseStatus(session: number): FuseStatus;
  fuseTouches(session: number): { readonly touches: Float64Array; readonly cut: boolean };
  fuseClone(fd: number): number;
  fuseResend(fd: number): number;
  zstdCompress(bytes: Uint8Array, sizes: Uint32Array, storedSizes: Uint32Array, level: number): Promise<number>;
  zstdDecompress(room: Uint8Array, stored: Uint8Array): Promise<number>;
  sha256Start(): Sha256;
  sha256Update(hash: Sha256, bytes: Uint8Array): void;
  sha256UpdateAsync(hash: Sha256, bytes: Uint8Array): Promise<void>;
  sha256Copy(hash: Sha256): Sha256;
  sha256Digest(hash: Sha256): Buffer;
}

declare const sha256: unique symbol;
/** A hash of native/src/digest. */
export interface Sha256 {
  readonly [sha256]: true;
}

/** What a message over a Unix socket brought; its descriptors belong to whoever received it. */
export interface PassedMessage {
  /** Empty when the other side has closed. */
  readonly bytes: Buffer;
  readonly descriptors: number[];
}

const PACKAGE_ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const BUILD_HINT = `Build it with \`node ${PACKAGE_ROOT}scripts/setup.mjs\`; that needs g++, make and python3.`;
/** Another build of it, for sanitizers. */
const ADDON_PATH = process.env.NAIAD_ADDON || `${PACKAGE_ROOT}native/build/Release/naiad.node`;

let loaded: { readonly addon: Addon } | { readonly problem: unknown } | undefined;

/** @throws NaiadError ADDON_MISSING, saying where it was looked for and how it is built. */
export function loadAddon(): Addon {
  loaded ??= tryLoad();
  if ('addon' in loaded) return loaded.addon;
  throw new NaiadError('ADDON_MISSING', `the native addon cannot be loaded from ${ADDON_PATH}`, {
    cause: loaded.problem,
    hint: BUILD_HINT,
  });
}

/** Undefined where it was not built, for what goes on without. */
export function addonIfBuilt(): Addon | undefined {
  loaded ??= tryLoad();
  return 'addon' in loaded ? loaded.addon : undefined;
}

/** The path of a program built beside the addon. @throws NaiadError ADDON_MISSING when it was not built. */
export function nativeProgram(name: string): string {
  const path = `${PACKAGE_ROOT}native/build/Release/${name}`;
  if (existsSync(path)) return path;
  throw new NaiadError('ADDON_MISSING', `${path} is not built`, { hint: BUILD_HINT });
}

function tryLoad(): { readonly addon: Addon } | { readonly problem: unknown } {
  try {
    return { addon: createRequire(import.meta.url)(ADDON_PATH) as Addon };
  } catch (problem) {
    return { problem };
  }
}
