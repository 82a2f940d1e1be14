// Tags of a repository that a user names.
import { NaiadError } from '../base/errors.ts';
import { listTags } from '../registry/tags.ts';
import { Registry } from '../registry/transport.ts';
import { locate } from './locate.ts';
import type { OpenOptions } from './open.ts';

/** @throws NaiadError REFERENCE_INVALID when it is no repository of a registry; what listing throws */
export async function tagsOf(
  text: string,
  options: OpenOptions = {},
): Promise<{ readonly repository: string; readonly tags: readonly string[] }> {
  const place = locate(text);
  if (place.transport !== 'docker' || place.reference.digest !== undefined) {
    throw new NaiadError('REFERENCE_INVALID', `${text}: tags are those of a repository in a registry`, {
      hint: 'Name it as host/repository.',
    });
  }
  const { host, repository } = place.reference;
  await using registry = new Registry(host, options.registry);
  return { repository: `${host}/${repository}`, tags: await listTags(registry, repository, options.signal) };
}
