// Manifests: fetched with their digest checked, pushed byte for byte.
import { NaiadError } from '../base/errors.ts';
import { MANIFEST_SIZE_MAX } from '../base/limits.ts';
import { isDigest, sha256Digest } from '../format/oci/digest.ts';
import { documentMediaType, type RawManifest } from '../format/oci/manifest.ts';
import { MANIFEST_ACCEPT } from '../format/oci/media-types.ts';
import { discard, headerOf, readBody } from './exchange.ts';
import type { Call, Registry } from './transport.ts';

export interface ManifestName {
  readonly repository: string;
  /** A tag or a digest. */
  readonly selector: string;
  /** Asked where it is pushed to, not of mirrors. */
  readonly fresh?: boolean;
}

function call(name: ManifestName, method: Call['method'], signal: AbortSignal | undefined): Call {
  const separator = isDigest(name.selector) ? '@' : ':';
  return {
    method,
    path: `/v2/${name.repository}/manifests/${name.selector}`,
    repository: name.repository,
    actions: method === 'PUT' || name.fresh ? 'pull,push' : 'pull',
    ...(method === 'PUT' || name.fresh || isDigest(name.selector) ? {} : { capability: 'resolve' as const }),
    what: `manifest of ${name.repository}${separator}${name.selector}`,
    notFound: 'IMAGE_NOT_FOUND',
    headers: { accept: MANIFEST_ACCEPT },
    signal,
  };
}

/**
 * The manifest or index of a name.
 * @throws NaiadError IMAGE_NOT_FOUND, ACCESS_DENIED, REGISTRY_…, DIGEST_MISMATCH, MANIFEST_INVALID, LIMIT_EXCEEDED
 */
export async function getManifest(registry: Registry, name: ManifestName, signal?: AbortSignal): Promise<RawManifest> {
  const asked = call(name, 'GET', signal);
  return await registry.ask(asked, [200], async (response) => {
    const bytes = await readBody(response, MANIFEST_SIZE_MAX, `${asked.what} at ${registry.host}`);
    registry.stats.bytesReceived += bytes.length;
    const digest = sha256Digest(bytes);
    const announced = headerOf(response, 'docker-content-digest');
    const expected = isDigest(name.selector) ? name.selector : isDigest(announced) ? announced : digest;
    if (digest !== expected) {
      throw new NaiadError(
        'DIGEST_MISMATCH',
        `${asked.what} at ${registry.host}: expected ${expected}, got ${digest} (${bytes.length} bytes)`,
      );
    }
    return { mediaType: documentMediaType(bytes, headerOf(response, 'content-type')), digest, bytes };
  });
}

/** The digest a tag has now, by HEAD; undefined when there is no such manifest or the registry does not say. */
export async function headManifest(
  registry: Registry,
  name: ManifestName,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const asked = call(name, 'HEAD', signal);
  return await registry.ask(asked, [200, 404, 405], async (response) => {
    discard(response);
    const digest = headerOf(response, 'docker-content-digest');
    return response.status === 200 && isDigest(digest) ? digest : undefined;
  });
}

/**
 * Publishes a manifest under a tag or its digest. Its blobs must be there. Sending it again changes nothing. True when the
 * registry says that it lists it among the referrers of its subject.
 */
export async function putManifest(
  registry: Registry,
  name: ManifestName,
  manifest: RawManifest,
  signal?: AbortSignal,
): Promise<boolean> {
  const { bytes, mediaType } = manifest;
  const asked: Call = {
    ...call(name, 'PUT', signal),
    headers: { 'content-type': mediaType },
    body: { size: bytes.length, open: () => bytes },
  };
  return await registry.ask(asked, [200, 201, 202, 204], async (response) => {
    discard(response);
    registry.stats.bytesSent += bytes.length;
    const stored = headerOf(response, 'docker-content-digest');
    if (isDigest(stored) && stored !== manifest.digest) {
      throw new NaiadError(
        'REGISTRY_PROTOCOL',
        `${asked.what} at ${registry.host}: pushed ${manifest.digest}, the registry stored ${stored}`,
      );
    }
    return headerOf(response, 'oci-subject') !== undefined;
  });
}

/** Removes a manifest by digest, or a tag; false where the registry does not allow it. */
export async function deleteManifest(registry: Registry, name: ManifestName, signal?: AbortSignal): Promise<boolean> {
  const asked: Call = { ...call({ ...name, fresh: true }, 'DELETE', signal), actions: 'delete' };
  return await registry.ask(asked, [200, 202, 204, 400, 401, 403, 404, 405, 501], async (response) => {
    discard(response);
    return response.status < 300;
  });
}
