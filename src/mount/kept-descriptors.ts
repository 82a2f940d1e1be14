// Descriptors of mounts that the keeper holds beyond their daemon: each named by its mount and its number.
import { closeSync } from 'node:fs';
import type { Keeper } from '../keeper/keeper.ts';

const nameOf = (id: string, index: number) => `${id}/${index}`;

export async function keepDescriptors(keeper: Keeper, id: string, descriptors: readonly number[]): Promise<void> {
  for (const [index, fd] of descriptors.entries()) await keeper.hold(nameOf(id, index), fd);
}

export async function dropDescriptors(keeper: Keeper, id: string, count: number): Promise<void> {
  for (let index = 0; index < count; index++) await keeper.drop(nameOf(id, index));
}

/** What was kept for a daemon before this one, by mount, in order. The caller's to close. */
export async function keptDescriptors(keeper: Keeper): Promise<Map<string, number[]>> {
  const kept = new Map<string, number[]>();
  for (const { name, fd } of await keeper.held()) {
    const [id = '', index = ''] = name.split('/');
    const descriptors = kept.get(id) ?? [];
    descriptors[Number(index)] = fd;
    kept.set(id, descriptors);
  }
  return kept;
}

/** Closes and forgets what no mount has taken over. */
export async function forgetDescriptors(keeper: Keeper, kept: ReadonlyMap<string, readonly number[]>): Promise<void> {
  for (const [id, descriptors] of kept) {
    await dropDescriptors(keeper, id, descriptors.length);
    for (const fd of descriptors) if (fd !== undefined) closeSync(fd);
  }
}
