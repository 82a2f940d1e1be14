// Layers as plain data that can be compared, whether they came from a tar or a directory.
import { createHash } from 'node:crypto';
import { type ByteString, stringToBytes } from '../../src/base/bytes.ts';
import type { LayerEntry } from '../../src/image/layer-entry.ts';

/** One path: type and attributes in one line, the same for all names of an inode. */
export type Listing = Map<ByteString, string>;

export async function bodyOf(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of body) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

/** What a layer holds, by path; hard links have the line of what they link to, and the group they are in. */
export async function listing(entries: AsyncIterable<LayerEntry>): Promise<Listing> {
  const lines = new Map<ByteString, string>();
  const groups = new Map<ByteString, ByteString>();
  for await (const entry of entries) {
    const path = entry.path.join('/');
    if (entry.kind === 'link') {
      const target = entry.target.join('/');
      groups.set(path, groups.get(target) ?? target);
      lines.set(path, lines.get(target) ?? `link to ${target}, which is not there`);
    } else {
      groups.set(path, path);
      lines.set(path, await lineOf(entry));
    }
  }
  const firsts = new Map<ByteString, ByteString>();
  for (const [path, group] of groups) {
    const first = firsts.get(group);
    if (first === undefined || path < first) firsts.set(group, path);
  }
  const sizes = new Map<ByteString, number>();
  for (const group of groups.values()) sizes.set(group, (sizes.get(group) ?? 0) + 1);
  const named = [...lines].map(([path, line]): [ByteString, string] => {
    const group = groups.get(path) as ByteString;
    return [path, (sizes.get(group) ?? 0) > 1 ? `${line} linked:${firsts.get(group)}` : line];
  });
  return new Map(named.sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function lineOf(entry: Exclude<LayerEntry, { kind: 'link' }>): Promise<string> {
  const { mode, uid, gid, mtimeSec, mtimeNsec, xattrs } = entry.attributes;
  const parts = [mode.toString(8), `${uid}:${gid}`, `${mtimeSec}+${mtimeNsec}`];
  if (entry.kind === 'file') {
    const body = await bodyOf(entry.body);
    if (body.length !== entry.size) parts.push(`body of ${body.length}, not`);
    parts.push(`${entry.size}`, createHash('sha256').update(body).digest('hex').slice(0, 16));
  } else if (entry.kind === 'symlink') parts.push(`-> ${stringToBytes(entry.target).toString('latin1')}`);
  else if (entry.kind === 'special') parts.push(`dev ${entry.rdev}`);
  const values = xattrs.map(({ name, value }) => `${name}=${Buffer.from(value).toString('hex')}`);
  return [...parts, ...values.sort()].join(' ');
}
