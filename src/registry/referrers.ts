// Manifests that name another one as their subject (signatures, SBOMs, traces). A registry lists them itself, or a tag made
// of the subject's digest names an index of them that every client keeps.
import { NaiadError } from '../base/errors.ts';
import { MANIFEST_SIZE_MAX } from '../base/limits.ts';
import { sha256Digest } from '../format/oci/digest.ts';
import {
  type Descriptor,
  type ImageIndex,
  parseDocument,
  parseIndex,
  type RawManifest,
} from '../format/oci/manifest.ts';
import { isIndexMediaType, MEDIA_TYPES } from '../format/oci/media-types.ts';
import { headerOf, readBody } from './exchange.ts';
import { getManifest, putManifest } from './manifests.ts';
import { nextPage } from './tags.ts';
import type { Call, Registry } from './transport.ts';

/** Pages of one list; nobody has so many referrers. */
const PAGES_MAX = 50;

/** The tag that stands in for a list of referrers. */
export function fallbackTag(digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return `${algorithm.slice(0, 32)}-${hex.slice(0, 64)}`.replace(/[^A-Za-z0-9._-]/g, '-');
}

/** What refers to `subject`, from the registry's list or from the tag; empty when nothing does. */
export async function listReferrers(
  registry: Registry,
  repository: string,
  subject: string,
  signal?: AbortSignal,
): Promise<readonly Descriptor[]> {
  const found: Descriptor[] = [];
  let next: string | URL | undefined = `/v2/${repository}/referrers/${subject}`;
  for (let page = 0; next !== undefined && page < PAGES_MAX; page++) {
    const answer = await referrersPage(registry, repository, next, signal);
    if (answer === undefined) return (await fallbackIndex(registry, repository, subject, signal))?.manifests ?? [];
    found.push(...answer.manifests);
    next = answer.next;
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

/** Undefined where the registry has no such lists: it says so in many ways, also with pages of HTML. */
async function referrersPage(
  registry: Registry,
  repository: string,
  path: string | URL,
  signal: AbortSignal | undefined,
): Promise<{ readonly manifests: readonly Descriptor[]; readonly next: URL | undefined } | undefined> {
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
    return { manifests, next: nextPage(headerOf(response, 'link'), response.url) };
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

/** The descriptor under which a manifest is listed among the referrers of its subject; undefined without a subject. */
export function referrerOf(manifest: RawManifest): { subject: string; descriptor: Descriptor } | undefined {
  const document = parseDocument(manifest.bytes, manifest.mediaType);
  const parsed = document.kind === 'index' ? document.index : document.manifest;
  if (!parsed.subject) return undefined;
  const { mediaType, digest, bytes } = manifest;
  const config = document.kind === 'manifest' ? document.manifest.config.mediaType : undefined;
  const artifactType = parsed.artifactType ?? config;
  const { annotations } = parsed;
  const descriptor = {
    ...{ mediaType, digest, size: bytes.length },
    ...(artifactType ? { artifactType } : {}),
    ...(annotations ? { annotations } : {}),
  };
  return { subject: parsed.subject.digest, descriptor };
}

/** Lists a manifest that was pushed under the tag of its subject, for a registry that does not list it itself. */
export async function addFallbackReferrer(
  registry: Registry,
  repository: string,
  manifest: RawManifest,
  signal?: AbortSignal,
): Promise<void> {
  const referrer = referrerOf(manifest);
  if (!referrer) return;
  const { subject, descriptor } = referrer;
  // Two clients may write at once: what was written is read again, and written again where the other one won.
  for (let attempt = 0; attempt < 3; attempt++) {
    const index = await fallbackIndex(registry, repository, subject, signal, true);
    const known = (index?.raw.manifests as Descriptor[] | undefined) ?? [];
    if (known.some(({ digest }) => digest === descriptor.digest)) return;
    const next = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociIndex,
      ...index?.raw,
      manifests: [...known, descriptor],
    };
    const bytes = Buffer.from(JSON.stringify(next));
    const raw = { mediaType: next.mediaType, digest: sha256Digest(bytes), bytes };
    await putManifest(registry, { repository, selector: fallbackTag(subject) }, raw, signal);
  }
}
