// Ranges of a local file, or of one part of it.
import { type FileHandle, open } from 'node:fs/promises';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import type { BlobReader, ByteRange } from './blob-reader.ts';

/** A part of a file. Offsets and sizes in bytes. */
export interface FilePart {
  readonly path: string;
  readonly offset: number;
  readonly size: number;
}

/** Reads a part of a file as a blob of its own. Opened at the first read; the owner disposes it. */
export class FileReader implements BlobReader, AsyncDisposable {
  readonly name: string;
  readonly #part: FilePart;
  #file: Promise<FileHandle> | undefined;

  constructor(part: FilePart, name: string = part.path) {
    this.#part = part;
    this.name = name;
  }

  async readAt(range: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    throwIfAborted(signal);
    const { path, offset, size } = this.#part;
    if (range.offset < 0 || range.offset + range.size > size) {
      const wanted = `bytes ${range.offset} to ${range.offset + range.size}`;
      throw new NaiadError('SIZE_MISMATCH', `${this.name}: ${wanted} wanted of ${size}`);
    }
    const target = new Uint8Array(range.size);
    try {
      const file = await this.#open(path);
      for (let done = 0; done < range.size; ) {
        const { bytesRead } = await file.read(target, done, range.size - done, offset + range.offset + done);
        if (bytesRead === 0) throw new NaiadError('SIZE_MISMATCH', `${this.name}: the file ends early`);
        done += bytesRead;
      }
    } catch (error) {
      throw systemError(error, `reading ${this.name}`);
    }
    return target;
  }

  async #open(path: string): Promise<FileHandle> {
    this.#file ??= open(path);
    try {
      return await this.#file;
    } catch (error) {
      this.#file = undefined;
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const file = await this.#file?.catch(() => undefined);
    await file?.close();
  }
}
