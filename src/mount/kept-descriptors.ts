// Descriptors of mounts that the keeper holds beyond their daemon: each named by its mount and its number. A mount that was
// taken out of the tree while it is used may end after the next one at its place has begun, so the place alone is no name.
import { closeSync, openSync } from 'node:fs';
import type { Keeper } from '../keeper/keeper.ts';
import type { Handover } from './driver.ts';
import type { KeeperHandle } from './keeper-handle.ts';
import type { KeptHandover, MountRecord } from './mount-record.ts';

const nameOf = (key: string, index: number) => `${key}/${index}`;

/** What the descriptors of a mount are kept under. */
export function keptKey({ id, since }: Pick<MountRecord, 'id' | 'since'>): string {
  return `${id}@${Date.parse(since)}`;
}

async function keepDescriptors(keeper: Keeper, key: string, descriptors: readonly number[]): Promise<void> {
  for (const [index, fd] of descriptors.entries()) await keeper.hold(nameOf(key, index), fd);
}

async function dropDescriptors(keeper: Keeper, key: string, count: number): Promise<void> {
  for (let index = 0; index < count; index++) await keeper.drop(nameOf(key, index));
}

/** What was kept for a daemon before this one, by `keptKey`, in order. The caller's to close. */
export async function keptDescriptors(keeper: Keeper): Promise<Map<string, number[]>> {
  const kept = new Map<string, number[]>();
  for (const { name, fd } of await keeper.held()) {
    const [key = '', index = ''] = name.split('/');
    const descriptors = kept.get(key) ?? [];
    descriptors[Number(index)] = fd;
    kept.set(key, descriptors);
  }
  return kept;
}

/** Closes and forgets what no mount has taken over. */
export async function forgetDescriptors(keeper: Keeper, kept: ReadonlyMap<string, readonly number[]>): Promise<void> {
  for (const [key, descriptors] of kept) {
    await dropDescriptors(keeper, key, descriptors.length);
    for (const fd of descriptors) if (fd !== undefined) closeSync(fd);
  }
}

/** What is kept of one mount, for the daemon that serves it. */
export class KeptMount {
  readonly #keeper: KeeperHandle;
  /** Something to hold, so that the keeper brings a daemon back even for what needs none. */
  #anchor: number | undefined;

  constructor(keeper: KeeperHandle) {
    this.#keeper = keeper;
  }

  /** Takes what was kept by a daemon before this one; what of it is the driver's is returned. */
  adopt({ anchored }: KeptHandover, descriptors: readonly number[]): readonly number[] {
    if (!anchored) return descriptors;
    this.#anchor = descriptors[0];
    return [];
  }

  /** Has the keeper hold, under `key`, what the driver says that a successor needs. @throws NaiadError */
  async keep(key: string, { state, descriptors }: Handover): Promise<KeptHandover> {
    const anchored = descriptors.length === 0;
    if (anchored) this.#anchor ??= openSync('/dev/null', 'r');
    const held = this.#anchor === undefined ? descriptors : [this.#anchor];
    await keepDescriptors(await this.#keeper.get(), key, held);
    return { state, descriptors: held.length, anchored };
  }

  /** It is held no longer. @throws NaiadError */
  async drop(key: string, { descriptors }: KeptHandover): Promise<void> {
    if (descriptors > 0) await dropDescriptors(await this.#keeper.get(), key, descriptors);
    if (this.#anchor !== undefined) closeSync(this.#anchor);
    this.#anchor = undefined;
  }
}
