// What registries were found to be like, by probing them and by pushing: a file for each host, believed for a while. Nothing
// here is needed; what cannot be read or written is found out again.
import { randomBytes } from 'node:crypto';
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NaiadError } from '../base/errors.ts';
import {
  KNOWN_HOST_AGE_MAX_MS,
  KNOWN_HOST_SIZE_MAX,
  UPLOAD_CHUNK_SIZE,
  UPLOAD_CHUNK_SIZE_MIN,
} from '../base/limits.ts';
import { makeDirectories } from '../store/directories.ts';
import type { RegistryProbe } from './probe.ts';
import { UPLOAD_WAYS, type UploadHabits } from './upload-habits.ts';

export interface KnownHost {
  /** Milliseconds since 1970, of the newest of what is known. */
  readonly learnedAt: number;
  readonly habits?: UploadHabits | undefined;
  readonly probe?: RegistryProbe | undefined;
}

export class KnownHosts {
  readonly #dir: string;
  readonly #clock: () => number;

  /** `clock` counts milliseconds since 1970. */
  constructor(dir: string, clock: () => number = Date.now) {
    this.#dir = dir;
    this.#clock = clock;
  }

  #path(host: string): string {
    return join(this.#dir, `${encodeURIComponent(host)}.json`);
  }

  /** What is known of `host` and not too old to be believed. */
  async read(host: string): Promise<KnownHost | undefined> {
    try {
      const path = this.#path(host);
      if ((await stat(path)).size > KNOWN_HOST_SIZE_MAX) return undefined;
      const known = parseKnown(await readFile(path, 'utf8'));
      const age = this.#clock() - known.learnedAt;
      // From the future: a clock was wrong, now or then.
      return age >= 0 && age < KNOWN_HOST_AGE_MAX_MS ? known : undefined;
    } catch {
      return undefined;
    }
  }

  /** Adds to what is known of `host`. */
  async learn(host: string, news: Omit<KnownHost, 'learnedAt'>): Promise<void> {
    const known = await this.read(host);
    const learned: KnownHost = { ...known, ...news, learnedAt: this.#clock() };
    const path = this.#path(host);
    const unfinished = `${path}.${randomBytes(4).toString('hex')}`;
    try {
      await makeDirectories(this.#dir, 0o700);
      await writeFile(unfinished, JSON.stringify(learned), { mode: 0o600 });
      await rename(unfinished, path);
    } catch {
      await rm(unfinished, { force: true }).catch(() => {});
    }
  }
}

function parseKnown(text: string): KnownHost {
  const { learnedAt, habits, probe } = JSON.parse(text) as Partial<KnownHost>;
  const wrong = () => new NaiadError('CONFIG_INVALID', 'not what was written');
  if (typeof learnedAt !== 'number') throw wrong();
  if (habits && !(UPLOAD_WAYS.includes(habits.way) && isChunkSize(habits.chunkSize))) throw wrong();
  if (probe && typeof probe.manifest?.digest !== 'string') throw wrong();
  return { learnedAt, habits, probe };
}

function isChunkSize(size: unknown): boolean {
  return Number.isSafeInteger(size) && Number(size) >= UPLOAD_CHUNK_SIZE_MIN && Number(size) <= UPLOAD_CHUNK_SIZE;
}

/** The way to upload that a probe found, where it is not the usual one. */
export function habitsOf({ push }: RegistryProbe): UploadHabits | undefined {
  if (!push || push.put.works) return undefined;
  if (push.stream.works) return { way: 'stream', chunkSize: UPLOAD_CHUNK_SIZE };
  return push.chunks.works ? { way: 'chunks', chunkSize: UPLOAD_CHUNK_SIZE } : undefined;
}
