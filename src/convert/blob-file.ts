// The file of a blob while it is written, from its start to its end.
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { systemError } from '../base/system-error.ts';
import { MiB } from '../base/units.ts';
import { writeFully } from '../base/write-fully.ts';

/** Bytes of a write past the page cache: a multiple of every block size. */
const PIECE_SIZE = 1 * MiB;
const WASM_PAGE_SIZE = 65_536;
/** As far as it is used here: the one way to memory that starts at a page. */
declare const WebAssembly: {
  Memory: new (pages: { readonly initial: number; readonly maximum: number }) => { readonly buffer: ArrayBuffer };
};

/** The way past the page cache. */
interface Direct {
  readonly file: FileHandle;
  /** What is not a whole piece yet. It starts at a page, as the kernel wants it: V8's own buffers do not. */
  readonly piece: Uint8Array;
}

export class BlobFile implements AsyncDisposable {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #direct: Direct | undefined;
  #filled = 0;
  #written = 0;

  private constructor(path: string, file: FileHandle, direct: Direct | undefined) {
    this.#path = path;
    this.#file = file;
    this.#direct = direct;
  }

  /**
   * Makes the file, which must not exist. One that is `durable` will be synced before anybody reads it: it goes past the page
   * cache where that can be done, which spares a copy and memory that nobody needs afterwards.
   */
  static async create(path: string, durable: boolean): Promise<BlobFile> {
    const file = await open(path, 'wx');
    try {
      return new BlobFile(path, file, durable ? await openDirect(path) : undefined);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Takes `bytes`; those that are not written yet are copied. @throws NaiadError NO_SPACE, IO */
  async append(bytes: Uint8Array): Promise<void> {
    if (!this.#direct) return await this.#write(this.#file, bytes);
    const { file, piece } = this.#direct;
    for (let at = 0; at < bytes.length; ) {
      const step = Math.min(bytes.length - at, PIECE_SIZE - this.#filled);
      piece.set(bytes.subarray(at, at + step), this.#filled);
      this.#filled += step;
      at += step;
      if (this.#filled === PIECE_SIZE) {
        await this.#write(file, piece);
        this.#filled = 0;
      }
    }
  }

  /** Writes what is left. @throws NaiadError NO_SPACE, IO */
  async finish(): Promise<void> {
    if (this.#direct) await this.#write(this.#file, this.#direct.piece.subarray(0, this.#filled));
    this.#filled = 0;
  }

  async #write(file: FileHandle, bytes: Uint8Array): Promise<void> {
    await writeBlob(file, bytes, { path: this.#path, position: this.#written });
    this.#written += bytes.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#direct?.file.close();
    await this.#file.close();
  }
}

/** Undefined where the file system has no such way, or the process too little of an address space: V8 keeps gigabytes of it free. */
async function openDirect(path: string): Promise<Direct | undefined> {
  const pages = PIECE_SIZE / WASM_PAGE_SIZE;
  try {
    const piece = new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer);
    return { file: await open(path, constants.O_WRONLY | constants.O_DIRECT), piece };
  } catch (error) {
    if (error instanceof RangeError || (error as NodeJS.ErrnoException).code === 'EINVAL') return undefined;
    throw error;
  }
}

/** `writeFully` of a part of the blob at `path`. @throws NaiadError NO_SPACE, IO */
export async function writeBlob(
  file: FileHandle,
  bytes: Uint8Array,
  { path, position }: { readonly path: string; readonly position: number | null },
): Promise<void> {
  try {
    await writeFully(file, bytes, position);
  } catch (error) {
    throw systemError(
      error,
      `writing a blob to ${path}`,
      'Blobs are kept there until the image is complete; for a registry that is below TMPDIR, else beside the target.',
    );
  }
}
