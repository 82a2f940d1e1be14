// The reading side of readTree: blocking calls, byte paths, on a thread of its own.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { type BigIntStats, closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { type ByteString, bytesToString, stringToBytes, utf8ToByteString } from '../../src/base/bytes.ts';
import type { FileType, Tree, TreeEntry } from './tree.ts';

const buffer = Buffer.allocUnsafe(1 << 20);

function readTree(root: ByteString): Tree {
  const xattrs = readXattrs(root);
  const inodes = new Map<string, { first: ByteString; content: string | undefined }>();
  const tree: Tree = new Map();
  const visit = (path: ByteString) => {
    const full = stringToBytes(path === '' ? root : `${root}/${path}`);
    const stats = lstatSync(full, { bigint: true });
    const entry = readEntry(full, path, stats, xattrs.get(path) ?? {}, inodes);
    tree.set(path, entry);
    if (entry.type !== 'directory') return;
    // Sorted, so that the first name of a link group is the first in byte order at every level.
    const names = readdirSync(full, { encoding: 'buffer' }).map(bytesToString).sort();
    for (const name of names) visit(path === '' ? name : `${path}/${name}`);
  };
  visit('');
  return tree;
}

function readEntry(
  full: Buffer,
  path: ByteString,
  stats: BigIntStats,
  xattrs: Record<ByteString, string>,
  inodes: Map<string, { first: ByteString; content: string | undefined }>,
): TreeEntry {
  const type = typeOf(stats);
  const linked = inodes.get(`${stats.dev}:${stats.ino}`);
  // Each name of a hard link must give the same bytes, but once is enough to know them.
  const content = type === 'file' ? (linked?.content ?? hashFile(full)) : undefined;
  if (!linked) inodes.set(`${stats.dev}:${stats.ino}`, { first: path, content });
  const isDevice = type === 'char' || type === 'block';
  return {
    type,
    mode: Number(stats.mode & 0o7777n),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    mtimeNs: stats.mtimeNs,
    size: type === 'directory' ? undefined : Number(stats.size),
    nlink: Number(stats.nlink),
    device: isDevice ? deviceText(stats.rdev) : undefined,
    linkGroup: type === 'directory' ? undefined : (linked?.first ?? path),
    target: type === 'symlink' ? bytesToString(readlinkSync(full, { encoding: 'buffer' })) : undefined,
    content,
    xattrs,
  };
}

function typeOf(stats: BigIntStats): FileType {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isFIFO()) return 'fifo';
  if (stats.isSocket()) return 'socket';
  return stats.isCharacterDevice() ? 'char' : 'block';
}

/** glibc's dev_t, as gnu_dev_major and gnu_dev_minor take it apart. */
function deviceText(rdev: bigint): string {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

function hashFile(path: Buffer): string {
  const hash = createHash('sha256');
  const file = openSync(path, 'r');
  try {
    for (let size = readSync(file, buffer); size > 0; size = readSync(file, buffer))
      hash.update(buffer.subarray(0, size));
  } finally {
    closeSync(file);
  }
  return hash.digest('hex');
}

/** All xattrs of the tree, by path, in one run of getfattr: a judge that shares no code with what it judges. */
function readXattrs(root: ByteString): Map<ByteString, Record<ByteString, string>> {
  const args = ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '--absolute-names', '--', '.'];
  const { status, stdout, stderr, error } = spawnSync('getfattr', args, {
    cwd: stringToBytes(root).toString(),
    maxBuffer: 1 << 30,
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`getfattr: ${stderr.toString()}`);
  const found = new Map<ByteString, Record<ByteString, string>>();
  for (const paragraph of bytesToString(stdout).split('\n\n')) {
    const [title, ...lines] = paragraph.split('\n').filter((line) => line !== '');
    if (title === undefined) continue;
    const path = unquote(title.replace(/^# file: /, '')).replace(/^\.\/?/, '');
    found.set(path, Object.fromEntries(lines.map(parseXattr)));
  }
  return found;
}

function parseXattr(line: string): [ByteString, string] {
  // getfattr quotes `=` in names, so that the first one ends the name; an empty value has none.
  const end = line.indexOf('=');
  return end < 0 ? [unquote(line), ''] : [unquote(line.slice(0, end)), line.slice(end + 1).replace(/^0x/, '')];
}

function unquote(text: string): ByteString {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

parentPort?.postMessage(readTree(utf8ToByteString(workerData as string)));
