// Pins: what is kept however full the cache gets. One small file a pin, so that processes need no lock.
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PIN_SIZE_MAX, PINS_MAX } from '../base/limits.ts';
import { systemError } from '../base/system-error.ts';
import type { CachePaths } from './cache-dir.ts';

export interface Pin {
  /** What it was asked for as: a reference or a blob id. Unique. */
  readonly name: string;
  readonly blobs: readonly string[];
  /** Hex digests of manifest, config and bootstrap layer, and of the bootstrap itself. */
  readonly metadata: readonly string[];
  /** ISO 8601. */
  readonly since: string;
}

/** Adds or replaces the pin of that name. @throws NaiadError PERMISSION, NO_SPACE, IO */
export function writePin(paths: CachePaths, pin: Pin): void {
  const path = pinPath(paths, pin.name);
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    mkdirSync(paths.pins, { recursive: true, mode: 0o700 });
    writeFileSync(temporary, `${JSON.stringify(pin, undefined, 2)}\n`, { mode: 0o600 });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw systemError(error, path);
  }
}

/** False when there is no such pin. */
export function removePin(paths: CachePaths, name: string): boolean {
  const path = pinPath(paths, name);
  if (!existsSync(path)) return false;
  try {
    rmSync(path, { force: true });
  } catch (error) {
    throw systemError(error, path);
  }
  return true;
}

/** All pins, by name. Files that are none of ours are passed over. @throws NaiadError PERMISSION, IO */
export function readPins(paths: CachePaths): Pin[] {
  let names: string[];
  try {
    names = readdirSync(paths.pins);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw systemError(error, paths.pins);
  }
  return names
    .filter((name) => /^[0-9a-f]{16}\.json$/.test(name))
    .slice(0, PINS_MAX)
    .flatMap((name) => readPin(join(paths.pins, name)) ?? [])
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function readPin(path: string): Pin | undefined {
  try {
    if (statSync(path).size > PIN_SIZE_MAX) return undefined;
    const { name, blobs, metadata, since } = JSON.parse(readFileSync(path, 'utf8')) as Pin;
    const isList = (value: unknown) => Array.isArray(value) && value.every((one) => typeof one === 'string');
    if (typeof name !== 'string' || !isList(blobs) || !isList(metadata)) return undefined;
    return { name, blobs, metadata, since: String(since) };
  } catch (error) {
    // Removed since, or written by hand.
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw systemError(error, path);
  }
}

function pinPath(paths: CachePaths, name: string): string {
  return join(paths.pins, `${createHash('sha256').update(name).digest('hex').slice(0, 16)}.json`);
}
