// One attempt at a range of a blob, as a stream. Whoever asks tries again by itself and uses the bytes as they come.
import type { BlobStream, ByteRange, ReadHint } from '../backend/blob-reader.ts';
import { hasCode, NaiadError } from '../base/errors.ts';
import { TransientFailure } from '../base/transient.ts';
import { discard, type HttpResponse } from './exchange.ts';
import { networkFailure } from './network.ts';
import { checkContentRange, checkWithin, rangeHeader, unsatisfied } from './ranges.ts';
import type { SignedAddress } from './signed-address.ts';
import { SlabReader } from './slabs.ts';
import type { Call, Registry } from './transport.ts';

const STATUSES = [200, 206, 416];

/** A blob whose ranges are asked for, one after the other. */
export interface StreamedBlob {
  readonly call: Call;
  readonly size: number | undefined;
  readonly address: SignedAddress;
}

/**
 * Opens a range. Where the registry sends the whole blob instead, the stream begins at 0.
 * @throws TransientFailure when another attempt may work; NaiadError BLOB_NOT_FOUND, ACCESS_DENIED, SIZE_MISMATCH,
 *   REGISTRY_…, CANCELED
 */
export async function openBlobRange(
  registry: Registry,
  { call, size, address }: StreamedBlob,
  range: ByteRange,
  { background = false, fromOrigin = false }: ReadHint,
  signal: AbortSignal,
): Promise<BlobStream> {
  const what = `${call.what} at ${registry.host}`;
  checkWithin(range, size, what);
  // Field by field: with a spread in it, V8 takes kilobytes to build it, and this is done for each range.
  const asked: Call = {
    method: call.method,
    path: call.path,
    repository: call.repository,
    actions: call.actions,
    what: call.what,
    notFound: call.notFound,
    headers: { range: rangeHeader(range) },
    urgency: background ? 'background' : 'waited for',
    whenLimited: 'fail',
    fromOrigin,
    signal,
  };
  if (fromOrigin) address.drop();
  const kept = address.current && (await fromKept(registry, asked, address));
  const response = kept ?? (await registry.expect(asked, STATUSES));
  // What a registry or mirror answers itself may need a token, and another of them may be better the next time.
  if (!kept && response.status === 206 && !registry.isOwn(response)) address.keep(response);
  // Where we were sent, whoever sent us is answerable for.
  const answerable = (kept && address.from) ?? response;
  try {
    if (response.status === 416) throw unsatisfied(response, range, what);
    if (response.status === 206) checkContentRange(response, range, size, what);
    else registry.stats.rangesIgnored++;
  } catch (error) {
    discard(response);
    // A mirror that has another blob under the name: the next one is asked.
    const goesOn = hasCode(error, 'SIZE_MISMATCH') && registry.distrust(answerable);
    throw goesOn ? new TransientFailure(error) : error;
  }
  return {
    offset: response.status === 206 ? range.offset : 0,
    pieces: piecesOf(registry, response, signal),
    distrust() {
      if (!registry.distrust(answerable)) return false;
      address.drop();
      return true;
    },
  };
}

/** Straight from where the registry sent us before; undefined when that is no good any more. */
async function fromKept(registry: Registry, asked: Call, address: SignedAddress): Promise<HttpResponse | undefined> {
  const kept = address.current;
  if (!kept) return undefined;
  try {
    const response = await registry.send({ ...asked, path: kept });
    if (response.status === 206) return response;
    discard(response);
  } catch (error) {
    if (asked.signal?.aborted) throw error;
    // Storage that cannot be reached: the registry may know another.
  }
  address.drop();
  return undefined;
}

/** What comes, and failures that may be tried again as such. No generator: it would take as long as all the rest of a short range. */
function piecesOf(registry: Registry, response: HttpResponse, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const pieces = response.body[Symbol.asyncIterator]();
  const slabs = new SlabReader();
  const end = () => {
    slabs.end(response.body);
    discard(response);
  };
  const take = (next: IteratorResult<Uint8Array>) => {
    if (next.done) end();
    else {
      registry.stats.bytesReceived += next.value.length;
      slabs.next(next.value);
    }
    return next;
  };
  const fail = (error: unknown): never => {
    end();
    const failure = networkFailure(error, { method: 'GET', url: response.url, signal });
    const mayWork = failure instanceof NaiadError && failure.code === 'REGISTRY_UNAVAILABLE';
    throw mayWork ? new TransientFailure(failure) : failure;
  };
  const iterator: AsyncIterator<Uint8Array> = {
    next: () => pieces.next().then(take, fail),
    async return() {
      await pieces.return?.();
      end();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
