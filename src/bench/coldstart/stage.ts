// What all ways of one benchmark share: the image in a registry behind a link, and how its containers are started.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { RuntimeConfig } from '../../format/oci/manifest.ts';
import { MNT_DETACH, mount, umount } from '../../native/mount.ts';
import { type RunningContainer, startContainer } from './container.ts';

export interface Stage {
  readonly signal: AbortSignal;
  readonly runtime: string;
  readonly config: RuntimeConfig;
  /** Instead of the image's own. */
  readonly command: readonly string[];
  /** Behind the link, as references name them. */
  readonly original: string;
  readonly converted: string;
  readonly optimized: string;
  /** A small converted image with nothing of this one, not behind the link. */
  readonly other: string;
}

/** A root of which containers write into an upper directory of their own. */
export interface Root {
  readonly path: string;
  unmount(): Promise<void>;
}

/** overlayfs over directories, the base first, as container engines do it. */
export async function overlayRoot(layers: readonly string[], directory: string): Promise<Root> {
  const [upper, work, path] = ['upper', 'work', 'rootfs'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  for (const one of [directory, upper, work, path]) mkdirSync(one);
  const lower = layers.toReversed().join(':');
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work},index=off,metacopy=off`;
  await mount({ source: 'naiad-bench', target: path, type: 'overlay', options });
  return {
    path,
    async unmount() {
      await umount(path, MNT_DETACH);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Containers over the roots, one each. */
export function containersOver(
  { runtime, config, command }: Stage,
  roots: readonly string[],
  networks: readonly string[],
  directory: string,
): RunningContainer[] {
  return roots.map((rootfs, index) =>
    startContainer({
      ...{ runtime, config, command, rootfs },
      id: `naiad-bench-${process.pid}-${index}`,
      directory: join(directory, `bundle-${index}`),
      network: networks[index] as string,
    }),
  );
}
