import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseBandwidth, parseDuration } from '../../../src/base/units.ts';
import { answerRange } from '../../../src/registry-server/byte-range.ts';
import { SharedLink, shaped } from '../../../src/registry-server/shaper.ts';

async function* bytes(size: number): AsyncGenerator<Uint8Array, void, void> {
  for (let left = size; left > 0; left -= 300_000) yield new Uint8Array(Math.min(left, 300_000));
}

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

async function drain(stream: AsyncIterable<Uint8Array>): Promise<number> {
  let size = 0;
  for await (const piece of stream) size += piece.length;
  return size;
}

/** A link is never faster than it says. How much slower is up to the machine: `naiad bench` measures, tests do not. */
async function assertTakes(idealMs: number, work: () => Promise<unknown>): Promise<void> {
  const took = await timeOf(work);
  assert.ok(took > idealMs * 0.97, `${took} ms are too few for ${idealMs} ms`);
}

for (const [rate, size] of [
  [1_000_000, 500_000],
  [12_500_000, 6_250_000],
  [100_000_000, 50_000_000],
] as const) {
  test(`shaper: ${rate} bytes a second`, async () => {
    const link = new SharedLink(rate);
    await assertTakes((size / rate) * 1000, () => drain(shaped(bytes(size), link)));
  });
}

test('shaper: several streams share one link, evenly', async () => {
  const link = new SharedLink(2_000_000);
  await assertTakes(500, async () => {
    const one = () => timeOf(() => drain(shaped(bytes(250_000), link)));
    const ends = await Promise.all([one(), one(), one(), one()]);
    assert.ok(Math.min(...ends) > 250, `the first ended after ${Math.min(...ends)} ms`);
  });
});

test('shaper: a pause is not made up for', async () => {
  const link = new SharedLink(1_000_000);
  await assertTakes(300, async () => {
    await new Promise((resolve) => setTimeout(resolve, 200));
    await drain(shaped(bytes(100_000), link));
  });
});

test('shaper: who goes away stops waiting', async () => {
  const gone = new AbortController();
  setTimeout(() => gone.abort(), 20);
  const link = new SharedLink(1000);
  await assert.rejects(drain(shaped(bytes(100_000), link, gone.signal)), { name: 'AbortError' });
});

test('units: bandwidth and duration', () => {
  const rates = { '100mbit': 12_500_000, '1gbit': 125_000_000, '8kbit': 1000, '1.5Mbit': 187_500, '80bit': 10 };
  for (const [text, want] of Object.entries(rates)) assert.equal(parseBandwidth(text), want, text);
  for (const text of ['', '100', '100mb', '-1mbit', '0mbit', '1tbit', 'mbit', '1e9bit']) {
    assert.equal(parseBandwidth(text), undefined, text);
  }
  for (const [text, want] of Object.entries({ '20ms': 20, '1.5s': 1500, '0ms': 0 })) {
    assert.equal(parseDuration(text), want, text);
  }
  for (const text of ['', '20', '1m', '-1s', 'ms']) assert.equal(parseDuration(text), undefined, text);
});

const whole = { kind: 'whole' };
const part = (offset: number, size: number) => ({ kind: 'part', offset, size });
const unsatisfiable = { kind: 'unsatisfiable' };
const ranges: readonly (readonly [header: string | undefined, size: number, want: object])[] = [
  [undefined, 10, whole],
  ['bytes=0-9', 10, part(0, 10)],
  ['bytes=0-0', 10, part(0, 1)],
  ['bytes=9-9', 10, part(9, 1)],
  ['bytes=3-', 10, part(3, 7)],
  ['bytes=3-99', 10, part(3, 7)],
  ['BYTES=3-4', 10, part(3, 2)],
  ['bytes=-3', 10, part(7, 3)],
  ['bytes=-99', 10, part(0, 10)],
  ['bytes=-0', 10, unsatisfiable],
  ['bytes=10-', 10, unsatisfiable],
  ['bytes=10-20', 10, unsatisfiable],
  ['bytes=0-', 0, unsatisfiable],
  ['bytes=-1', 0, unsatisfiable],
  ['bytes=5-4', 10, whole],
  ['bytes=-', 10, whole],
  ['bytes=0-1,3-4', 10, whole],
  ['items=0-1', 10, whole],
  ['bytes=a-b', 10, whole],
  ['bytes=0-9999999999999999999', 10, whole],
];
for (const [header, size, want] of ranges) {
  test(`range: ${header} of ${size}`, () => assert.deepEqual(answerRange(header, size), want));
}
