// Manifests, tags and referrers.
import type { IncomingMessage } from 'node:http';
import { NaiadError } from '../base/errors.ts';
import { MANIFEST_SIZE_MAX } from '../base/limits.ts';
import { isDigest, sha256Digest } from '../format/oci/digest.ts';
import { type Descriptor, type ManifestDocument, parseDocument } from '../format/oci/manifest.ts';
import { layerKind, MEDIA_TYPES } from '../format/oci/media-types.ts';
import { referrerOf } from '../format/oci/referrer.ts';
import { type Answer, bytesAnswer, emptyAnswer, jsonAnswer } from './answer.ts';
import type { Context } from './context.ts';
import { Refusal } from './refusal.ts';
import type { Storage } from './storage.ts';

/** GET /v2/: this is a registry, and it asks for no authentication. */
export async function root(): Promise<Answer> {
  return jsonAnswer({});
}

/** GET and HEAD, by tag or digest. @throws Refusal MANIFEST_UNKNOWN */
export async function getManifest(context: Context, selector: string): Promise<Answer> {
  const { storage, repository, method } = context;
  const digest = isDigest(selector) ? selector : await storage.resolveTag(repository, selector);
  const mediaType = digest && (await storage.manifestType(repository, digest));
  const bytes = digest && mediaType ? await storage.readManifest(digest) : undefined;
  if (!digest || !mediaType || !bytes) throw unknownManifest(repository, selector);
  const headers = { 'content-type': mediaType, 'docker-content-digest': digest, etag: `"${digest}"` };
  return bytesAnswer(200, headers, bytes, method);
}

function unknownManifest(repository: string, selector: string): Refusal {
  return new Refusal('MANIFEST_UNKNOWN', `no manifest ${selector} in ${repository}`);
}

/**
 * Keeps a manifest whose blobs are there, lists it with its subject, and points the tag to it last.
 * @throws Refusal DIGEST_INVALID, SIZE_INVALID, MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN
 */
export async function putManifest(context: Context, selector: string): Promise<Answer> {
  const { storage, repository, message } = context;
  const bytes = await readBody(message);
  const digest = sha256Digest(bytes);
  if (isDigest(selector) && selector !== digest)
    throw new Refusal('DIGEST_INVALID', `the manifest has digest ${digest}`);
  const document = parse(bytes, message.headers['content-type']);
  await checkChildren(storage, repository, document);
  const { mediaType } = document.kind === 'index' ? document.index : document.manifest;
  await storage.putManifest(repository, digest, mediaType, bytes);
  const referrer = referrerOf(document, { digest, size: bytes.length });
  if (referrer) await storage.putReferrer(repository, referrer.subject, digest, referrer.descriptor);
  if (!isDigest(selector)) await storage.putTag(repository, selector, digest);
  return emptyAnswer(201, {
    location: `/v2/${repository}/manifests/${digest}`,
    'docker-content-digest': digest,
    ...(referrer ? { 'oci-subject': referrer.subject } : {}),
  });
}

async function readBody(message: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of message) {
    size += piece.length;
    if (size > MANIFEST_SIZE_MAX)
      throw new Refusal('SIZE_INVALID', `a manifest has at most ${MANIFEST_SIZE_MAX} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces, size);
}

function parse(bytes: Uint8Array, contentType: string | undefined): ManifestDocument {
  try {
    return parseDocument(bytes, contentType);
  } catch (error) {
    if (error instanceof NaiadError) throw new Refusal('MANIFEST_INVALID', error.message);
    throw error;
  }
}

/** A manifest must not name what the repository does not have; layers that may not be distributed are elsewhere. */
async function checkChildren(storage: Storage, repository: string, document: ManifestDocument): Promise<void> {
  if (document.kind === 'index') {
    for (const { digest } of document.index.manifests) {
      if ((await storage.manifestType(repository, digest)) !== undefined) continue;
      throw new Refusal('MANIFEST_BLOB_UNKNOWN', `${repository} has no manifest ${digest}`);
    }
    return;
  }
  const { config, layers } = document.manifest;
  const blobs = [config, ...layers.filter((layer) => layerKind(layer.mediaType).kind !== 'foreign')];
  for (const { digest } of blobs) {
    if ((await storage.blobSize(repository, digest)) !== undefined) continue;
    throw new Refusal('MANIFEST_BLOB_UNKNOWN', `${repository} has no blob ${digest}`);
  }
}

/** A tag goes alone; a digest goes with all its tags. Contents stay in the store: another repository may have them. */
export async function deleteManifest(context: Context, selector: string): Promise<Answer> {
  const { storage, repository } = context;
  if (!isDigest(selector)) {
    if (await storage.deleteTag(repository, selector)) return emptyAnswer(202);
    throw unknownManifest(repository, selector);
  }
  const mediaType = await storage.manifestType(repository, selector);
  const bytes = mediaType === undefined ? undefined : await storage.readManifest(selector);
  if (!(await storage.deleteManifest(repository, selector))) throw unknownManifest(repository, selector);
  if (bytes) {
    const document = parse(bytes, mediaType);
    const { subject } = document.kind === 'index' ? document.index : document.manifest;
    if (subject) await storage.deleteReferrer(repository, subject.digest, selector);
  }
  return emptyAnswer(202);
}

/** A page of the tags in byte order: `n` of them, behind `last`. @throws Refusal NAME_UNKNOWN, PAGINATION_NUMBER_INVALID */
export async function listTags(context: Context): Promise<Answer> {
  const { storage, repository, query } = context;
  if (!(await storage.hasRepository(repository))) throw new Refusal('NAME_UNKNOWN', `no repository ${repository}`);
  const last = query.get('last');
  const count = query.get('n');
  if (count !== null && !/^\d{1,9}$/.test(count)) throw new Refusal('PAGINATION_NUMBER_INVALID', 'n is no number');
  const rest = (await storage.tags(repository)).filter((tag) => last === null || tag > last);
  const page = count === null ? rest : rest.slice(0, Number(count));
  const lastShown = page.at(-1);
  const isCut = page.length < rest.length && lastShown !== undefined;
  const next = `</v2/${repository}/tags/list?n=${count}&last=${encodeURIComponent(lastShown ?? '')}>; rel="next"`;
  return jsonAnswer({ name: repository, tags: page }, isCut ? { link: next } : {});
}

/** An index, empty where nothing refers to the digest; `artifactType` keeps one kind. */
export async function listReferrers(context: Context, digest: string): Promise<Answer> {
  const { storage, repository, query } = context;
  const wanted = query.get('artifactType');
  const all = (await storage.referrers(repository, digest)) as Descriptor[];
  const manifests = wanted === null ? all : all.filter(({ artifactType }) => artifactType === wanted);
  return jsonAnswer(
    { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests },
    {
      'content-type': MEDIA_TYPES.ociIndex,
      ...(wanted === null ? {} : { 'oci-filters-applied': 'artifactType' }),
    },
  );
}
