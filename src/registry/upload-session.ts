// One upload session of a registry: begun, or saved by a mount; filled by PATCH or PUT; asked how far it is; committed or
// given up. The address of a session is opaque, and each answer may give a new one.
import { hasCode, NaiadError } from '../base/errors.ts';
import { REGISTRY_COMMIT_TIMEOUT_MS, UPLOAD_CHUNK_HELD_MAX } from '../base/limits.ts';
import { discard, type HttpResponse, headerOf, type RequestBody } from './exchange.ts';
import { resolveTarget } from './redirect.ts';
import type { Call, Registry } from './transport.ts';

/** What is uploaded where. */
export interface UploadPlace {
  readonly repository: string;
  readonly digest: string;
  /** In words, for errors. */
  readonly what: string;
  readonly signal: AbortSignal | undefined;
}

export interface UploadSession {
  /** Where the next request goes. */
  location: URL;
  /** Bytes the registry has. */
  offset: number;
  /** The least that a chunk may have, the last one excepted. */
  readonly chunkMin: number;
}

function callFor(place: UploadPlace, method: Call['method'], path: string | URL): Call {
  const { repository, what, signal } = place;
  return { method, path, repository, actions: 'pull,push', what, notFound: 'REGISTRY_PROTOCOL', signal };
}

const EMPTY: RequestBody = { size: 0, open: () => new Uint8Array(0) };

/** The registry does not take what it was sent, the way it was sent. */
export class UploadRefused extends Error {
  readonly status: number;
  readonly failure: NaiadError;

  constructor(status: number, failure: NaiadError) {
    super(failure.message);
    this.status = status;
    this.failure = failure;
  }
}

/** Statuses that another way of sending may change. */
const REFUSALS = new Set([400, 404, 405, 411, 413, 416, 501]);

async function sendBody(registry: Registry, asked: Call, statuses: readonly number[]): Promise<HttpResponse> {
  const response = await registry.send(asked);
  if (statuses.includes(response.status)) return response;
  const failure = await registry.refusal(response, asked);
  if (!REFUSALS.has(response.status) || !(failure instanceof NaiadError)) throw failure;
  throw new UploadRefused(response.status, failure);
}

/** @throws NaiadError ACCESS_DENIED, REGISTRY_…; TransientFailure */
export async function beginUpload(registry: Registry, place: UploadPlace): Promise<UploadSession> {
  const path = `/v2/${place.repository}/blobs/uploads/`;
  const response = await registry.expect({ ...callFor(place, 'POST', path), body: EMPTY }, [202]);
  return openedBy(registry, place, response);
}

/**
 * Takes a blob over from another repository of the same registry: `mounted`; or the session the registry began instead;
 * undefined when it wants neither.
 */
export async function mountBlob(
  registry: Registry,
  place: UploadPlace,
  from: string,
): Promise<'mounted' | UploadSession | undefined> {
  const query = new URLSearchParams({ mount: place.digest, from });
  const path = `/v2/${place.repository}/blobs/uploads/?${query}`;
  const asked: Call = { ...callFor(place, 'POST', path), alsoPulls: from, body: EMPTY };
  let response: HttpResponse;
  try {
    response = await registry.send(asked);
  } catch (error) {
    // No token for both repositories at once: one for the target alone may be had.
    if (hasCode(error, 'ACCESS_DENIED')) return undefined;
    throw error;
  }
  if (response.status === 202) return openedBy(registry, place, response);
  discard(response);
  if (response.status === 201) return 'mounted';
  // Not allowed to read there, unknown there, or no mounts here: the blob is pushed then.
  return undefined;
}

function openedBy(registry: Registry, place: UploadPlace, response: HttpResponse): UploadSession {
  discard(response);
  const location = headerOf(response, 'location');
  if (location === undefined) {
    const message = `${place.what} at ${registry.host}: the registry gave no address to upload to`;
    throw new NaiadError('REGISTRY_PROTOCOL', message);
  }
  const chunkMin = Number(headerOf(response, 'oci-chunk-min-length') ?? 0);
  return {
    location: resolveTarget(response.url, location, 'an upload points'),
    offset: 0,
    chunkMin: Number.isSafeInteger(chunkMin) ? Math.min(chunkMin, UPLOAD_CHUNK_HELD_MAX) : 0,
  };
}

/** One PATCH; throws UploadRefused as well. `ranged` says which bytes these are, as chunks must and a stream must not. */
export async function appendBytes(
  registry: Registry,
  place: UploadPlace,
  session: UploadSession,
  body: RequestBody,
  options: { readonly ranged: boolean },
): Promise<void> {
  const contentRange = options.ranged
    ? { 'content-range': `${session.offset}-${session.offset + body.size - 1}` }
    : undefined;
  const asked: Call = {
    ...callFor(place, 'PATCH', session.location),
    headers: { 'content-type': 'application/octet-stream', ...contentRange },
    body,
    headersTimeoutMs: REGISTRY_COMMIT_TIMEOUT_MS,
  };
  // 201 is what ECR says. How far it says to be is not believed (ECR stays at the first chunk): the digest will tell.
  const response = await sendBody(registry, asked, [201, 202, 204]);
  discard(response);
  const location = headerOf(response, 'location');
  if (location !== undefined) session.location = resolveTarget(response.url, location, 'an upload points');
  session.offset += body.size;
}

/** The PUT that ends an upload, with all bytes or with none; throws UploadRefused as well. */
export async function commitUpload(
  registry: Registry,
  place: UploadPlace,
  session: UploadSession,
  body: RequestBody = EMPTY,
): Promise<void> {
  // What the address carries stays as it is, and the digest is added.
  const path = new URL(session.location);
  path.search += `${path.search === '' ? '?' : '&'}digest=${encodeURIComponent(place.digest)}`;
  const asked: Call = {
    ...callFor(place, 'PUT', path),
    headers: { 'content-type': 'application/octet-stream' },
    body,
    headersTimeoutMs: REGISTRY_COMMIT_TIMEOUT_MS,
  };
  discard(await sendBody(registry, asked, [201, 204]));
}

/** Asks how many bytes the registry has, and goes on from there; false when the session cannot be taken up again. */
export async function resumeUpload(registry: Registry, place: UploadPlace, session: UploadSession): Promise<boolean> {
  const response = await registry.send(callFor(place, 'GET', session.location));
  discard(response);
  if (response.status !== 204 && response.status !== 202) return false;
  // Quay begins with `bytes=`; by old custom `0-0` is nothing.
  const end = /^(?:bytes[= ])?0-(\d{1,15})$/.exec(headerOf(response, 'range') ?? '')?.[1];
  if (end === undefined) return false;
  session.offset = end === '0' ? 0 : Number(end) + 1;
  const location = headerOf(response, 'location');
  if (location !== undefined) session.location = resolveTarget(response.url, location, 'an upload points');
  return true;
}

/** So that the registry need not keep what was sent until it cleans up. Whether it works changes nothing. */
export async function cancelUpload(registry: Registry, place: UploadPlace, session: UploadSession): Promise<void> {
  const asked: Call = {
    ...callFor(place, 'DELETE', session.location),
    headersTimeoutMs: CANCEL_TIMEOUT_MS,
    // The caller's signal may be why we are here.
    signal: AbortSignal.timeout(CANCEL_TIMEOUT_MS),
  };
  try {
    discard(await registry.send(asked));
  } catch {
    // The session dies of old age then.
  }
}

const CANCEL_TIMEOUT_MS = 3000;
