// The file systems that `naiad bench read` compares, all with the same tree: ext4, the floor, and each driver's mount.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { signalChild } from '../base/child-process.ts';
import { hasCode, NaiadError } from '../base/errors.ts';
import { type NaiadPlace, runCommand, runNaiad } from './command.ts';

export interface ReadTarget extends AsyncDisposable {
  readonly name: string;
  /** What it is, in a line. */
  readonly what: string;
  /** Where its tree is seen. */
  readonly root: string;
}

export interface TargetPlace {
  /** A directory of this target's own. */
  readonly dir: string;
  readonly signal: AbortSignal;
}

const FLOOR_SOURCE = fileURLToPath(new URL('../../../native/src/bench/floor.cc', import.meta.url));
const FLOOR_WAIT_MS = 30_000;

/**
 * A copy of `tree` in an ext4 of its own on a loop device: what holds its bytes is the page cache of the image file, as
 * it is the page cache of the cache files for a mount. Where that cannot be had, `tree` itself.
 */
export async function ext4Target(tree: string, place: TargetPlace): Promise<ReadTarget> {
  const image = join(place.dir, 'ext4.img');
  const root = join(place.dir, 'ext4');
  mkdirSync(root);
  try {
    const used = (await runCommand('du', ['-s', '--block-size=1M', tree], place)).stdout;
    const files = (await runCommand('du', ['-s', '--inodes', tree], place)).stdout;
    const inodes = Number.parseInt(files, 10) + 1000;
    // Room for the inode tables, the journal and directories that ext4 packs less tightly.
    const megabytes = Math.ceil(Number.parseInt(used, 10) * 1.2 + inodes / 2048) + 128;
    await runCommand('mke2fs', ['-q', '-t', 'ext4', '-N', `${inodes}`, '-d', tree, image, `${megabytes}M`], place);
    await runCommand('mount', ['-o', 'loop,ro,noatime', image, root], place);
  } catch (error) {
    if (!hasCode(error, 'COMMAND_FAILED')) throw error;
    const what = `a plain directory: ${error.message.split('\n')[0]}`;
    return { name: 'ext4', what, root: tree, [Symbol.asyncDispose]: () => Promise.resolve() };
  }
  return { name: 'ext4', what: 'ext4 on a loop device', root, [Symbol.asyncDispose]: () => unmount(root) };
}

/** The C++ program over libfuse 3, compiled here. @throws NaiadError COMMAND_FAILED when it cannot be. */
export async function floorTarget(tree: string, place: TargetPlace): Promise<ReadTarget> {
  const program = join(place.dir, 'naiad-floor');
  const root = join(place.dir, 'floor');
  mkdirSync(root);
  await compileFloor(program, place.signal);
  const child = spawn(program, [tree, root], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  exited.catch(() => undefined); // One that cannot be started has no pid.
  await untilMounted(root, child);
  return {
    name: 'floor',
    what: 'a minimal file system in C++ over libfuse 3',
    root,
    async [Symbol.asyncDispose]() {
      await unmount(root);
      await exited;
    },
  };
}

async function compileFloor(program: string, signal: AbortSignal): Promise<void> {
  try {
    const flags = (await runCommand('pkg-config', ['--cflags', '--libs', 'fuse3'], { signal })).stdout
      .trim()
      .split(/\s+/);
    await runCommand('c++', ['-std=c++20', '-O2', FLOOR_SOURCE, '-o', program, ...flags], { signal });
  } catch (cause) {
    if (!hasCode(cause, 'COMMAND_FAILED')) throw cause;
    throw new NaiadError('COMMAND_FAILED', 'the floor cannot be compiled', {
      cause,
      hint: 'Debian and Ubuntu: apt-get install g++ pkg-config libfuse3-dev.',
    });
  }
}

async function untilMounted(root: string, child: ChildProcess): Promise<void> {
  const { dev } = lstatSync(join(root, '..'));
  for (const end = Date.now() + FLOOR_WAIT_MS; Date.now() < end; await sleep(10)) {
    if (child.exitCode !== null || child.pid === undefined) break;
    if (lstatSync(root).dev !== dev) return;
  }
  signalChild(child, 'SIGKILL');
  throw new NaiadError('COMMAND_FAILED', `the floor was not mounted on ${root}`);
}

/**
 * An image, after options that say how its registry is reached, by `driver`, with every chunk in its cache.
 * @throws NaiadError COMMAND_FAILED with what the command said
 */
export async function driverTarget(image: readonly string[], driver: string, place: TargetPlace): Promise<ReadTarget> {
  const root = join(place.dir, 'mnt');
  mkdirSync(root, { recursive: true });
  const own: NaiadPlace = { state: join(place.dir, 'state'), cache: join(place.dir, 'cache') };
  const mountArguments = ['mount', '--quiet', `--driver=${driver}`, ...image, root];
  const mount = () => runNaiad(mountArguments, { signal: place.signal, place: own });
  const umount = async () => {
    await runNaiad(['umount', '--quiet', root], { signal: new AbortController().signal, place: own });
  };
  await mount();
  try {
    await runCommand('tar', ['-cf', '/dev/zero', '--one-file-system', '-C', root, '.'], place);
  } finally {
    await umount();
  }
  // Mounted anew, it knows from the start that it is complete.
  await mount();
  return {
    name: driver,
    what: `naiad mount --driver=${driver}, complete`,
    root,
    [Symbol.asyncDispose]: umount,
  };
}

async function unmount(root: string): Promise<void> {
  const { signal } = new AbortController();
  await runCommand('umount', [root], { signal });
  rmSync(root, { recursive: true });
}
