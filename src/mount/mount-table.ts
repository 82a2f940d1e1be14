// The kernel's list of mounts, as this process sees it.
import { readFileSync } from 'node:fs';
import { byteStringToUtf8 } from '../base/bytes.ts';

export interface MountEntry {
  readonly mountpoint: string;
  /** `major:minor` of its file system. */
  readonly device: string;
  readonly type: string;
  readonly source: string;
}

/** All mounts, oldest first: of several on one mountpoint the last is seen. */
export function readMountTable(path = '/proc/self/mountinfo'): MountEntry[] {
  return parseMountTable(readFileSync(path, 'latin1'));
}

/** Lines of proc(5) mountinfo, read as latin1. */
export function parseMountTable(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const fields = line.split(' ');
    const dash = fields.indexOf('-', 6); // Optional fields end there.
    const [device, mountpoint, type, source] = [fields[2], fields[4], fields[dash + 1], fields[dash + 2]];
    if (dash < 0 || !device || !mountpoint || !type) continue;
    entries.push({ mountpoint: decode(mountpoint), device, type, source: decode(source ?? '') });
  }
  return entries;
}

/** What is seen at `path`; undefined when nothing is mounted exactly there. */
export function mountAt(path: string, table: readonly MountEntry[] = readMountTable()): MountEntry | undefined {
  return table.findLast((entry) => entry.mountpoint === path);
}

/** The mount that `path`, which is none itself, lies in. */
export function mountAbove(path: string, table: readonly MountEntry[] = readMountTable()): MountEntry | undefined {
  let found: MountEntry | undefined;
  for (const entry of table) {
    const prefix = entry.mountpoint === '/' ? '/' : `${entry.mountpoint}/`;
    if (path.startsWith(prefix) && (found?.mountpoint.length ?? 0) <= entry.mountpoint.length) found = entry;
  }
  return found;
}

/** True when naiad mounted it. The kernel's EROFS has the path of its bootstrap as source. */
export function isOurs(entry: MountEntry | undefined): boolean {
  if (entry?.type === 'erofs') return BOOTSTRAP_PATH.test(entry.source);
  return entry?.source === 'naiad';
}

/** See src/store/paths.ts. */
const BOOTSTRAP_PATH = /\/bootstraps\/[0-9a-f]{64}$/;

/** Space, tab, newline and backslash are written as three octal digits. */
function decode(field: string): string {
  const bytes = field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
  return byteStringToUtf8(bytes) ?? bytes;
}
