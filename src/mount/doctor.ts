// Tests what this machine has of what naiad can use, and says what to do about the rest. Changes nothing that stays.
import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { release } from 'node:os';
import { dirname, join } from 'node:path';
import { NaiadError } from '../base/errors.ts';
import { findProgram } from '../base/find-program.ts';
import { systemError } from '../base/system-error.ts';
import { formatSize, GiB } from '../base/units.ts';
import { findRuntime } from '../container/runtime.ts';
import { askKeeper, requireVersion } from '../keeper/attached.ts';
import { keeperProgram } from '../native/keeper.ts';
import { loadAddon } from '../native/load.ts';
import { daemonPaths, stateDir } from '../store/paths.ts';
import { type DriverReason, driverReasons } from './drivers.ts';
import { daemonStatus } from './find-daemon.ts';
import { FUSE_HELPERS } from './fuse-mount.ts';
import { stateRoot } from './state-root.ts';

/** `ok`: as good as it gets. `warn`: something works less well, or not at all for some uses. `fail`: nothing can be mounted. */
export type CheckStatus = 'ok' | 'warn' | 'fail';

export interface Check {
  readonly name: string;
  readonly status: CheckStatus;
  readonly detail: string;
  /** What to do. */
  readonly hint?: string | undefined;
}

export interface DoctorOptions {
  /** Cache directory. */
  readonly cache: string;
  readonly version: string;
}

const SPACE_MIN = 2 * GiB;
const FILES_MIN = 4096;
/** statfs(2) tells file systems by these numbers. */
const FILE_SYSTEMS = new Map([
  [0xef53, { name: 'ext4', erofs: true }],
  [0x58465342, { name: 'xfs', erofs: true }],
  [0x9123683e, { name: 'btrfs', erofs: true }],
  [0x01021994, { name: 'tmpfs', erofs: false }],
  [0x794c7630, { name: 'overlayfs', erofs: false }],
  [0x6969, { name: 'NFS', erofs: false }],
  [0x65735546, { name: 'FUSE', erofs: false }],
]);

/** All checks of this machine, in the order to read them. */
export async function examineMachine({ cache, version }: DoctorOptions): Promise<Check[]> {
  const reasons = driverReasons(cache);
  return [
    kernelCheck(),
    addonCheck(),
    attempt('keeper program', () => keeperProgram()),
    ...driverChecks(reasons),
    userCheck(),
    overlayCheck(),
    runtimeCheck(),
    await cacheCheck(cache),
    spaceCheck(cache),
    await stateCheck(version),
    await keeperCheck(),
    filesCheck(),
  ];
}

function kernelCheck(): Check {
  const kernel = release();
  const [major = 0, minor = 0] = kernel.split('.').map(Number);
  const at = (wantedMajor: number, wantedMinor: number) =>
    major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
  if (at(6, 15)) return { name: 'kernel', status: 'ok', detail: `Linux ${kernel}` };
  const hint = 'Linux 6.15 and later fill an EROFS mount on demand; older ones serve by FUSE.';
  return { name: 'kernel', status: at(4, 18) ? 'warn' : 'fail', detail: `Linux ${kernel}`, hint };
}

function addonCheck(): Check {
  return attempt('addon', () => {
    loadAddon();
    return 'the native addon is built and loads';
  });
}

/** One that works is enough; the others are worth a word. */
function driverChecks(reasons: readonly DriverReason[]): Check[] {
  const works = reasons.some(({ reason }) => reason === undefined);
  return reasons.map(({ name, reason }) => ({
    name: `driver ${name}`,
    status: reason ? (works ? 'warn' : 'fail') : 'ok',
    detail: reason?.message.replace(`${name}: `, '') ?? 'can be used',
    hint: reason?.hint,
  }));
}

function userCheck(): Check {
  if (process.geteuid?.() === 0) return { name: 'user', status: 'ok', detail: 'root' };
  const found = findProgram(...FUSE_HELPERS);
  const detail = `an ordinary user${found ? `, with ${found}` : ''}`;
  if (!found) return { name: 'user', status: 'fail', detail, hint: 'Install fuse3 (fusermount3), or run as root.' };
  return { name: 'user', status: 'warn', detail, hint: 'Writable mounts and naiad run need root.' };
}

function overlayCheck(): Check {
  const has = /\boverlay$/m.test(readFileSync('/proc/filesystems', 'utf8'));
  if (has) return { name: 'overlayfs', status: 'ok', detail: 'the kernel has it' };
  const hint = 'modprobe overlay, or the first writable mount loads it; without it there are only read-only mounts.';
  return { name: 'overlayfs', status: 'warn', detail: 'not loaded', hint };
}

function runtimeCheck(): Check {
  return attempt('runtime', () => findRuntime('auto'), 'warn');
}

/** Writes a sparse file there, since that is what a cache is made of. */
async function cacheCheck(cache: string): Promise<Check> {
  let scratch: string | undefined;
  try {
    await mkdir(cache, { recursive: true, mode: 0o700 });
    scratch = await mkdtemp(join(cache, '.doctor-'));
    await using file = await open(join(scratch, 'sparse'), 'wx');
    await file.write(Buffer.from('x'), 0, 1, 16 * 1024 * 1024);
    await file.datasync();
    const sparse = (await file.stat()).blocks * 512 < 1024 * 1024;
    const type = statfsSync(cache).type;
    const system = FILE_SYSTEMS.get(type) ?? { name: `file system ${type.toString(16)}`, erofs: false };
    const detail = `${cache} on ${system.name}`;
    if (!sparse) {
      const hint = 'Move it (--cache, NAIAD_CACHE): every blob takes its whole size here.';
      return { name: 'cache', status: 'warn', detail: `${detail}, without sparse files`, hint };
    }
    const hint = system.erofs ? undefined : 'The erofs driver wants ext4, xfs or btrfs: --cache or NAIAD_CACHE.';
    return { name: 'cache', status: system.erofs ? 'ok' : 'warn', detail, hint };
  } catch (error) {
    const { message } = systemError(error, `cache directory ${cache}`);
    return { name: 'cache', status: 'fail', detail: message, hint: 'Name another one with --cache or NAIAD_CACHE.' };
  } finally {
    if (scratch !== undefined) await rm(scratch, { recursive: true, force: true });
  }
}

function spaceCheck(cache: string): Check {
  const { bavail, bsize } = statfsSync(existsSync(cache) ? cache : dirname(cache));
  const free = bavail * bsize;
  const detail = `${formatSize(free)} free for the cache`;
  if (free >= SPACE_MIN) return { name: 'space', status: 'ok', detail };
  const hint = 'Blobs are removed to make room, and fetched again: naiad cache ls shows what is there.';
  return { name: 'space', status: 'warn', detail, hint };
}

async function stateCheck(version: string): Promise<Check> {
  const name = 'daemon';
  try {
    const running = await daemonStatus(stateRoot());
    if (!running) return { name, status: 'ok', detail: `none runs in ${stateRoot()}; naiad mount starts one` };
    const { process: owner, mounts } = running;
    const detail = `process ${owner.pid}, naiad ${running.version}, ${mounts} mounts`;
    if (running.version === version) return { name, status: 'ok', detail };
    return { name, status: 'warn', detail, hint: `This is naiad ${version}: naiad daemon stop, then mount again.` };
  } catch (error) {
    if (!(error instanceof NaiadError)) throw error;
    return { name, status: 'fail', detail: `${stateDir()}: ${error.message}`, hint: error.hint };
  }
}

/** The keeper that runs, if one does: readers of every mount wait for it. */
async function keeperCheck(): Promise<Check> {
  const name = 'keeper';
  try {
    const running = await askKeeper(daemonPaths(stateRoot()).keeper);
    if (!running) return { name, status: 'ok', detail: 'none runs; the daemon starts one when a mount needs it' };
    const { pid, devices, held, waiting, daemon } = running;
    const detail = `process ${pid} keeps ${devices} devices and ${held} descriptors, ${waiting} readers wait`;
    requireVersion(running);
    return {
      name,
      status: daemon === 1 ? 'ok' : 'warn',
      detail: `${detail}${daemon === 1 ? '' : '; it has no daemon'}`,
    };
  } catch (error) {
    if (!(error instanceof NaiadError)) throw error;
    return { name, status: 'fail', detail: error.message, hint: error.hint };
  }
}

function filesCheck(): Check {
  const limit = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1] ?? '0';
  const detail = `${limit} open files`;
  if (limit === 'unlimited' || Number(limit) >= FILES_MIN) return { name: 'limits', status: 'ok', detail };
  const hint = `A blob takes two; raise it: ulimit -n ${FILES_MIN}, or LimitNOFILE= of the service.`;
  return { name: 'limits', status: 'warn', detail, hint };
}

function attempt(name: string, check: () => string, otherwise: CheckStatus = 'warn'): Check {
  try {
    return { name, status: 'ok', detail: check() };
  } catch (error) {
    if (!(error instanceof NaiadError)) throw error;
    return { name, status: otherwise, detail: error.message, hint: error.hint };
  }
}
