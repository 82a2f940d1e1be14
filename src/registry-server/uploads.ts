// Uploads under way: a file in the spool and the running digest of what is in it. They end with the server.
import { createHash, type Hash, randomUUID } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { BLOB_COMPRESSED_SIZE_MAX } from '../base/limits.ts';
import { writeFully } from '../base/write-fully.ts';
import { Refusal } from './refusal.ts';
import type { Storage } from './storage.ts';

/** Sessions that nobody has touched for so long may go. */
const IDLE_MAX_MS = 3600 * 1000;
const UPLOADS_MAX = 1000;
const SETTLE_WAIT_MS = 20;
const SETTLE_WAITS_MAX = 50;

export interface Upload {
  readonly id: string;
  readonly repository: string;
  readonly path: string;
  readonly file: FileHandle;
  readonly hash: Hash;
  size: number;
  touchedAt: number;
  /** A request is writing to it. */
  busy: boolean;
}

export class Uploads {
  readonly #storage: Storage;
  readonly #open = new Map<string, Upload>();

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  async begin(repository: string): Promise<Upload> {
    await this.#makeRoom();
    const path = this.#storage.temporaryPath();
    const upload: Upload = {
      id: randomUUID(),
      repository,
      path,
      file: await open(path, 'wx'),
      hash: createHash('sha256'),
      size: 0,
      touchedAt: performance.now(),
      busy: false,
    };
    this.#open.set(upload.id, upload);
    return upload;
  }

  /** @throws Refusal BLOB_UPLOAD_UNKNOWN */
  find(repository: string, id: string): Upload {
    const upload = this.#open.get(id);
    if (upload?.repository !== repository) throw new Refusal('BLOB_UPLOAD_UNKNOWN', 'no such upload');
    return upload;
  }

  /** Waits, for a moment, until nobody writes to an upload: a body that broke off may not have ended here yet. */
  async settled(upload: Upload): Promise<void> {
    for (let waits = 0; upload.busy && waits < SETTLE_WAITS_MAX; waits++) await sleep(SETTLE_WAIT_MS);
  }

  /**
   * Appends a body. What arrived before the body broke stays, and counts.
   * @throws Refusal BLOB_UPLOAD_INVALID while another request writes, SIZE_INVALID
   */
  async append(upload: Upload, body: AsyncIterable<Uint8Array>): Promise<void> {
    if (upload.busy) throw new Refusal('BLOB_UPLOAD_INVALID', 'another request writes to this upload');
    upload.busy = true;
    try {
      for await (const piece of body) {
        if (upload.size + piece.length > BLOB_COMPRESSED_SIZE_MAX) {
          throw new Refusal('SIZE_INVALID', `a blob has at most ${BLOB_COMPRESSED_SIZE_MAX} bytes`);
        }
        await writeFully(upload.file, piece, upload.size);
        upload.hash.update(piece);
        upload.size += piece.length;
      }
    } finally {
      upload.busy = false;
      upload.touchedAt = performance.now();
    }
  }

  /**
   * Publishes the upload if it has the digest that is claimed, and ends it either way.
   * @throws Refusal DIGEST_INVALID
   */
  async finish(upload: Upload, digest: string): Promise<void> {
    this.#open.delete(upload.id);
    try {
      const got = `sha256:${upload.hash.digest('hex')}`;
      if (got !== digest) {
        throw new Refusal('DIGEST_INVALID', `${upload.size} bytes came with digest ${got}, not ${digest}`);
      }
      await upload.file.datasync();
      await this.#storage.publishBlob(upload.repository, digest, upload.path);
    } finally {
      await upload.file.close();
      await rm(upload.path, { force: true });
    }
  }

  async cancel(upload: Upload): Promise<void> {
    this.#open.delete(upload.id);
    await upload.file.close();
    await rm(upload.path, { force: true });
  }

  async #makeRoom(): Promise<void> {
    const idleSince = performance.now() - IDLE_MAX_MS;
    for (const upload of [...this.#open.values()]) {
      if (!upload.busy && upload.touchedAt < idleSince) await this.cancel(upload);
    }
    if (this.#open.size >= UPLOADS_MAX) throw new Refusal('TOOMANYREQUESTS', `${UPLOADS_MAX} uploads are open`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const upload of [...this.#open.values()]) await this.cancel(upload).catch(() => {});
  }
}
