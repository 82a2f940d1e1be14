// Tags of a repository. Lists may be unsorted, unpaged, hold nulls or digests, and lead in circles.
import { NaiadError } from '../base/errors.ts';
import { MANIFEST_SIZE_MAX, TAGS_MAX } from '../base/limits.ts';
import { isTag } from '../format/oci/reference.ts';
import { headerOf, readBody } from './exchange.ts';
import { resolveTarget } from './redirect.ts';
import type { Call, Registry } from './transport.ts';

const PAGE_SIZE = 1000;

/**
 * All tags, each once, sorted.
 * @throws NaiadError IMAGE_NOT_FOUND when there is no such repository, ACCESS_DENIED, REGISTRY_…, LIMIT_EXCEEDED
 */
export async function listTags(registry: Registry, repository: string, signal?: AbortSignal): Promise<string[]> {
  const tags = new Set<string>();
  const seen = new Set<string>();
  const first = `/v2/${repository}/tags/list?n=${PAGE_SIZE}`;
  let next: string | URL | undefined = first;
  while (next !== undefined && !seen.has(String(next))) {
    seen.add(String(next));
    const asked: Call = {
      ...{ method: 'GET', path: next, repository, actions: 'pull', signal },
      ...{ what: `tags of ${repository}`, notFound: 'IMAGE_NOT_FOUND', capability: 'resolve' },
    };
    const sizeBefore = tags.size;
    next = await registry.ask(asked, [200], async (response) => {
      const bytes = await readBody(response, MANIFEST_SIZE_MAX, `${asked.what} at ${registry.host}`);
      const page = parseTags(bytes, `${asked.what} at ${registry.host}`);
      for (const tag of page) tags.add(tag);
      const linked = nextPage(headerOf(response, 'link'), response.url);
      // A full page without a link: there may be more, or the registry knows no pages.
      if (linked || page.length < PAGE_SIZE) return linked;
      return `${first}&last=${page.at(-1)}`;
    });
    if (tags.size > TAGS_MAX) {
      throw new NaiadError('LIMIT_EXCEEDED', `${asked.what} at ${registry.host}: more than ${TAGS_MAX}`);
    }
    // A page with nothing new: the list repeats itself.
    if (tags.size === sizeBefore) break;
  }
  return [...tags].sort();
}

function parseTags(bytes: Uint8Array, what: string): string[] {
  let document: { tags?: unknown } | null = null;
  try {
    document = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    // Falls through.
  }
  const list = document?.tags ?? [];
  if (document === null || typeof document !== 'object' || !Array.isArray(list)) {
    throw new NaiadError('REGISTRY_PROTOCOL', `${what}: the answer is no list of tags`);
  }
  // Some list digests and nulls as well.
  return list.filter((tag): tag is string => typeof tag === 'string' && isTag(tag));
}

/** The address of `Link: <…>; rel="next"`, on the host that gave it. */
export function nextPage(link: string | undefined, base: URL): URL | undefined {
  const target = /<([^<>]+)>\s*;[^,]*\brel="?next"?/i.exec(link ?? '')?.[1];
  if (target === undefined) return undefined;
  const url = resolveTarget(base, target, 'the next page is');
  return url.host === base.host ? url : undefined;
}
