// Blobs: existence, whole streams that survive a lost connection, single ranges.
import type { ByteRange } from '../backend/blob-reader.ts';
import { verifyStream } from '../backend/verify.ts';
import { hasCode, NaiadError } from '../base/errors.ts';
import { RANGE_DISCARD_MAX, REGISTRY_PROGRESS_MIN, REGISTRY_RATE_MIN } from '../base/limits.ts';
import { TransientFailure } from '../base/transient.ts';
import type { Descriptor } from '../format/oci/manifest.ts';
import { discard, type HttpResponse, headerOf } from './exchange.ts';
import { networkFailure } from './network.ts';
import { checkContentRange, checkWithin, describeRange, fillFromBody, rangeHeader, unsatisfied } from './ranges.ts';
import type { Call, Registry } from './transport.ts';

export interface BlobName {
  readonly repository: string;
  readonly digest: string;
}

/** What asks for a blob; somebody waits for what a GET brings. */
export function blobCall({ repository, digest }: BlobName, method: 'GET' | 'HEAD', signal?: AbortSignal): Call {
  return {
    method,
    path: `/v2/${repository}/blobs/${digest}`,
    repository,
    actions: 'pull',
    what: `blob ${digest} of ${repository}`,
    notFound: 'BLOB_NOT_FOUND',
    ...(method === 'GET' && { urgency: 'waited for' }),
    signal,
  };
}

/** True when the repository has the blob. `actions` is what the following requests need, so that one token serves all. */
export async function hasBlob(
  registry: Registry,
  name: BlobName & { readonly size?: number },
  signal?: AbortSignal,
): Promise<boolean> {
  // A redirect is a yes: it points to storage, and signed addresses are good for GET only.
  const asked: Call = { ...blobCall(name, 'HEAD', signal), actions: 'pull,push', redirect: 'manual' };
  return await registry.ask(asked, [200, 301, 302, 303, 307, 308, 404, 405], async (response) => {
    discard(response);
    if (response.status === 404 || response.status === 405) return false;
    const announced = response.status === 200 ? headerOf(response, 'content-length') : undefined;
    // The same digest with another size: not what we have. Pushing it again tells who is wrong.
    return announced === undefined || name.size === undefined || Number(announced) === name.size;
  });
}

/**
 * A whole blob, verified: size and digest are right when the stream ends without an error. A lost connection is taken
 * up again where it broke. The first answer has come when the promise is kept.
 * @throws NaiadError BLOB_NOT_FOUND, ACCESS_DENIED, REGISTRY_…, SIZE_MISMATCH, DIGEST_MISMATCH
 */
export async function openBlob(
  registry: Registry,
  repository: string,
  descriptor: Pick<Descriptor, 'digest' | 'size'>,
  signal?: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  const asked = blobCall({ repository, digest: descriptor.digest }, 'GET', signal);
  const what = `${asked.what} at ${registry.host}`;
  const first = await registry.retry(asked, undefined, async () => {
    const response = await registry.expect(asked, [200]);
    const announced = headerOf(response, 'content-length');
    if (announced === undefined || Number(announced) === descriptor.size) return response;
    discard(response);
    const said = `${what}: expected ${descriptor.size} bytes, the registry has ${announced}`;
    const failure = new NaiadError('SIZE_MISMATCH', said);
    throw registry.distrust(response) ? new TransientFailure(failure) : failure;
  });
  const answers = new Set<HttpResponse>();
  const pieces = verifyStream(resumed(registry, asked, first, descriptor.size, answers), descriptor, what);
  return distrusting(pieces, () => {
    for (const answer of answers) registry.distrust(answer);
  });
}

/** Tells when what came was wrong. */
async function* distrusting(pieces: AsyncIterable<Uint8Array>, onWrong: () => void): AsyncGenerator<Uint8Array> {
  try {
    yield* pieces;
  } catch (error) {
    if (hasCode(error, 'DIGEST_MISMATCH', 'SIZE_MISMATCH')) onWrong();
    throw error;
  }
}

async function* resumed(
  registry: Registry,
  asked: Call,
  first: HttpResponse,
  size: number,
  answers: Set<HttpResponse>,
): AsyncGenerator<Uint8Array, void, void> {
  let offset = 0;
  let progressFrom = 0;
  let troubles = 0;
  let response = first;
  /** Bytes we have already, of a server that starts from the beginning again. */
  let skip = 0;
  const patience = new Patience(registry.readDeadlineMs, `${asked.what} at ${registry.host}`);
  for (;;) {
    answers.add(response);
    try {
      for await (const piece of patience.of(response.body)) {
        const rest = piece.subarray(Math.min(piece.length, skip));
        skip -= piece.length - rest.length;
        if (rest.length === 0) continue;
        offset += rest.length;
        registry.stats.bytesReceived += rest.length;
        yield rest;
      }
      return;
    } catch (error) {
      const failure = networkFailure(error, { method: 'GET', url: response.url, signal: asked.signal });
      troubles = offset - progressFrom >= REGISTRY_PROGRESS_MIN ? 1 : troubles + 1;
      if (!(failure instanceof TransientFailure)) throw failure;
      if (troubles > RESUMES_MAX || offset >= size) throw failure.failure;
    } finally {
      discard(response);
    }
    progressFrom = offset;
    response = await reopen(registry, asked, offset, size);
    skip = response.status === 200 ? offset : 0;
  }
}

const RESUMES_MAX = 4;

/** Ends a stream that trickles. A line that goes silent is ended elsewhere; whoever reads slowly is not to blame. */
class Patience {
  #leftMs: number;
  readonly #what: string;

  constructor(leftMs: number, what: string) {
    this.#leftMs = leftMs;
    this.#what = what;
  }

  async *of(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
    let waitsSince = performance.now();
    for await (const piece of pieces) {
      this.#leftMs -= performance.now() - waitsSince - (piece.length / REGISTRY_RATE_MIN) * 1000;
      if (this.#leftMs < 0) throw new NaiadError('REGISTRY_UNAVAILABLE', `${this.#what}: it comes too slowly`);
      yield piece;
      waitsSince = performance.now();
    }
  }
}

/** The rest of a blob from `offset` (206), or all of it again (200). */
async function reopen(registry: Registry, asked: Call, offset: number, size: number): Promise<HttpResponse> {
  if (offset === 0) return await registry.retry(asked, undefined, async () => await registry.expect(asked, [200]));
  const range = { offset, size: size - offset };
  const headers = { range: rangeHeader(range) };
  const what = `${asked.what} at ${registry.host}`;
  return await registry.retry(asked, undefined, async () => {
    const response = await registry.expect({ ...asked, headers }, [200, 206]);
    try {
      if (response.status === 206) checkContentRange(response, range, size, what);
      return response;
    } catch (error) {
      discard(response);
      throw networkFailure(error, { method: 'GET', url: response.url, signal: asked.signal });
    }
  });
}

/**
 * One range of a blob, within the deadline of a read.
 * @throws NaiadError BLOB_NOT_FOUND, ACCESS_DENIED, REGISTRY_…, SIZE_MISMATCH when the blob ends before the range
 */
export async function readBlobRange(
  registry: Registry,
  name: BlobName & { readonly size: number | undefined },
  range: ByteRange,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  if (range.size === 0) return new Uint8Array(0);
  const asked = blobCall(name, 'GET', signal);
  const what = `${asked.what} at ${registry.host}`;
  checkWithin(range, name.size, what);
  return await registry.ask(
    { ...asked, headers: { range: rangeHeader(range) } },
    [200, 206, 416],
    async (response, onBytes) => {
      if (response.status === 416) throw unsatisfied(response, range, what);
      // Every byte of it is written before it is handed out.
      const target = Buffer.allocUnsafeSlow(range.size);
      if (response.status === 206) checkContentRange(response, range, name.size, what);
      else refuseLongSkip(registry, response, range, what);
      await fillFromBody(response, target, { skip: response.status === 206 ? 0 : range.offset, what, onBytes });
      registry.stats.bytesReceived += range.size;
      return target;
    },
  );
}

/** A whole blob came instead of a range. Pull-through caches do this once and know the blob the next time. */
function refuseLongSkip(registry: Registry, response: HttpResponse, range: ByteRange, what: string): void {
  registry.stats.rangesIgnored++;
  if (range.offset <= RANGE_DISCARD_MAX) return;
  response.body.destroy();
  throw new TransientFailure(
    new NaiadError(
      'REGISTRY_PROTOCOL',
      `${what}: asked for ${describeRange(range)}, the registry sends the whole blob`,
      {
        hint: 'Lazy reading needs a registry (and every proxy before it) that answers ranged requests.',
      },
    ),
  );
}
