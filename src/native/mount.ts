// mount(2) and umount2(2). A file as source is mounted as it is: no loop device, as mount(8) would take one.
import { type Code, NaiadError } from '../base/errors.ts';
import { errnoError } from './errno.ts';
import { loadAddon } from './load.ts';

export const MS_RDONLY = 1;
export const MS_BIND = 4096;

/** Detaches now, and ends when nobody uses the mount any more. */
export const MNT_DETACH = 2;
export const UMOUNT_NOFOLLOW = 8;

export interface MountOptions {
  readonly source: string;
  readonly target: string;
  /** `erofs`, `overlay`, `tmpfs`, …; empty for a bind mount. */
  readonly type: string;
  /** `MS_…` or-ed. */
  readonly flags?: number;
  /** As the file system reads them: `device=/a,device=/b`. */
  readonly options?: string;
}

/** @throws NaiadError PERMISSION, MOUNTPOINT_INVALID, MOUNTPOINT_BUSY, DRIVER_UNAVAILABLE, MOUNT_FAILED, ADDON_MISSING */
export async function mount({ source, target, type, flags = 0, options = '' }: MountOptions): Promise<void> {
  const [from, to, kind, data] = [source, target, type, options].map((text) => Buffer.from(text)) as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
  ];
  const errno = await loadAddon().mount(from, to, kind, flags, data);
  if (errno === 0) return;
  const cause = errnoError(errno, `mount ${type || 'bind'}`, to);
  throw new NaiadError(
    MOUNT_CODES[cause.code ?? ''] ?? 'MOUNT_FAILED',
    `mounting ${source} on ${target}: ${cause.code}`,
    {
      cause,
      ...hintOf(MOUNT_HINTS, cause.code),
    },
  );
}

/** @throws NaiadError NOT_MOUNTED, MOUNTPOINT_BUSY, PERMISSION, MOUNT_FAILED, ADDON_MISSING */
export async function umount(target: string, flags = 0): Promise<void> {
  const path = Buffer.from(target);
  const errno = await loadAddon().umount(path, flags);
  if (errno === 0) return;
  const cause = errnoError(errno, 'umount2', path);
  throw new NaiadError(UMOUNT_CODES[cause.code ?? ''] ?? 'MOUNT_FAILED', `unmounting ${target}: ${cause.code}`, {
    cause,
    ...hintOf(UMOUNT_HINTS, cause.code),
  });
}

type CodeTable = Readonly<Record<string, Code>>;
type HintTable = Readonly<Record<string, string>>;

const MOUNT_CODES: CodeTable = {
  EPERM: 'PERMISSION',
  EACCES: 'PERMISSION',
  EBUSY: 'MOUNTPOINT_BUSY',
  ENODEV: 'DRIVER_UNAVAILABLE',
  ENOENT: 'MOUNTPOINT_INVALID',
  ENOTDIR: 'MOUNTPOINT_INVALID',
};
const MOUNT_HINTS: HintTable = {
  EPERM: 'Mounting needs root (CAP_SYS_ADMIN).',
  ENODEV: 'This kernel lacks the file system; /proc/filesystems lists those it has.',
  EINVAL: 'The last lines of `dmesg` say what the kernel refused.',
};
const UMOUNT_CODES: CodeTable = {
  EPERM: 'PERMISSION',
  EBUSY: 'MOUNTPOINT_BUSY',
  EINVAL: 'NOT_MOUNTED',
  ENOENT: 'NOT_MOUNTED',
};
const UMOUNT_HINTS: HintTable = {
  EPERM: 'Unmounting needs root (CAP_SYS_ADMIN).',
  EBUSY: 'Processes still use it; `fuser -vm` on the directory shows which.',
};

function hintOf(table: HintTable, code: string | undefined): { hint?: string } {
  const hint = table[code ?? ''];
  return hint === undefined ? {} : { hint };
}
