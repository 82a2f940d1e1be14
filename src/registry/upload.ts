// Pushing blobs. The first choice is one PUT; what a registry refuses is tried another way, and what works is remembered for
// the blobs after it. A connection that breaks is taken up where the registry says it is; where it cannot say, a new session
// is begun, which is always right.
import { NaiadError } from '../base/errors.ts';
import { REGISTRY_PROGRESS_MIN, UPLOAD_CHUNK_SIZE, UPLOAD_CHUNK_SIZE_MIN } from '../base/limits.ts';
import { TransientFailure } from '../base/transient.ts';
import type { Descriptor } from '../format/oci/manifest.ts';
import { hasBlob } from './blobs.ts';
import type { RequestBody } from './exchange.ts';
import type { Registry } from './transport.ts';
import type { UploadHabits } from './upload-habits.ts';
import {
  appendBytes,
  beginUpload,
  cancelUpload,
  commitUpload,
  mountBlob,
  resumeUpload,
  type UploadPlace,
  UploadRefused,
  type UploadSession,
} from './upload-session.ts';

export interface BlobUpload {
  readonly repository: string;
  readonly descriptor: Pick<Descriptor, 'digest' | 'size'>;
  /** The bytes from the start; called once an attempt. */
  readonly open: RequestBody['open'];
  /** The bytes from an offset on, where that is cheaper than reading up to it. */
  readonly openAt?: (offset: number) => ReturnType<RequestBody['open']>;
  /** Repositories of the same registry that have the blob. */
  readonly mountFrom?: readonly string[] | undefined;
  /** Gets the bytes sent so far; starts over with a new attempt. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/**
 * Pushes a blob, whether the registry has it or not (`hasBlob` asks). Pushing it again changes nothing.
 * @throws NaiadError ACCESS_DENIED, REGISTRY_…, DIGEST_MISMATCH when the bytes are not those of the digest
 */
export async function uploadBlob(registry: Registry, upload: BlobUpload, signal?: AbortSignal): Promise<void> {
  await new Upload(registry, upload, signal).run();
}

/** Other ways of sending are tried this often. */
const TURNS_MAX = 10;

class Upload {
  readonly #registry: Registry;
  readonly #upload: BlobUpload;
  readonly #place: UploadPlace;
  /** One that broke off, until the registry has been asked whether it goes on. */
  #broken: UploadSession | undefined;
  /** The most bytes that the registry said it has. */
  #reached = 0;
  #digestRefused = false;
  #turns = 0;
  /** How the bytes are sent at the moment. */
  #habits: Readonly<UploadHabits>;

  constructor(registry: Registry, upload: BlobUpload, signal: AbortSignal | undefined) {
    this.#registry = registry;
    this.#upload = upload;
    this.#habits = registry.uploadHabits;
    const { repository, descriptor } = upload;
    const what = `upload of blob ${descriptor.digest} to ${repository}`;
    this.#place = { repository, digest: descriptor.digest, what, signal };
  }

  async run(): Promise<void> {
    for (let reached = 0; ; reached = this.#reached) {
      try {
        await this.#attempts();
        return;
      } catch (error) {
        // However often the line breaks: what gets on is no failure.
        const getsOn = this.#broken && this.#reached >= reached + REGISTRY_PROGRESS_MIN;
        if (!getsOn || !(error instanceof NaiadError) || error.kind !== 'unavailable') throw error;
      }
    }
  }

  async #attempts(): Promise<void> {
    const { what, signal } = this.#place;
    const { repository, descriptor } = this.#upload;
    await this.#registry.retry({ what, signal }, undefined, async (_, number) => {
      const taken = await this.#takeUp();
      if (!taken && number > 1 && (await hasBlob(this.#registry, { repository, ...descriptor }, signal))) return;
      const session = taken ?? (number === 1 ? await this.#mount() : undefined);
      if (session === 'mounted') return;
      await this.#fill(session ?? (await beginUpload(this.#registry, this.#place)), number);
    });
  }

  async #mount(): Promise<UploadSession | 'mounted' | undefined> {
    for (const from of this.#upload.mountFrom ?? []) {
      const mounted = await mountBlob(this.#registry, this.#place, from);
      if (mounted === 'mounted') this.#upload.onProgress?.(this.#upload.descriptor.size);
      if (mounted) return mounted;
    }
    return undefined;
  }

  /** The session that broke off, if the registry still has it. */
  async #takeUp(): Promise<UploadSession | undefined> {
    const session = this.#broken;
    if (!session) return undefined;
    const goesOn = await resumeUpload(this.#registry, this.#place, session);
    this.#broken = undefined;
    if (goesOn && session.offset > 0 && session.offset <= this.#upload.descriptor.size) {
      this.#reached = Math.max(this.#reached, session.offset);
      return session;
    }
    await cancelUpload(this.#registry, this.#place, session);
    return undefined;
  }

  /** Sends what is missing and commits. What ended in progress, or in another way to send, does not count as an attempt. */
  async #fill(begun: UploadSession, number: number): Promise<void> {
    for (let session = begun; ; ) {
      const from = session.offset;
      const sent = { bytes: 0 };
      this.#habits = { ...this.#registry.uploadHabits };
      try {
        await this.#send(session, sent);
        return;
      } catch (error) {
        if (error instanceof TransientFailure && (session.offset > 0 || sent.bytes >= REGISTRY_PROGRESS_MIN)) {
          this.#broken = session;
          const taken = await this.#takeUp();
          this.#broken = taken;
          if (!taken || taken.offset < from + REGISTRY_PROGRESS_MIN) throw error;
          session = taken;
          continue;
        }
        await cancelUpload(this.#registry, this.#place, session);
        if (!this.#turn(error, sent.bytes, number)) throw error instanceof UploadRefused ? error.failure : error;
        session = await beginUpload(this.#registry, this.#place);
      }
    }
  }

  async #send(session: UploadSession, sent: { bytes: number }): Promise<void> {
    const { size } = this.#upload.descriptor;
    const { way, chunkSize } = this.#habits;
    if (way === 'put' && session.offset === 0) {
      const body = { size, open: () => this.#bytes(0, sent) };
      await commitUpload(this.#registry, this.#place, session, body);
      return;
    }
    if (way === 'chunks') {
      await this.#sendChunks(session, Math.max(chunkSize, session.chunkMin), sent);
    } else if (session.offset < size) {
      const { offset } = session;
      const body = { size: size - offset, open: () => this.#bytes(offset, sent) };
      await appendBytes(this.#registry, this.#place, session, body, { ranged: offset > 0 });
    }
    await commitUpload(this.#registry, this.#place, session);
  }

  /** Each chunk is held in memory, so that it can be sent again after a challenge. */
  async #sendChunks(session: UploadSession, chunkSize: number, sent: { bytes: number }): Promise<void> {
    let chunk = Buffer.alloc(Math.min(chunkSize, this.#upload.descriptor.size - session.offset));
    let filled = 0;
    const flush = async () => {
      const bytes = chunk.subarray(0, filled);
      if (filled > 0) {
        await appendBytes(this.#registry, this.#place, session, { size: filled, open: () => bytes }, { ranged: true });
      }
      chunk = Buffer.alloc(Math.min(chunkSize, this.#upload.descriptor.size - session.offset));
      filled = 0;
    };
    const pieces = this.#bytes(session.offset, sent);
    for await (const piece of pieces instanceof Uint8Array ? [pieces] : pieces) {
      for (let at = 0; at < piece.length; ) {
        const part = piece.subarray(at, at + chunk.length - filled);
        chunk.set(part, filled);
        filled += part.length;
        at += part.length;
        if (filled === chunk.length) await flush();
        if (chunk.length === 0) return;
      }
    }
    await flush();
  }

  /** Chooses another way of sending after a failure; false when there is none. @throws what a wrong digest means */
  #turn(error: unknown, sent: number, number: number): boolean {
    const { size } = this.#upload.descriptor;
    if (this.#turns++ >= TURNS_MAX) return false;
    if (!(error instanceof UploadRefused)) {
      // Some close the connection on a large body before they have said why.
      const cutOff = error instanceof TransientFailure && number >= 3 && sent < size;
      return cutOff && this.#habits.way !== 'chunks' && size > UPLOAD_CHUNK_SIZE && this.#shrink();
    }
    const { status, failure } = error;
    if (status === 413) return this.#shrink();
    if (status === 416) {
      // It is out of step, where a new session helps; or it means that the chunk is too large.
      return this.#turns === 1 || this.#shrink();
    }
    if (status === 400) {
      if (!/DIGEST_INVALID/.test(failure.message)) return false;
      const wrong = new NaiadError('DIGEST_MISMATCH', failure.message);
      if (this.#digestRefused) throw wrong;
      // Once, it may be the way there; twice, it is the bytes.
      this.#digestRefused = true;
      throw new TransientFailure(wrong);
    }
    // A session that is gone, where a new one is as good; or a registry that wants its bytes another way.
    if (this.#turns > 3) throw new TransientFailure(failure);
    this.#learn({ ...this.#habits, way: this.#habits.way === 'put' ? 'stream' : 'put' });
    return true;
  }

  /** Smaller bodies from now on; false when they are as small as they get. */
  #shrink(): boolean {
    let { way, chunkSize } = this.#habits;
    if (way === 'chunks') chunkSize = Math.floor(chunkSize / 2);
    while (chunkSize >= this.#upload.descriptor.size) chunkSize = Math.floor(chunkSize / 2);
    if (chunkSize < UPLOAD_CHUNK_SIZE_MIN) return false;
    way = 'chunks';
    this.#learn({ way, chunkSize });
    return true;
  }

  /** For the blobs after this one as well, unless another upload has learned something meanwhile. */
  #learn(habits: UploadHabits): void {
    const shared = this.#registry.uploadHabits;
    if (shared.way === this.#habits.way && shared.chunkSize === this.#habits.chunkSize) Object.assign(shared, habits);
  }

  /** The bytes from `offset` on, counted as they leave. */
  #bytes(offset: number, sent: { bytes: number }): Uint8Array | AsyncIterable<Uint8Array> {
    const { open, openAt, onProgress } = this.#upload;
    const bytes = offset > 0 && openAt ? openAt(offset) : open();
    const skip = offset > 0 && openAt ? 0 : offset;
    sent.bytes = 0;
    const count = (size: number) => {
      sent.bytes += size;
      this.#registry.stats.bytesSent += size;
      onProgress?.(offset + sent.bytes);
    };
    if (bytes instanceof Uint8Array) {
      const rest = bytes.subarray(skip);
      count(rest.length);
      return rest;
    }
    return (async function* () {
      let skipped = 0;
      for await (const piece of bytes) {
        const rest = piece.subarray(Math.min(piece.length, skip - skipped));
        skipped += piece.length - rest.length;
        if (rest.length === 0) continue;
        yield rest;
        count(rest.length);
      }
    })();
  }
}
