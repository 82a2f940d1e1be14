// What a container needs to know of a mounted image besides its files.
import { isPlainRoot, resolveUser } from '../container/container-user.ts';
import type { ContainerFacts } from './mount-api.ts';
import type { ServedMount } from './serve.ts';
import { readSmallFile } from './small-file.ts';

/** `user` instead of the image's own. @throws NaiadError USAGE when the image does not know that user. */
export async function containerFacts(mount: ServedMount, user: string | undefined): Promise<ContainerFacts> {
  const config = mount.image.config?.config; // A bootstrap file has none.
  const wanted = user ?? config?.User ?? '';
  const files = isPlainRoot(wanted) ? [] : ['/etc/passwd', '/etc/group'];
  const [passwd, group] = await Promise.all(files.map((path) => readSmallFile(mount.fs, path)));
  return {
    ...(config && { config }),
    user: resolveUser(wanted, { passwd: passwd?.toString('utf8'), group: group?.toString('utf8') }),
  };
}
