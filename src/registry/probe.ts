// What a registry does, found by asking it: with a repository that has an image, and, when asked to, by pushing a few bytes
// there under no tag and removing them again.
import { randomBytes } from 'node:crypto';
import { NaiadError } from '../base/errors.ts';
import { TransientFailure } from '../base/transient.ts';
import { sha256Digest } from '../format/oci/digest.ts';
import { descriptorOf, manifestOf } from '../format/oci/documents.ts';
import { parseDocument, type RawManifest } from '../format/oci/manifest.ts';
import { MEDIA_TYPES, NYDUS_BLOB_MEDIA_TYPE } from '../format/oci/media-types.ts';
import { blobCall } from './blobs.ts';
import { discard, type HttpResponse, headerOf } from './exchange.ts';
import { deleteManifest, getManifest, type ManifestName, putManifest } from './manifests.ts';
import { parseContentRange } from './ranges.ts';
import { resolveTarget } from './redirect.ts';
import { hasReferrersApi } from './referrers.ts';
import { listTags } from './tags.ts';
import type { Call, Registry } from './transport.ts';
import { uploadBlob } from './upload.ts';
import {
  appendBytes,
  beginUpload,
  cancelUpload,
  commitUpload,
  mountBlob,
  resumeUpload,
  type UploadPlace,
  UploadRefused,
} from './upload-session.ts';

/** `works`, or why not. */
export interface Finding {
  readonly works: boolean;
  readonly detail?: string;
}

export interface RegistryProbe {
  readonly registry: string;
  readonly repository: string;
  /** Where requests go, mirrors first. */
  readonly endpoints: readonly string[];
  readonly authentication: 'none' | 'basic' | 'bearer';
  readonly manifest: { readonly mediaType: string; readonly digest: string; readonly digestHeader: boolean };
  readonly ranges: Finding;
  readonly multipleRanges: Finding;
  /** Where blobs are read from, when not from the registry itself. */
  readonly redirectsTo: string | undefined;
  readonly referrersApi: boolean;
  readonly tags: Finding;
  readonly rateLimit: { readonly limit: string | undefined; readonly remaining: string | undefined } | undefined;
  readonly push: PushProbe | undefined;
}

export interface PushProbe {
  /** The whole blob with one PUT. */
  readonly put: Finding;
  /** By one PATCH. */
  readonly stream: Finding;
  /** By two PATCHes. */
  readonly chunks: Finding;
  /** What a chunk must have at least, when the registry says. */
  readonly chunkMin: number | undefined;
  /** Asked in the middle, the registry tells how far an upload is. */
  readonly resume: Finding;
  readonly mount: Finding;
  /** A manifest with layers of converted images. */
  readonly convertedLayers: Finding;
  /** An index whose entry names a feature of converted images. */
  readonly indexWithFeatures: Finding;
  /** A manifest with a subject is listed by the registry. */
  readonly subject: Finding;
  readonly deletion: Finding;
}

export interface ProbeOptions {
  /** Also tries what needs permission to push. */
  readonly push?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** @throws NaiadError IMAGE_NOT_FOUND, ACCESS_DENIED, REGISTRY_… when not even the image can be read */
export async function probeRegistry(
  registry: Registry,
  name: ManifestName,
  { push, signal }: ProbeOptions = {},
): Promise<RegistryProbe> {
  const { repository } = name;
  const { raw, headers } = await readManifest(registry, name, signal);
  const blob = await someBlob(registry, repository, raw, signal);
  const redirect = await redirectOf(registry, repository, blob.digest, signal);
  return {
    registry: registry.host,
    repository,
    endpoints: (await registry.endpoints()).map(({ url }) => url.href),
    authentication: await registry.authentication(),
    manifest: { mediaType: raw.mediaType, digest: raw.digest, digestHeader: headers.digest },
    ranges: await probeRange(registry, repository, blob, 'bytes=1-2', signal),
    multipleRanges: await probeRange(registry, repository, blob, 'bytes=0-0,2-2', signal),
    redirectsTo: redirect,
    referrersApi: await hasReferrersApi(registry, repository, raw.digest, signal),
    tags: await finding(async () => void (await listTags(registry, repository, signal))),
    rateLimit: headers.limit || headers.remaining ? { limit: headers.limit, remaining: headers.remaining } : undefined,
    push: push ? await probePush(registry, repository, signal) : undefined,
  };
}

async function readManifest(registry: Registry, name: ManifestName, signal: AbortSignal | undefined) {
  const raw = await getManifest(registry, name, signal);
  const asked: Call = {
    ...{ method: 'HEAD', path: `/v2/${name.repository}/manifests/${raw.digest}`, repository: name.repository },
    ...{ actions: 'pull', what: 'manifest', notFound: 'IMAGE_NOT_FOUND', headers: { accept: raw.mediaType }, signal },
  };
  const response = await answerTo(registry, asked);
  discard(response);
  const limit = headerOf(response, 'ratelimit-limit');
  const remaining = headerOf(response, 'ratelimit-remaining');
  return { raw, headers: { digest: headerOf(response, 'docker-content-digest') === raw.digest, limit, remaining } };
}

/** The largest blob of the image; of an index, of its first one. */
async function someBlob(registry: Registry, repository: string, root: RawManifest, signal: AbortSignal | undefined) {
  let raw = root;
  for (let depth = 0; depth < 3; depth++) {
    const document = parseDocument(raw.bytes, raw.mediaType);
    if (document.kind === 'manifest') {
      const { config, layers } = document.manifest;
      return [config, ...layers].reduce((best, one) => (one.size > best.size ? one : best));
    }
    const [first] = document.index.manifests;
    if (!first) break;
    raw = await getManifest(registry, { repository, selector: first.digest }, signal);
  }
  throw new NaiadError('IMAGE_NOT_FOUND', `${registry.host}/${repository}: the index names no image to try blobs with`);
}

async function redirectOf(registry: Registry, repository: string, digest: string, signal: AbortSignal | undefined) {
  const asked: Call = { ...blobCall({ repository, digest }, 'GET', signal), headers: { range: 'bytes=0-0' } };
  const response = await answerTo(registry, { ...asked, redirect: 'manual' });
  response.body.destroy();
  const location = headerOf(response, 'location');
  if (response.status < 300 || response.status >= 400 || location === undefined) return undefined;
  return resolveTarget(response.url, location, 'a redirect').host;
}

/** Whatever the answer is, it is a finding; a lost connection is none. */
async function answerTo(registry: Registry, asked: Call): Promise<HttpResponse> {
  return await registry.retry(asked, registry.readDeadlineMs, (signal) => registry.send({ ...asked, signal }));
}

async function probeRange(
  registry: Registry,
  repository: string,
  blob: { readonly digest: string; readonly size: number },
  range: string,
  signal: AbortSignal | undefined,
): Promise<Finding> {
  if (blob.size < 3) return { works: false, detail: 'the image has no blob of three bytes to try it with' };
  const asked: Call = { ...blobCall({ repository, digest: blob.digest }, 'GET', signal), headers: { range } };
  return await finding(async () => {
    const response = await answerTo(registry, asked);
    response.body.destroy();
    const isMany = range.includes(',');
    const type = headerOf(response, 'content-type') ?? '';
    const exact = parseContentRange(headerOf(response, 'content-range'))?.offset === 1;
    if (response.status === 206 && (isMany ? type.startsWith('multipart/byteranges') : exact)) return;
    throw new NaiadError(
      'REGISTRY_PROTOCOL',
      `status ${response.status}${response.status === 206 ? ', another range' : ''}`,
    );
  });
}

async function finding(attempt: () => Promise<void>): Promise<Finding> {
  try {
    await attempt();
    return { works: true };
  } catch (error) {
    const failure = error instanceof TransientFailure || error instanceof UploadRefused ? error.failure : error;
    if (!(failure instanceof NaiadError) || failure.kind === 'canceled') throw error;
    return { works: false, detail: failure.message };
  }
}

async function probePush(registry: Registry, repository: string, signal: AbortSignal | undefined): Promise<PushProbe> {
  const bytes = () => randomBytes(64);
  const place = (digest: string): UploadPlace => ({ repository, digest, what: `upload to ${repository}`, signal });
  const body = (part: Uint8Array) => ({ size: part.length, open: () => part });
  let chunkMin: number | undefined;
  const upload = async (whole: Buffer, parts: readonly Buffer[], ranged: boolean) => {
    const at = place(sha256Digest(whole));
    const session = await beginUpload(registry, at);
    chunkMin = session.chunkMin || chunkMin;
    try {
      for (const part of parts) await appendBytes(registry, at, session, body(part), { ranged });
      await commitUpload(registry, at, session, parts.length === 0 ? body(whole) : undefined);
    } catch (error) {
      await cancelUpload(registry, at, session);
      throw error;
    }
  };
  const [once, streamed, parted] = [bytes(), bytes(), bytes()];
  const put = await finding(() => upload(once, [], false));
  const stream = await finding(() => upload(streamed, [streamed], false));
  const chunks = await finding(() => upload(parted, [parted.subarray(0, 32), parted.subarray(32)], true));
  const resume = await finding(async () => {
    const at = place(sha256Digest(bytes()));
    const session = await beginUpload(registry, at);
    try {
      await appendBytes(registry, at, session, body(bytes()), { ranged: false });
      const goesOn = await resumeUpload(registry, at, session);
      if (!goesOn || session.offset !== 64) throw new NaiadError('REGISTRY_PROTOCOL', 'it does not tell');
    } finally {
      await cancelUpload(registry, at, session);
    }
  });
  const mount = await finding(async () => {
    const at = place(sha256Digest(once));
    const mounted = await mountBlob(registry, at, repository);
    if (mounted === 'mounted') return;
    if (mounted) await cancelUpload(registry, at, mounted);
    throw new NaiadError('REGISTRY_PROTOCOL', mounted ? 'it begins an upload instead' : 'it refuses');
  });
  return { put, stream, chunks, chunkMin, resume, mount, ...(await probeManifests(registry, repository, signal)) };
}

async function probeManifests(registry: Registry, repository: string, signal: AbortSignal | undefined) {
  const layer = randomBytes(64);
  const config = Buffer.from(
    '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}',
  );
  const blob = (bytes: Buffer, mediaType: string) => ({ mediaType, digest: sha256Digest(bytes), size: bytes.length });
  const [configBlob, layerBlob] = [blob(config, MEDIA_TYPES.ociConfig), blob(layer, NYDUS_BLOB_MEDIA_TYPE)];
  const pushed: string[] = [];
  const push = async (mediaType: string, fields: object) => {
    const raw = manifestOf(mediaType, fields);
    const isListed = await putManifest(registry, { repository, selector: raw.digest }, raw, signal);
    pushed.unshift(raw.digest);
    return { isListed, descriptor: descriptorOf(raw) };
  };
  let image: Awaited<ReturnType<typeof push>>['descriptor'] | undefined;
  const convertedLayers = await finding(async () => {
    for (const [descriptor, bytes] of [
      [configBlob, config],
      [layerBlob, layer],
    ] as const) {
      await uploadBlob(registry, { repository, descriptor, open: () => bytes }, signal);
    }
    image = (await push(MEDIA_TYPES.ociManifest, { config: configBlob, layers: [layerBlob] })).descriptor;
  });
  const none: Finding = { works: false, detail: 'there is no manifest to try it with' };
  const features = { os: 'linux', architecture: 'amd64', 'os.features': ['nydus.remoteimage.v1'] };
  const indexWithFeatures = image
    ? await finding(
        async () => void (await push(MEDIA_TYPES.ociIndex, { manifests: [{ ...image, platform: features }] })),
      )
    : none;
  const subject = image
    ? await finding(async () => {
        const fields = {
          artifactType: 'application/vnd.naiad.probe',
          config: configBlob,
          layers: [layerBlob],
          subject: image,
        };
        const { isListed } = await push(MEDIA_TYPES.ociManifest, fields);
        if (!isListed) throw new NaiadError('REGISTRY_PROTOCOL', 'accepted, not listed: the fallback tag is needed');
      })
    : none;
  // One after the other: what an index still names may not be deleted (zot).
  const deleted: boolean[] = [];
  for (const digest of pushed) {
    deleted.push(await deleteManifest(registry, { repository, selector: digest }, signal));
  }
  const deletion: Finding =
    deleted.length > 0 && deleted.every(Boolean) ? { works: true } : { works: false, detail: 'what was pushed stays' };
  return { convertedLayers, indexWithFeatures, subject, deletion };
}
