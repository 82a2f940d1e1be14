// Pushing blobs: one session, one PUT. A session that fails is given up and another begun, which is always right; only
// after a lost answer the registry is asked first whether the blob has arrived.
import { NaiadError } from '../base/errors.ts';
import { REGISTRY_COMMIT_TIMEOUT_MS } from '../base/limits.ts';
import type { Descriptor } from '../format/oci/manifest.ts';
import { hasBlob } from './blobs.ts';
import { discard, headerOf, type RequestBody, TransientFailure } from './exchange.ts';
import { resolveTarget } from './redirect.ts';
import type { Call, Registry } from './transport.ts';

export interface BlobUpload {
  readonly repository: string;
  readonly descriptor: Pick<Descriptor, 'digest' | 'size'>;
  /** The bytes from the start; called once an attempt. */
  readonly open: RequestBody['open'];
  /** Gets the bytes sent so far; starts over with a new attempt. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/**
 * Pushes a blob, whether the registry has it or not (`hasBlob` asks). Pushing it again changes nothing.
 * @throws NaiadError ACCESS_DENIED, REGISTRY_…, DIGEST_MISMATCH when the bytes are not those of the digest
 */
export async function uploadBlob(registry: Registry, upload: BlobUpload, signal?: AbortSignal): Promise<void> {
  const { repository, descriptor } = upload;
  const what = `upload of blob ${descriptor.digest} to ${repository}`;
  let digestRefused = false;
  await registry.retry({ what, signal }, undefined, async (_, number) => {
    if (number > 1 && (await hasBlob(registry, { repository, ...descriptor }, signal))) return;
    const session = await beginUpload(registry, repository, what, signal);
    try {
      await putWhole(registry, upload, session, what, signal);
    } catch (error) {
      await cancelUpload(registry, repository, session);
      if (!(error instanceof DigestRefused) || digestRefused)
        throw error instanceof DigestRefused ? error.failure : error;
      // Once, it may be the way there; twice, it is the bytes.
      digestRefused = true;
      throw new TransientFailure(error.failure);
    }
  });
}

/** The registry says that what arrived does not have the digest. */
class DigestRefused extends Error {
  readonly failure: NaiadError;
  constructor(failure: NaiadError) {
    super(failure.message);
    this.failure = failure;
  }
}

async function beginUpload(
  registry: Registry,
  repository: string,
  what: string,
  signal: AbortSignal | undefined,
): Promise<URL> {
  const asked: Call = {
    method: 'POST',
    path: `/v2/${repository}/blobs/uploads/`,
    repository,
    actions: 'pull,push',
    what,
    notFound: 'REGISTRY_PROTOCOL',
    body: { size: 0, open: () => new Uint8Array(0) },
    signal,
  };
  const response = await registry.expect(asked, [202]);
  discard(response);
  const location = headerOf(response, 'location');
  if (location === undefined) {
    throw new NaiadError('REGISTRY_PROTOCOL', `${what} at ${registry.host}: the registry gave no address to upload to`);
  }
  return resolveTarget(response.url, location, 'an upload points');
}

async function putWhole(
  registry: Registry,
  upload: BlobUpload,
  session: URL,
  what: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { repository, descriptor } = upload;
  // The address is opaque: what it carries stays as it is, and the digest is added.
  const path = new URL(session);
  path.search += `${path.search === '' ? '?' : '&'}digest=${encodeURIComponent(descriptor.digest)}`;
  const asked: Call = {
    method: 'PUT',
    path,
    repository,
    actions: 'pull,push',
    what,
    notFound: 'REGISTRY_PROTOCOL',
    headers: { 'content-type': 'application/octet-stream' },
    body: { size: descriptor.size, open: () => counted(registry, upload) },
    headersTimeoutMs: REGISTRY_COMMIT_TIMEOUT_MS,
    signal,
  };
  const response = await registry.send(asked);
  if (response.status === 201 || response.status === 204) {
    discard(response);
    return;
  }
  const failure = await registry.refusal(response, asked);
  // A session that is gone; a new one is as good.
  if (response.status === 404 && failure instanceof NaiadError) throw new TransientFailure(failure);
  if (response.status === 400 && failure instanceof NaiadError && /DIGEST_INVALID/.test(failure.message)) {
    throw new DigestRefused(new NaiadError('DIGEST_MISMATCH', failure.message));
  }
  throw failure;
}

/** The bytes of an upload, counted as they leave. */
function counted(registry: Registry, upload: BlobUpload): Uint8Array | AsyncIterable<Uint8Array> {
  const bytes = upload.open();
  const count = (sent: number, size: number) => {
    registry.stats.bytesSent += size;
    upload.onProgress?.(sent);
  };
  if (bytes instanceof Uint8Array) {
    count(bytes.length, bytes.length);
    return bytes;
  }
  return (async function* () {
    let sent = 0;
    for await (const piece of bytes) {
      yield piece;
      sent += piece.length;
      count(sent, piece.length);
    }
  })();
}

/** So that the registry need not keep what was sent until it cleans up. Whether it works changes nothing. */
async function cancelUpload(registry: Registry, repository: string, session: URL): Promise<void> {
  const asked: Call = {
    method: 'DELETE',
    path: session,
    repository,
    actions: 'pull,push',
    what: 'cancelling an upload',
    notFound: 'REGISTRY_PROTOCOL',
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
