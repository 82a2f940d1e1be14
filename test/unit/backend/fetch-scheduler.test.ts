// Faults and orders of arrival that no real server gives on demand: readers here are scripted.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobReader, BlobStream, ByteRange } from '../../../src/backend/blob-reader.ts';
import type { Priority } from '../../../src/backend/fetch-counters.ts';
import type { FetchUnit } from '../../../src/backend/fetch-plan.ts';
import { FetchScheduler, type FetchTarget } from '../../../src/backend/fetch-scheduler.ts';
import { deferred } from '../../../src/base/concurrency.ts';
import { NaiadError } from '../../../src/base/errors.ts';
import { FETCH_GAP_MAX, FETCHES_IN_FLIGHT_MAX } from '../../../src/base/limits.ts';
import { TransientFailure } from '../../../src/base/transient.ts';

const UNIT = 1000;
/** Far enough from each other never to share a request. */
const APART = UNIT + FETCH_GAP_MAX + 1;

function unitAt(index: number, spacing = UNIT): FetchUnit {
  const at = index * spacing;
  return { compressedOffset: at, compressedSize: UNIT, uncompressedSize: UNIT, compressed: false, chunks: [index] };
}

type Script = (range: ByteRange, signal: AbortSignal, request: number) => Promise<BlobStream> | BlobStream;

/** A blob whose byte at offset i is i % 251; what was published of it. */
function scripted(script: Script, options: { publish?: (unit: FetchUnit) => void; units?: readonly FetchUnit[] } = {}) {
  const requests: ByteRange[] = [];
  const published: number[] = [];
  const abort = new AbortController();
  const reader: BlobReader = {
    name: 'scripted',
    readAt: () => Promise.reject(new Error('not asked')),
    open: async (range, signal) => {
      requests.push(range);
      return await script(range, signal, requests.length);
    },
  };
  const target: FetchTarget = {
    reader,
    signal: abort.signal,
    async publish(unit, stored) {
      options.publish?.(unit);
      assert.deepEqual(Buffer.from(stored), bytesAt(unit.compressedOffset, unit.compressedSize));
      published.push(unit.chunks[0] as number);
    },
    wanted: () => (options.units ?? []).filter((unit) => !published.includes(unit.chunks[0] as number)),
  };
  return { target, requests, published, abort };
}

function bytesAt(offset: number, size: number): Buffer {
  return Buffer.from(Array.from({ length: size }, (_, i) => (offset + i) % 251));
}

async function* inPieces(offset: number, size: number, pieceSize = 333): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < size; at += pieceSize) yield bytesAt(offset + at, Math.min(pieceSize, size - at));
}

const whole: Script = ({ offset, size }) => ({ offset, pieces: inPieces(offset, size) });

async function* thenHang(offset: number, size: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  yield* inPieces(offset, size);
  await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
}

function ask(scheduler: FetchScheduler, target: FetchTarget, unit: FetchUnit, priority: Priority = 'demand') {
  const { promise, resolve, reject } = deferred<void>();
  scheduler.request(target, unit, { priority }, (error) => (error === undefined ? resolve() : reject(error)));
  return promise;
}

/** Readers go on as soon as they have their bytes; a transfer ends a little later. */
async function idle(scheduler: FetchScheduler): Promise<void> {
  while (scheduler.inFlight.requests > 0) await sleep(1);
}

const QUICK = { floorWindowMs: 30, retryDelayMs: 1 };

test('scheduler: what is asked for together and lies together comes in one request, each unit when it is there', async () => {
  const scheduler = new FetchScheduler(QUICK);
  const gate = deferred<void>();
  const { target, requests } = scripted(({ offset, size }) => ({
    offset,
    pieces: (async function* () {
      yield bytesAt(offset, UNIT);
      await gate.promise;
      yield* inPieces(offset + UNIT, size - UNIT);
    })(),
  }));
  const asked = [0, 1, 2, 3].map((index) => ask(scheduler, target, unitAt(index)));
  await asked[0];
  gate.resolve();
  await Promise.all(asked);
  await idle(scheduler);
  assert.deepEqual(requests, [{ offset: 0, size: 4 * UNIT }]);
  assert.equal(scheduler.counters.demand.units, 4);
  assert.equal(scheduler.counters.demand.bytes, 4 * UNIT);
  assert.deepEqual(scheduler.inFlight, { requests: 0, bytes: 0 });
});

/** As a source that uses memory again as soon as it may: once a piece after one in other memory is asked for. */
async function* inUsedMemory(offset: number, size: number, slabSize: number, pieceSize: number) {
  let before: Uint8Array | undefined;
  for (let slabAt = 0; slabAt < size; slabAt += slabSize) {
    const slab = Uint8Array.from(bytesAt(offset + slabAt, Math.min(slabSize, size - slabAt)));
    for (let at = 0; at < slab.length; at += pieceSize) {
      yield slab.subarray(at, at + pieceSize);
      before?.fill(255);
      if (at > 0) before = undefined;
    }
    before = slab;
  }
}

test('scheduler: units in pieces, of memory that is used again, are joined', async () => {
  for (const slabSize of [300, 1000, 1500, 2500, 9000]) {
    for (const pieceSize of [100, 333, 1000, 9000]) {
      const scheduler = new FetchScheduler(QUICK);
      const { target, published } = scripted(({ offset, size }) => ({
        offset,
        pieces: inUsedMemory(offset, size, slabSize, pieceSize),
      }));
      await Promise.all([0, 1, 2, 3, 4, 5].map((index) => ask(scheduler, target, unitAt(index))));
      assert.deepEqual(published, [0, 1, 2, 3, 4, 5]);
      await idle(scheduler);
    }
  }
});

test('scheduler: demand goes before hot, hot before background; the requests in flight are bounded', async () => {
  const scheduler = new FetchScheduler();
  let gate = deferred<void>();
  const { target, requests } = scripted(async (range, signal, request) => {
    await gate.promise;
    return await whole(range, signal, request);
  });
  const first = [0, 1, 2, 3].map((index) => ask(scheduler, target, unitAt(index, APART), 'background'));
  await sleep(0);
  assert.equal(requests.length, 2);
  const hot = [4, 5, 6, 7, 8].map((index) => ask(scheduler, target, unitAt(index, APART), 'hot'));
  await sleep(0);
  assert.equal(requests.length, 6);
  const demand = Array.from({ length: 12 }, (_, i) => ask(scheduler, target, unitAt(20 + i, APART), 'demand'));
  await sleep(0);
  assert.equal(requests.length, 6 + FETCHES_IN_FLIGHT_MAX);
  gate.resolve();
  gate = deferred<void>();
  gate.resolve();
  await Promise.all([...first, ...hot, ...demand]);
  const order = requests.map(({ offset }) => offset / APART);
  const lastDemand = Math.max(...order.map((chunk, at) => (chunk >= 20 ? at : 0)));
  assert.ok(order.indexOf(8) > lastDemand || order.indexOf(8) >= 6);
  assert.ok(order.indexOf(3) > lastDemand, `background came last: ${order}`);
});

test('scheduler: a demand for what nobody waited for raises it', async () => {
  const scheduler = new FetchScheduler({ retryDelayMs: 1 });
  const gates = new Map<number, () => void>();
  const { target, requests } = scripted(async (range, signal, request) => {
    await new Promise<void>((resolve) => gates.set(request, resolve));
    return await whole(range, signal, request);
  });
  const all = Array.from({ length: 6 }, (_, index) => ask(scheduler, target, unitAt(index, APART), 'background'));
  await sleep(0);
  assert.equal(requests.length, 2);
  scheduler.raise(target, 5, 'demand');
  await sleep(0);
  assert.equal(requests.length, 3);
  assert.equal(requests[2]?.offset, 5 * APART);
  const opening = setInterval(() => {
    for (const open of gates.values()) open();
  }, 1);
  await Promise.all(all);
  clearInterval(opening);
  assert.equal(scheduler.counters.demand.units, 1);
  assert.equal(scheduler.counters.background.units, 5);
});

test('scheduler: background takes no bytes from the line while a reader waits', async () => {
  const scheduler = new FetchScheduler({ retryDelayMs: 1 });
  const gate = deferred<void>();
  let taken = 0;
  const { target, requests } = scripted(({ offset, size }) => ({
    offset,
    pieces: (async function* () {
      if (offset > 0) await gate.promise;
      for await (const piece of inPieces(offset, size, 100)) {
        if (offset === 0) taken++;
        await sleep(1);
        yield piece;
      }
    })(),
  }));
  const background = ask(scheduler, target, unitAt(0), 'background');
  await sleep(3);
  const demand = ask(scheduler, target, unitAt(1, APART));
  await sleep(5);
  const before = taken;
  assert.ok(before < 10, 'it was on its way');
  await sleep(60);
  assert.ok(taken <= before + 1, `${taken} pieces, ${before} before`);
  const first = requests.filter(({ offset }) => offset === 0);
  assert.equal(first.length, 1, 'the one that is held back is not taken for a stalled one');
  gate.resolve();
  await Promise.all([demand, background]);
});

test('scheduler: a request that stalls gets another beside it, and the first right answer wins', async () => {
  const scheduler = new FetchScheduler(QUICK);
  const aborted: string[] = [];
  const { target, requests } = scripted((range, signal, request) => {
    if (request > 1) return whole(range, signal, request);
    signal.addEventListener('abort', () => aborted.push('first'));
    return { offset: range.offset, pieces: thenHang(range.offset, UNIT + 10, signal) };
  });
  await Promise.all([0, 1, 2].map((index) => ask(scheduler, target, unitAt(index))));
  await idle(scheduler);
  // What had come is not asked for again.
  assert.deepEqual(requests, [
    { offset: 0, size: 3 * UNIT },
    { offset: UNIT, size: 2 * UNIT },
  ]);
  assert.deepEqual(aborted, ['first']);
  assert.equal(scheduler.counters.stalls, 1);
  assert.equal(scheduler.counters.hedges, 1);
  assert.equal(scheduler.counters.retries, 0);
});

test('scheduler: failures of the moment are tried again from where they broke, as late as was asked', async () => {
  const scheduler = new FetchScheduler({ ...QUICK, floorWindowMs: 1000 });
  const times: number[] = [];
  const { target, requests } = scripted((range, signal, request) => {
    times.push(performance.now());
    const busy = new NaiadError('REGISTRY_UNAVAILABLE', 'busy');
    if (request === 1) throw new TransientFailure(busy, 50);
    if (request > 2) return whole(range, signal, request);
    return {
      offset: range.offset,
      pieces: (async function* () {
        yield bytesAt(range.offset, UNIT + 1);
        throw new TransientFailure(busy);
      })(),
    };
  });
  await Promise.all([0, 1].map((index) => ask(scheduler, target, unitAt(index))));
  assert.deepEqual(
    requests.map(({ offset }) => offset),
    [0, 0, UNIT],
  );
  // Timers count whole milliseconds.
  assert.ok((times[1] as number) - (times[0] as number) >= 49);
  assert.equal(scheduler.counters.retries, 2);
});

test('scheduler: who could not connect goes on as soon as anybody gets through; other failures wait on', async () => {
  const scheduler = new FetchScheduler({ retryDelayMs: 60_000, deadlineMs: 120_000 });
  const failing = (unreachable: boolean) =>
    scripted((range, signal, request) => {
      if (request > 1) return whole(range, signal, request);
      throw new TransientFailure(new NaiadError('REGISTRY_UNAVAILABLE', 'once'), undefined, unreachable);
    });
  const [down, sick, well] = [failing(true), failing(false), scripted(whole)];
  const waiting = ask(scheduler, down.target, unitAt(0));
  ask(scheduler, sick.target, unitAt(0)).catch(() => undefined);
  while (scheduler.counters.retries < 2) await sleep(1);
  assert.deepEqual([down.requests.length, sick.requests.length], [1, 1]);
  await ask(scheduler, well.target, unitAt(0));
  await waiting;
  assert.deepEqual([down.requests.length, sick.requests.length], [2, 1]);
  sick.abort.abort(new NaiadError('CANCELED', 'over'));
  await idle(scheduler);
});

test('scheduler: what never comes is given up after the deadline, with the reason', async () => {
  const scheduler = new FetchScheduler({ ...QUICK, deadlineMs: 60 });
  const down = scripted(() => {
    throw new TransientFailure(new NaiadError('REGISTRY_UNAVAILABLE', 'connection refused'));
  });
  const silent = scripted(({ offset }, signal) => ({ offset, pieces: thenHang(offset, 0, signal) }));
  await Promise.all([
    assert.rejects(ask(scheduler, down.target, unitAt(0)), { code: 'REGISTRY_UNAVAILABLE', message: /refused/ }),
    assert.rejects(ask(scheduler, silent.target, unitAt(0)), { code: 'REGISTRY_UNAVAILABLE', message: /in time/ }),
  ]);
  assert.equal(scheduler.counters.demand.errors, 2);
  // Nothing is remembered: the next one is asked for anew.
  const before = down.requests.length;
  await assert.rejects(ask(scheduler, down.target, unitAt(0)));
  assert.ok(down.requests.length > before);
});

test('scheduler: an answer that is final is final', async () => {
  const scheduler = new FetchScheduler(QUICK);
  const { target, requests } = scripted(() => {
    throw new NaiadError('BLOB_NOT_FOUND', 'no such blob');
  });
  await assert.rejects(ask(scheduler, target, unitAt(0)), { code: 'BLOB_NOT_FOUND' });
  assert.equal(requests.length, 1);
});

test('scheduler: wrong bytes are fetched once more, then given up; their neighbours are not', async () => {
  const scheduler = new FetchScheduler(QUICK);
  let bad = 1;
  const publish = (unit: FetchUnit) => {
    if (unit.chunks[0] === 1 && bad-- > 0) throw new NaiadError('CHUNK_DIGEST_MISMATCH', 'flipped');
  };
  const once = scripted(whole, { publish });
  await Promise.all([0, 1, 2].map((index) => ask(scheduler, once.target, unitAt(index))));
  assert.deepEqual(once.requests, [
    { offset: 0, size: 3 * UNIT },
    { offset: UNIT, size: UNIT },
  ]);
  bad = 10;
  const always = scripted(whole, { publish });
  const [zero, one] = [0, 1].map((index) => ask(scheduler, always.target, unitAt(index)));
  await Promise.all([zero, assert.rejects(one as Promise<void>, { code: 'CHUNK_DIGEST_MISMATCH' })]);
  assert.equal(always.requests.length, 2);
  assert.equal(scheduler.counters.badUnits, 3);
});

test('scheduler: a blob that comes whole is taken whole, by one request, and serves all who wait', async () => {
  const scheduler = new FetchScheduler(QUICK);
  const units = Array.from({ length: 20 }, (_, index) => unitAt(index, APART));
  const { target, requests, published } = scripted(
    () => ({
      offset: 0,
      pieces: (async function* () {
        for await (const piece of inPieces(0, 20 * APART, 50_000)) {
          await sleep(1);
          yield piece;
        }
      })(),
    }),
    { units },
  );
  const first = ask(scheduler, target, units[3] as FetchUnit);
  await sleep(1);
  const later = [17, 5].map((index) => ask(scheduler, target, units[index] as FetchUnit));
  await Promise.all([first, ...later]);
  await idle(scheduler);
  assert.equal(requests.length, 1);
  assert.deepEqual(
    published,
    units.map((unit) => unit.chunks[0]),
  );
  assert.equal(scheduler.counters.wholeBlobs, 1);
});

test('scheduler: closing a target ends what is queued, in flight, held back and pausing', async () => {
  const scheduler = new FetchScheduler({ ...QUICK, retryDelayMs: 60_000 });
  const hanging = scripted(({ offset }, signal) => ({ offset, pieces: thenHang(offset, 10, signal) }));
  const failing = scripted(() => {
    throw new TransientFailure(new NaiadError('REGISTRY_UNAVAILABLE', 'down'));
  });
  const all = [
    ...Array.from({ length: 20 }, (_, index) => ask(scheduler, hanging.target, unitAt(index, APART))),
    ask(scheduler, failing.target, unitAt(0)),
  ];
  const ended = Promise.all(all.map((one) => assert.rejects(one, { code: /CANCELED|REGISTRY_UNAVAILABLE/ })));
  await sleep(5);
  for (const { target, abort } of [hanging, failing]) {
    const reason = new NaiadError('CANCELED', 'closed');
    abort.abort(reason);
    scheduler.cancel(target, reason);
  }
  await ended;
  await idle(scheduler);
  assert.equal(scheduler.inFlight.requests, 0);
});
