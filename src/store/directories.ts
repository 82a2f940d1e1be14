// Directories that a user names. Node's own recursive mkdir never returns where a file system answers ENOENT to mkdir
// itself, as procfs does (nodejs/node, mkdirp in src/node_file.cc), so parents are made one by one.
import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { isSystemError, systemError } from '../base/system-error.ts';

/**
 * Makes `path` and its parents where they are missing, and returns the topmost it made.
 * @throws NaiadError PERMISSION, NO_SPACE, TARGET_EXISTS, IO
 */
export async function makeDirectories(path: string, mode = 0o777): Promise<string | undefined> {
  const missing: string[] = [];
  for (let at = resolve(path); !(await isDirectory(at)); at = dirname(at)) missing.push(at);
  for (const directory of missing.reverse()) {
    try {
      await mkdir(directory, { mode });
    } catch (error) {
      // Someone else may have been faster.
      if (isSystemError(error) && error.code === 'EEXIST' && (await isDirectory(directory))) continue;
      throw systemError(error, `making directory ${directory}`);
    }
  }
  return missing[0];
}

/** False when nothing is there. @throws NaiadError when it cannot be looked at */
async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory() || path === dirname(path);
  } catch (error) {
    if (isSystemError(error) && error.code === 'ENOENT') return false;
    throw systemError(error, path);
  }
}
