// Who a container runs as: the image's `User`, looked up in the image's own /etc/passwd and /etc/group. Pure.
import { NaiadError } from '../base/errors.ts';

export interface ContainerUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  /** Home directory, `/` when the image names none. */
  readonly home: string;
}

/** Texts of the image's files; undefined where it has none. */
export interface AccountFiles {
  readonly passwd: string | undefined;
  readonly group: string | undefined;
}

const ROOT: ContainerUser = { uid: 0, gid: 0, additionalGids: [], home: '/root' };

/** True when `user` is root by name or number, so that no file of the image is needed. */
export function isPlainRoot(user: string): boolean {
  return ['', 'root', '0', 'root:root', '0:0'].includes(user);
}

/**
 * `user` is `name`, `uid`, or either followed by `:group` or `:gid`, as in an image config. Names must be in the files;
 * numbers need not.
 * @throws NaiadError USAGE.
 */
export function resolveUser(user: string, files: AccountFiles): ContainerUser {
  if (isPlainRoot(user)) return ROOT;
  const [name = '', group] = user.split(':', 2);
  const accounts = rows(files.passwd, 7);
  const account = accounts.find((row) => row[0] === name) ?? accounts.find((row) => row[2] === name);
  const uid = number(account?.[2]) ?? number(name);
  if (uid === undefined) throw unknown('user', name, '/etc/passwd');
  const groups = rows(files.group, 4);
  const home = account?.[5] || '/';
  if (group !== undefined) {
    const gid = number(groups.find((row) => row[0] === group)?.[2]) ?? number(group);
    if (gid === undefined) throw unknown('group', group, '/etc/group');
    return { uid, gid, additionalGids: [], home };
  }
  const gid = number(account?.[3]) ?? 0;
  const login = account?.[0];
  const memberOf = groups.filter((row) => login !== undefined && row[3]?.split(',').includes(login));
  const additionalGids = memberOf.flatMap((row) => number(row[2]) ?? []).filter((one) => one !== gid);
  return { uid, gid, additionalGids: [...new Set(additionalGids)], home };
}

function rows(text: string | undefined, fields: number): string[][] {
  const lines = (text ?? '').split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => line.split(':')).filter((row) => row.length >= Math.min(fields, 4));
}

function number(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value < 2 ** 32 - 1 ? value : undefined;
}

function unknown(what: string, name: string, file: string): NaiadError {
  return new NaiadError('USAGE', `${what} "${name}" is not in the image's ${file}`, {
    hint: 'Give a number with --user.',
  });
}
