// Two file trees compared in everything a process inside can see. What is read is plain data, so that a tree can be read
// once (umoci's reference) and compared with many mounts.
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { type ByteString, byteStringToUtf8, displayBytes } from '../../src/base/bytes.ts';

export type FileType = 'file' | 'directory' | 'symlink' | 'fifo' | 'socket' | 'char' | 'block';

export interface TreeEntry {
  readonly type: FileType;
  /** Permission bits, set-uid, set-gid and sticky included. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint;
  /** Undefined for directories: file systems differ in what they say. */
  readonly size: number | undefined;
  readonly nlink: number;
  /** `major:minor`. */
  readonly device: string | undefined;
  /** Of other names of the inode, this included, the first in byte order. Undefined for directories. */
  readonly linkGroup: ByteString | undefined;
  readonly target: ByteString | undefined;
  /** sha256 of a regular file's content. */
  readonly content: string | undefined;
  /** Hex values by name. */
  readonly xattrs: Readonly<Record<ByteString, string>>;
}

/** Entries by path from the root, `''` for the root itself. */
export type Tree = Map<ByteString, TreeEntry>;

/**
 * Reads the tree at `root`, with getfattr(1) for the xattrs. On a thread of its own with blocking calls: whoever calls may
 * serve the files that are read, and calls of libuv's threads would wait for one another.
 */
export function readTree(root: string): Promise<Tree> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(join(import.meta.dirname, 'tree-worker.js'), { workerData: root });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`the thread that reads ${root} ended with ${code}`)));
  });
}

export interface DiffOptions {
  /** Times may differ by less than this. `fuse-native` passes milliseconds on: 1_000_000n. */
  readonly timeGrainNs?: bigint;
  /** Entries that are not compared, and everything below them. */
  readonly ignore?: (path: ByteString) => boolean;
  /** Fields that are not compared. */
  readonly without?: readonly (keyof TreeEntry)[];
}

const FIELDS: readonly (keyof TreeEntry)[] = [
  ...(['type', 'mode', 'uid', 'gid', 'size', 'nlink', 'linkGroup', 'device', 'target', 'mtimeNs', 'content'] as const),
];

/** One line a difference, none when the trees are equal. */
export function diffTrees(expected: Tree, actual: Tree, options: DiffOptions = {}): string[] {
  const { timeGrainNs = 1n, ignore = () => false, without = [] } = options;
  const fields = FIELDS.filter((field) => !without.includes(field));
  const differences: string[] = [];
  const paths = [...new Set([...expected.keys(), ...actual.keys()])].sort();
  const ignored = (path: ByteString) => ancestry(path).some(ignore);
  for (const path of paths) {
    if (ignored(path)) continue;
    const [before, after] = [expected.get(path), actual.get(path)];
    const say = (text: string) => differences.push(`/${displayBytes(path)}: ${text}`);
    if (!after) say('missing');
    else if (!before) say(`not expected (${after.type})`);
    else {
      for (const field of fields) {
        if (!equalField(field, before, after, timeGrainNs)) {
          say(`${field}: expected ${show(before[field])}, got ${show(after[field])}`);
        }
      }
      if (!without.includes('xattrs')) for (const text of diffXattrs(before.xattrs, after.xattrs)) say(text);
    }
  }
  return differences;
}

/** Fails with the differences when there are any. */
export function assertSameTree(expected: Tree, actual: Tree, options: DiffOptions = {}): void {
  const differences = diffTrees(expected, actual, options);
  if (differences.length === 0) return;
  const shown = differences.slice(0, 40).join('\n');
  throw new Error(`${differences.length} differences between trees of ${expected.size} entries:\n${shown}`);
}

/** What the fuse-native package can express: no times before 1970, and whole milliseconds (give `timeGrainNs` as well). */
function asFuseNative(tree: Tree): Tree {
  const late = (time: bigint) => (time < 0n ? 0n : time);
  return new Map([...tree].map(([path, entry]) => [path, { ...entry, mtimeNs: late(entry.mtimeNs) }]));
}

/** Fails unless `actual` is `expected` as a mount by fuse-native shows it. */
export function assertSameFuseTree(expected: Tree, actual: Tree, options: DiffOptions = {}): void {
  assertSameTree(asFuseNative(expected), actual, { ...options, timeGrainNs: 1_000_000n });
}

/** Names that JavaScript strings cannot carry through a driver that takes strings. */
export function isNotUtf8(path: ByteString): boolean {
  return byteStringToUtf8(path) === undefined;
}

function equalField(field: keyof TreeEntry, before: TreeEntry, after: TreeEntry, timeGrainNs: bigint): boolean {
  if (field === 'mtimeNs') {
    const distance = before.mtimeNs - after.mtimeNs;
    return (distance < 0n ? -distance : distance) < timeGrainNs;
  }
  // Some file systems (btrfs) count no links of directories.
  if (field === 'nlink' && before.type === 'directory' && before.nlink === 1) return true;
  return before[field] === after[field];
}

function diffXattrs(before: Readonly<Record<string, string>>, after: Readonly<Record<string, string>>): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return names
    .filter((name) => before[name] !== after[name])
    .map((name) => `xattr ${displayBytes(name)}: expected ${show(before[name])}, got ${show(after[name])}`);
}

function show(value: unknown): string {
  if (value === undefined) return 'none';
  const text = typeof value === 'string' ? displayBytes(value) : String(value);
  return text.length > 100 ? `${text.slice(0, 100)}… (${text.length})` : text;
}

function ancestry(path: ByteString): ByteString[] {
  const parts = path.split('/');
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}
