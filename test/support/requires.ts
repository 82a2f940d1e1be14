// What a test needs beyond Node. Where it is missing the test is skipped with the reason; where REQUIRE (a comma list of
// names, or `all`) says that it must be there, as CI does, the missing thing is a failure instead.
import { accessSync, constants, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { preContentProblem } from '../../src/native/keeper.ts';
import { loadAddon } from '../../src/native/load.ts';

/** Spread into the options of a test: `test('…', { ...root() }, …)`. */
export interface Requirement {
  readonly skip: string | false;
}

/**
 * `check` returns what is missing, or undefined.
 * @throws Error naming what is missing, when REQUIRE lists `name`.
 */
export function requirement(name: string, check: () => string | undefined): Requirement {
  const missing = check();
  if (missing === undefined) return { skip: false };
  const required = (process.env.REQUIRE ?? '').split(',');
  if (required.includes(name) || required.includes('all')) {
    throw new Error(`REQUIRE lists ${name}, but: ${missing}`);
  }
  return { skip: `needs ${name}: ${missing}` };
}

/** The first of `requirements` that is not met, or none. */
export function every(...requirements: readonly Requirement[]): Requirement {
  return requirements.find(({ skip }) => skip !== false) ?? { skip: false };
}

/** Owners, device nodes, trusted xattrs and mounts. */
export function root(): Requirement {
  return requirement('root', () => (process.geteuid?.() === 0 ? undefined : 'not running as root'));
}

/** A program on PATH; its name is the requirement's. */
export function program(name: string): Requirement {
  return requirement(name, () => (findProgram(name) === undefined ? `${name} is not on PATH` : undefined));
}

/** FUSE as the `fuse-native` driver uses it: the device and libfuse 2. */
export function fuse(): Requirement {
  return requirement('fuse', () => {
    if (!accessible('/dev/fuse', constants.R_OK | constants.W_OK)) return '/dev/fuse is missing or closed to this user';
    const libraries = ['/lib', '/usr/lib', '/lib64', '/usr/lib64', '/lib/x86_64-linux-gnu', '/lib/aarch64-linux-gnu'];
    const found = libraries.some((directory) => accessible(join(directory, 'libfuse.so.2'), constants.R_OK));
    return found ? undefined : 'libfuse.so.2 is not installed';
  });
}

/** EROFS in the running kernel, mountable from files (root, Linux 6.12 or later). */
export function erofs(): Requirement {
  return requirement('erofs', () => {
    if (process.geteuid?.() !== 0) return 'not running as root';
    return /\berofs$/m.test(readFileSync('/proc/filesystems', 'utf8')) ? undefined : 'the kernel has no EROFS';
  });
}

/** The path of `name` on PATH. */
export function findProgram(name: string): string | undefined {
  const directories = (process.env.PATH ?? '').split(delimiter).filter((directory) => directory !== '');
  return directories.map((directory) => join(directory, name)).find((path) => accessible(path, constants.X_OK));
}

function accessible(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

/** The native addon, built. */
export function addon(): Requirement {
  return requirement('addon', () => {
    try {
      loadAddon();
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  });
}

/** Pre-content events of files in the temporary directory, and the keeper, built (root, Linux 6.14 or later). */
export function preContent(): Requirement {
  return requirement('pre-content', () => {
    try {
      return preContentProblem(tmpdir())?.message;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  });
}
