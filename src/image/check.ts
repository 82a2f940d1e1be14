// Every invariant of a bootstrap, all complaints at once. Reading stops at the first thing that would make it unsafe;
// checking goes on, and also looks at what readers do not need but peers do.
import { compareBytes, displayBytes } from '../base/bytes.ts';
import { type Code, NaiadError } from '../base/errors.ts';
import { CHUNKS_PER_BLOB_MAX, TREE_DEPTH_MAX, TREE_ENTRIES_MAX } from '../base/limits.ts';
import { fileTypeOf } from '../format/erofs/records.ts';
import { hasFeature } from './blob-reader.ts';
import { Bootstrap, type DirentView, type InodeView } from './bootstrap-reader.ts';
import { type BlobRecords, recordsByBlob, tableFromRecords } from './chunk-records.ts';
import { S_IFDIR, S_IFMT, S_IFREG } from './tree.ts';

export interface Finding {
  readonly code: Code;
  readonly message: string;
  /** Counts and hints that builders get wrong and that change no byte of any file are warnings. */
  readonly severity: 'error' | 'warning';
}

export interface CheckResult {
  readonly findings: readonly Finding[];
  /** What was looked at, for the summary. */
  readonly names: number;
  readonly files: number;
  readonly chunks: number;
}

/** Findings beyond this many are counted, not listed: one broken table breaks everything behind it. */
const FINDINGS_MAX = 1000;

class Findings {
  readonly list: Finding[] = [];
  #more = 0;

  readonly add = (code: Code, message: string): void => this.#push({ code, message, severity: 'error' });

  warn(message: string): void {
    this.#push({ code: 'BOOTSTRAP_INVALID', message, severity: 'warning' });
  }

  #push(finding: Finding): void {
    if (this.list.length < FINDINGS_MAX) this.list.push(finding);
    else this.#more++;
  }

  /** Runs a step; a NaiadError becomes a finding, and the result is undefined. */
  attempt<T>(step: () => T): T | undefined {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof NaiadError) || error.code === 'BUG') throw error;
      this.add(error.code, error.message);
      return undefined;
    }
  }

  done(): Finding[] {
    if (this.#more > 0)
      this.list.push({ code: 'CHECK_FAILED', message: `… and ${this.#more} more`, severity: 'error' });
    return this.list;
  }
}

/** Checks the bytes of a bootstrap. Never throws for what is in them. */
export function checkBootstrap(bytes: Uint8Array): CheckResult {
  const findings = new Findings();
  const bootstrap = findings.attempt(() => Bootstrap.parse(bytes, findings.add));
  if (!bootstrap) return { findings: findings.done(), names: 0, files: 0, chunks: 0 };
  const records = recordsByBlob(bootstrap, findings.add);
  bootstrap.blobs.forEach((blob) => {
    const own = records[blob.blobIndex];
    // Records of batches do not say where the chunks are stored: the blob's own table does.
    const readable = own && own.size > 0 && blob.chunkCount <= CHUNKS_PER_BLOB_MAX && !hasFeature(blob, 'batch');
    if (readable) findings.attempt(() => tableFromRecords(bootstrap, blob.blobIndex, own, findings.add));
  });
  const tree = new TreeCheck(bootstrap, records, findings);
  tree.run();
  const chunks = records.reduce((sum, own) => sum + own.size, 0);
  return { findings: findings.done(), names: tree.names, files: tree.files, chunks };
}

class TreeCheck {
  names = 0;
  files = 0;
  readonly #bootstrap: Bootstrap;
  readonly #records: readonly BlobRecords[];
  readonly #findings: Findings;
  readonly #directories = new Set<number>();
  /** Names counted per inode that is not a directory, with the link count it claims. */
  readonly #links = new Map<number, { count: number; nlink: number; path: string }>();

  constructor(bootstrap: Bootstrap, records: readonly BlobRecords[], findings: Findings) {
    this.#bootstrap = bootstrap;
    this.#records = records;
    this.#findings = findings;
  }

  run(): void {
    const { rootNid } = this.#bootstrap;
    const pending = [{ nid: rootNid, parent: rootNid, path: '', depth: 0 }];
    this.names = 1;
    for (let next = pending.pop(); next && this.names <= TREE_ENTRIES_MAX; next = pending.pop()) {
      const { nid, parent, path, depth } = next;
      if (this.#directories.has(nid)) this.#complain(`${path}: directory is in the tree more than once`);
      else if (depth > TREE_DEPTH_MAX) this.#complain(`${path.slice(0, 200)}…: deeper than ${TREE_DEPTH_MAX}`);
      else {
        this.#directories.add(nid);
        for (const child of this.#directory(nid, parent, path)) {
          pending.push({ nid: child.nid, parent: nid, path: `${path}/${displayBytes(child.name)}`, depth: depth + 1 });
        }
      }
    }
    for (const { count, nlink, path } of this.#links.values()) {
      if (count !== nlink) this.#findings.warn(`${path}: link count ${nlink}, but ${count} names`);
    }
    if (this.names !== this.#bootstrap.inodeCount) {
      this.#findings.warn(`super block: inos is ${this.#bootstrap.inodeCount}, the tree has ${this.names} names`);
    }
    for (const nid of this.#bootstrap.prefetchNids()) {
      if (!this.#directories.has(nid) && !this.#links.has(nid))
        this.#findings.warn(`prefetch table: inode ${nid} is not in the tree`);
    }
  }

  /** Checks one directory and its entries, and returns its subdirectories. */
  #directory(nid: number, parent: number, path: string): DirentView[] {
    const shown = path === '' ? '/' : path;
    const entries = this.#findings.attempt(() => this.#bootstrap.readdir(nid));
    if (!entries) return [];
    entries.forEach((entry, index) => {
      const before = entries[index - 1];
      if (before && compareBytes(before.name, entry.name) >= 0) {
        this.#complain(
          `${shown}: entries ${displayBytes(before.name)} and ${displayBytes(entry.name)} are not in order`,
        );
      }
    });
    const dots: [string, number][] = [
      ['.', nid],
      ['..', parent],
    ];
    for (const [name, target] of dots) {
      const found = entries.filter((entry) => entry.name === name);
      if (found.length !== 1 || found[0]?.nid !== target)
        this.#complain(`${shown}: no entry ${name} to inode ${target}`);
    }
    const children = entries.filter(({ name }) => name !== '.' && name !== '..');
    this.names += children.length;
    const subdirectories = children.filter((child) => this.#child(child, `${path}/${displayBytes(child.name)}`));
    const own = this.#findings.attempt(() => this.#bootstrap.inode(nid));
    if (own) {
      this.#xattrs(own, shown);
      if (own.nlink !== 2 + subdirectories.length) {
        this.#findings.warn(`${shown}: link count ${own.nlink}, but ${subdirectories.length} subdirectories`);
      }
    }
    return subdirectories;
  }

  /** Checks one entry and what it points at; true for a directory. */
  #child(entry: DirentView, path: string): boolean {
    const inode = this.#findings.attempt(() => this.#bootstrap.inode(entry.nid));
    if (!inode) {
      this.#complain(`${path}: no usable inode`);
      return false;
    }
    if (fileTypeOf(inode.mode) !== entry.type) {
      this.#complain(`${path}: entry of type ${entry.type}, inode of mode 0${inode.mode.toString(8)}`);
    }
    if (inode.mtimeNsec > 999_999_999) this.#complain(`${path}: ${inode.mtimeNsec} nanoseconds`);
    if ((inode.mode & S_IFMT) === S_IFDIR) return true;
    const seen = this.#links.get(entry.nid);
    if (seen) seen.count++;
    else {
      this.#links.set(entry.nid, { count: 1, nlink: inode.nlink, path });
      this.#xattrs(inode, path);
      if ((inode.mode & S_IFMT) === S_IFREG) this.#file(inode, path);
      else this.#findings.attempt(() => fileTypeOf(inode.mode) === 7 && this.#bootstrap.readlink(inode.nid));
    }
    return false;
  }

  #xattrs(inode: InodeView, path: string): void {
    const xattrs = this.#findings.attempt(() => this.#bootstrap.xattrs(inode.nid)) ?? [];
    const names = new Set(xattrs.map(({ name }) => name));
    if (names.size !== xattrs.length) this.#complain(`${path}: an xattr is there twice`);
  }

  #file(inode: InodeView, path: string): void {
    this.files++;
    const { chunkSize } = this.#bootstrap;
    const addresses = this.#findings.attempt(() => this.#bootstrap.chunkAddresses(inode.nid)) ?? [];
    addresses.forEach(({ blobIndex, chunkIndex, deviceOffset }, position) => {
      const own = this.#records[blobIndex];
      // A bootstrap without a chunk table leaves it to the blobs' own.
      if (!own || own.size === 0) return;
      const record = own.get(chunkIndex);
      const size = Math.min(chunkSize, inode.size - position * chunkSize);
      if (!record || record.uncompressedOffset !== deviceOffset) {
        this.#complain(
          `${path}: chunk ${position} (blob ${blobIndex}, chunk ${chunkIndex}) has no record at ${deviceOffset}`,
        );
      } else if (record.uncompressedSize !== size) {
        this.#complain(`${path}: chunk ${position} has ${record.uncompressedSize} bytes, the file has ${size} there`);
      }
    });
  }

  #complain(message: string): void {
    this.#findings.add('BOOTSTRAP_INVALID', message);
  }
}
