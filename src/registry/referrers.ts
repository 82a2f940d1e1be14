// Manifests that name another one as their subject (signatures, SBOMs, traces). A registry lists them itself, or a tag made
// of the subject's digest names an index of them that every client keeps.
import { NaiadError } from '../base/errors.ts';
import { INDEX_ENTRIES_MAX, MANIFEST_SIZE_MAX } from '../base/limits.ts';
import { TransientFailure } from '../base/transient.ts';
import { MiB } from '../base/units.ts';
import { sha256Digest } from '../format/oci/digest.ts';
import {
  type Descriptor,
  type ImageIndex,
  parseDocument,
  parseIndex,
  type RawManifest,
} from '../format/oci/manifest.ts';
import { isIndexMediaType, MEDIA_TYPES } from '../format/oci/media-types.ts';
import { referrerOf } from '../format/oci/referrer.ts';
import { headerOf, readBody } from './exchange.ts';
import { getManifest, putManifest } from './manifests.ts';
import { nextPage } from './tags.ts';
import type { Call, Registry } from './transport.ts';

/** Pages of one list, and their bytes: nobody has so many referrers. */
const PAGES_MAX = 50;
const PAGES_SIZE_MAX = 16 * MiB;

/** The tag that stands in for a list of referrers. */
export function fallbackTag(digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return `${algorithm.slice(0, 32)}-${hex.slice(0, 64)}`.replace(/[^A-Za-z0-9._-]/g, '-');
}

/**
 * What refers to `subject`, from the registry's list or from the tag; empty when nothing does.
 * @throws NaiadError ACCESS_DENIED, REGISTRY_…, MANIFEST_INVALID, LIMIT_EXCEEDED
 */
export async function listReferrers(
  registry: Registry,
  repository: string,
  subject: string,
  signal?: AbortSignal,
): Promise<readonly Descriptor[]> {
  const what = `referrers of ${subject} in ${repository} at ${registry.host}`;
  const found: Descriptor[] = [];
  let size = 0;
  let next: string | URL | undefined = `/v2/${repository}/referrers/${subject}`;
  for (let page = 1; next !== undefined; page++) {
    const answer = await referrersPage(registry, repository, next, signal);
    if (answer === undefined && page === 1) {
      return (await fallbackIndex(registry, repository, subject, signal))?.manifests ?? [];
    }
    if (answer === undefined) throw new NaiadError('REGISTRY_PROTOCOL', `${what}: page ${page} of the list is missing`);
    found.push(...answer.manifests);
    size += answer.size;
    next = answer.next;
    if (size > PAGES_SIZE_MAX || (next && page === PAGES_MAX)) {
      const most = `${PAGES_MAX} pages and ${PAGES_SIZE_MAX} bytes`;
      throw new NaiadError('LIMIT_EXCEEDED', `${what}: the list does not end within ${most}`);
    }
  }
  return found;
}

/** True when the registry keeps lists of referrers itself. */
export async function hasReferrersApi(
  registry: Registry,
  repository: string,
  subject: string,
  signal?: AbortSignal,
): Promise<boolean> {
  return (await referrersPage(registry, repository, `/v2/${repository}/referrers/${subject}`, signal)) !== undefined;
}

interface ReferrersPage {
  readonly manifests: readonly Descriptor[];
  /** Bytes of the page. */
  readonly size: number;
  readonly next: URL | undefined;
}

/** Undefined where the registry has no such lists: it says so in many ways, also with pages of HTML. */
async function referrersPage(
  registry: Registry,
  repository: string,
  path: string | URL,
  signal: AbortSignal | undefined,
): Promise<ReferrersPage | undefined> {
  const asked: Call = {
    ...{ method: 'GET', path, repository, actions: 'pull', signal, redirect: 'manual' },
    ...{ what: `referrers in ${repository}`, notFound: 'IMAGE_NOT_FOUND', capability: 'referrers' },
    headers: { accept: MEDIA_TYPES.ociIndex },
  };
  const absent = [301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 406, 501];
  return await registry.ask(asked, [200, ...absent], async (response) => {
    if (response.status !== 200) return undefined;
    const type = headerOf(response, 'content-type')?.split(';')[0]?.trim();
    if (type !== MEDIA_TYPES.ociIndex && type !== 'application/json') return undefined;
    const bytes = await readBody(response, MANIFEST_SIZE_MAX, `${asked.what} at ${registry.host}`);
    const { manifests } = parseIndex(bytes, MEDIA_TYPES.ociIndex);
    return { manifests, size: bytes.length, next: nextPage(headerOf(response, 'link'), response.url) };
  });
}

async function fallbackIndex(
  registry: Registry,
  repository: string,
  subject: string,
  signal: AbortSignal | undefined,
  fresh = false,
): Promise<ImageIndex | undefined> {
  const tag = fallbackTag(subject);
  let raw: RawManifest;
  try {
    raw = await getManifest(registry, { repository, selector: tag, fresh }, signal);
  } catch (error) {
    if (error instanceof NaiadError && error.code === 'IMAGE_NOT_FOUND') return undefined;
    throw error;
  }
  if (!isIndexMediaType(raw.mediaType)) {
    throw new NaiadError(
      'MANIFEST_INVALID',
      `${registry.host}/${repository}:${tag} should list referrers, and is no index`,
    );
  }
  return parseIndex(raw.bytes, raw.mediaType);
}

/**
 * Lists a manifest that was pushed under the tag of its subject, for a registry that does not list it itself.
 * @throws NaiadError LIMIT_EXCEEDED when the list is full; REGISTRY_PROTOCOL when what is written to it does not stay; ACCESS_DENIED,
 *   REGISTRY_…, MANIFEST_INVALID
 */
export async function addFallbackReferrer(
  registry: Registry,
  repository: string,
  manifest: RawManifest,
  signal?: AbortSignal,
): Promise<void> {
  const document = parseDocument(manifest.bytes, manifest.mediaType);
  const referrer = referrerOf(document, { digest: manifest.digest, size: manifest.bytes.length });
  if (!referrer) return;
  const { subject, descriptor } = referrer;
  const tag = fallbackTag(subject);
  const what = `list of referrers ${repository}:${tag}`;
  const read = async () => await fallbackIndex(registry, repository, subject, signal, true);
  const isListed = (index: ImageIndex | undefined) =>
    index?.manifests.some(({ digest }) => digest === descriptor.digest) ?? false;
  await registry.retry({ what, signal }, undefined, async () => {
    const index = await read();
    if (isListed(index)) return;
    const longer = withReferrer(index, descriptor, `${what} at ${registry.host}`);
    await putManifest(registry, { repository, selector: tag }, longer, signal);
    if (isListed(await read())) return;
    // Another client, that had read it before this was written, has written it since.
    const gone = `${what} at ${registry.host}: ${descriptor.digest} was written to it, and is not in it`;
    const hint = 'Push again, once nobody else pushes what refers to the same image.';
    throw new TransientFailure(new NaiadError('REGISTRY_PROTOCOL', gone, { hint }));
  });
}

/** A list with one more; what else it says stays. A longer one than is read here is not written. */
function withReferrer(index: ImageIndex | undefined, added: Descriptor, what: string): RawManifest {
  const known = (index?.raw.manifests as readonly Descriptor[] | undefined) ?? [];
  const document = {
    ...{ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex },
    ...index?.raw,
    manifests: [...known, added],
  };
  const bytes = Buffer.from(JSON.stringify(document));
  if (known.length >= INDEX_ENTRIES_MAX || bytes.length > MANIFEST_SIZE_MAX) {
    throw new NaiadError('LIMIT_EXCEEDED', `${what}: it is full, with ${known.length} entries`);
  }
  return { mediaType: document.mediaType, digest: sha256Digest(bytes), bytes };
}
