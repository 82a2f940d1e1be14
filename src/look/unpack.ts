// An image back to a directory: names first, then the data of all files in the order in which blobs store it, then owners,
// modes, xattrs and times, children before their directories. Names and attributes are made with blocking calls: each
// takes microseconds, a thread hop more.
import {
  chmodSync,
  closeSync,
  constants,
  ftruncateSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
} from 'node:fs';
import { readdir } from 'node:fs/promises';
import { setImmediate as breathe } from 'node:timers/promises';
import type { BlobReader } from '../backend/blob-reader.ts';
import { openDevices } from '../backend/devices.ts';
import { stringToBytes } from '../base/bytes.ts';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import type { Bootstrap, InodeView } from '../image/bootstrap-reader.ts';
import { S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../image/tree.ts';
import { displayPath, type WalkedName, walk } from '../image/walk.ts';
import { makeNode, setTimes, setXattr } from '../native/fs.ts';
import { loadAddon } from '../native/load.ts';
import { makeDirectories } from '../store/directories.ts';
import { FileWriter } from './file-writer.ts';

export interface UnpackOptions {
  readonly bootstrap: Bootstrap;
  readonly readerOf: (blobId: string) => BlobReader;
  /** An empty directory, or one to be made. */
  readonly directory: string;
  /** What the process may do; by default what its user id says. */
  readonly isRoot?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (state: { done: number; total: number }) => void;
}

export interface UnpackReport {
  readonly names: number;
  /** Uncompressed bytes of distinct chunks written. */
  readonly bytes: number;
  /** What an ordinary user may not do, with how often it was left undone and the first path. */
  readonly skipped: readonly { readonly what: string; readonly count: number; readonly example: string }[];
}

/** @throws NaiadError ADDON_MISSING, TARGET_EXISTS, PERMISSION, NO_SPACE, and whatever reading the image throws. */
export async function unpackImage(options: UnpackOptions): Promise<UnpackReport> {
  loadAddon(); // Where it is missing nothing is begun.
  await prepareDirectory(options.directory);
  try {
    return await new Unpacking(options).run();
  } catch (error) {
    throw incomplete(error, options.directory);
  }
}

/** `error`, with the advice to throw away what was written before it. */
function incomplete(error: unknown, directory: string): unknown {
  if (!(error instanceof NaiadError)) return error;
  const advice = `${directory} is incomplete: remove it before you try again.`;
  const hint = error.hint === undefined ? advice : `${error.hint} ${advice}`;
  return new NaiadError(error.code, error.message, { cause: error.cause, hint });
}

async function prepareDirectory(directory: string): Promise<void> {
  try {
    await makeDirectories(directory);
    if ((await readdir(directory)).length === 0) return;
  } catch (error) {
    throw systemError(error, directory);
  }
  throw new NaiadError('TARGET_EXISTS', `${directory} is not empty`, {
    hint: 'Name a directory that is empty or not there.',
  });
}

/** A millisecond or so of blocking calls. */
const NAMES_AT_ONCE = 64;

class Unpacking {
  readonly #options: UnpackOptions;
  readonly #isRoot: boolean;
  readonly #root: Buffer;
  readonly #skipped = new Map<string, { count: number; example: string }>();
  /** First path of each inode, for hard links and for writing data. */
  readonly #paths = new Map<number, Buffer>();
  readonly #files: WalkedName[] = [];
  readonly #directories: WalkedName[] = [];
  #names = 0;

  constructor(options: UnpackOptions) {
    this.#options = options;
    this.#isRoot = options.isRoot ?? process.getuid?.() === 0;
    this.#root = Buffer.from(options.directory);
  }

  async run(): Promise<UnpackReport> {
    const { bootstrap } = this.#options;
    await this.#forEach(walk(bootstrap), (name) => {
      this.#create(name);
      this.#names++;
    });
    const bytes = await this.#writeData();
    // Data changes times and, by the kernel's rules, set-uid bits and capabilities: attributes come after it.
    const finish = ({ path, inode }: WalkedName) => this.#setAttributes(this.#pathOf(path), inode, path);
    await this.#forEach(this.#files, finish);
    await this.#forEach(this.#directories.reverse(), finish);
    const skipped = [...this.#skipped].map(([what, { count, example }]) => ({ what, count, example }));
    return { names: this.#names, bytes, skipped };
  }

  /** Now and then lets signals and the progress display in. */
  async #forEach(names: Iterable<WalkedName>, step: (name: WalkedName) => void): Promise<void> {
    let count = 0;
    for (const name of names) {
      if (count++ % NAMES_AT_ONCE === 0) await breathe();
      throwIfAborted(this.#options.signal);
      step(name);
    }
  }

  /** Absolute path in the target. Components were checked by the reader: no `/`, no NUL, no `..`. */
  #pathOf(path: WalkedName['path']): Buffer {
    return Buffer.concat([this.#root, ...path.flatMap((name) => [SLASH, stringToBytes(name)])]);
  }

  #create({ path, inode }: WalkedName): void {
    const target = this.#pathOf(path);
    const type = inode.mode & S_IFMT;
    try {
      if (type === S_IFDIR) {
        if (path.length > 0) mkdirSync(target, 0o700);
        this.#directories.push({ path, inode });
        return;
      }
      const first = this.#paths.get(inode.nid);
      if (first) {
        linkSync(first, target);
        return;
      }
      if (!this.#createLeaf(target, inode, path)) return;
    } catch (error) {
      throw systemError(error, `unpacking ${displayPath(path)}`);
    }
    this.#paths.set(inode.nid, target);
    if (type === S_IFREG) this.#files.push({ path, inode });
    else this.#setAttributes(target, inode, path);
  }

  /** Makes a file, link or special file; false when only root could. */
  #createLeaf(target: Buffer, inode: InodeView, path: WalkedName['path']): boolean {
    const type = inode.mode & S_IFMT;
    if (type === S_IFREG) {
      const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW;
      const file = openSync(target, flags, 0o600);
      try {
        // Whatever is not written later stays a hole: zeros cost nothing.
        if (inode.size > 0) ftruncateSync(file, inode.size);
      } finally {
        closeSync(file);
      }
      return true;
    }
    if (type === S_IFLNK) symlinkSync(stringToBytes(this.#options.bootstrap.readlink(inode.nid)), target);
    else if (type === S_IFIFO || type === S_IFSOCK || this.#isRoot) makeNode(target, inode.mode, inode.rdev);
    else {
      this.#skip('device nodes', path);
      return false;
    }
    return true;
  }

  async #writeData(): Promise<number> {
    const { bootstrap, readerOf, signal, onProgress } = this.#options;
    const devices = await openDevices(bootstrap, readerOf, signal);
    using writer = new FileWriter(bootstrap, devices);
    for (const { path, inode } of this.#files) writer.addFile(inode, this.#pathOf(path));
    return await writer.run({ readerOf, signal, onProgress });
  }

  #setAttributes(target: Buffer, inode: InodeView, path: WalkedName['path']): void {
    const isLink = (inode.mode & S_IFMT) === S_IFLNK;
    try {
      if (this.#isRoot) lchownSync(target, inode.uid, inode.gid);
      else if (inode.uid !== process.getuid?.() || inode.gid !== process.getgid?.()) this.#skip('owners', path);
      // Before the mode, which may forbid its owner to write; after the owner, whose change takes capabilities away.
      for (const { name, value } of this.#options.bootstrap.xattrs(inode.nid)) {
        if (this.#isRoot || name.startsWith('user.') || name.startsWith('system.')) setXattr(target, name, value);
        else this.#skip(`${name.slice(0, name.indexOf('.'))}.* xattrs`, path);
      }
      if (!isLink) chmodSync(target, inode.mode & 0o7777);
      setTimes(target, inode.mtimeSec, inode.mtimeNsec);
    } catch (error) {
      throw systemError(error, `setting attributes of ${target.toString()}`);
    }
  }

  #skip(what: string, path: WalkedName['path']): void {
    const known = this.#skipped.get(what);
    if (known) known.count++;
    else this.#skipped.set(what, { count: 1, example: displayPath(path) });
  }
}

const SLASH = Buffer.from('/');
