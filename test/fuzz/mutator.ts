// Inputs out of seeds: every input is a function of (seed text, iteration), so that a number in a log is a reproduction.
import { createHash } from 'node:crypto';
import { type FuzzTarget, INPUT_SIZE_MAX } from './target.ts';

/** mulberry32: small, fast, the same everywhere. */
export class Random {
  #state: number;

  constructor(seed: string) {
    this.#state = createHash('sha256').update(seed).digest().readUInt32LE(0);
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** 0 to `count` - 1. */
  below(count: number): number {
    return this.next() % count;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
}

/** Numbers at which sizes, counts and offsets tip over. */
const BOUNDARIES = [
  ...[0n, 1n, 2n, 3n, 7n, 8n, 11n, 12n, 16n, 31n, 32n, 127n, 128n, 254n, 255n, 256n, 511n, 512n, 4095n, 4096n, 4097n],
  ...[0x7fffn, 0x8000n, 0xffffn, 0x10000n, 0xfffffn, 0x100000n, 0xffffffn, 0x1000000n, 0x7fffffffn, 0x80000000n],
  ...[0xffffffffn, 0x100000000n, 0xffffffffffn, 0x1fffffffffffffn, 0x20000000000000n, 0x7fffffffffffffffn],
  0xffffffffffffffffn,
];

type Mutation = (random: Random, input: Buffer, context: Context) => Buffer;

interface Context {
  readonly target: FuzzTarget;
  readonly seeds: readonly Buffer[];
}

/** The input of one iteration. The first iterations are the seeds as they are. */
export function makeInput(target: FuzzTarget, seeds: readonly Buffer[], seed: string, iteration: number): Buffer {
  if (iteration < seeds.length) return seeds[iteration] as Buffer;
  const random = new Random(`${target.name} ${seed} ${iteration}`);
  let input: Buffer = Buffer.from(random.pick(seeds));
  // Mostly one change, because most changes already end the parsing.
  const changes = random.pick([1, 1, 1, 2, 2, 3, 5, 9]);
  for (let i = 0; i < changes; i++) input = random.pick(MUTATIONS)(random, input, { target, seeds });
  input = Buffer.from(input.subarray(0, target.inputSizeMax ?? INPUT_SIZE_MAX));
  if (target.mend && random.below(2) === 0) target.mend(input);
  return input;
}

/** A place to change; half of the time inside a hotspot of the target. */
function position(random: Random, input: Buffer, { target }: Context): number {
  const spots = (target.hotspots?.(input) ?? []).filter(
    ({ offset, size }) => size > 0 && offset + size <= input.length,
  );
  if (spots.length > 0 && random.below(2) === 0) {
    const { offset, size } = random.pick(spots);
    return offset + random.below(size);
  }
  return random.below(input.length + 1);
}

function writeNumber(random: Random, input: Buffer, at: number, value: bigint): void {
  const width = random.pick([1, 2, 4, 8]);
  const start = random.below(2) === 0 ? at - (at % width) : at;
  if (start + width > input.length) return;
  const wrapped = BigInt.asUintN(width * 8, value);
  for (let i = 0; i < width; i++) input[start + i] = Number((wrapped >> BigInt(8 * i)) & 0xffn);
}

const MUTATIONS: readonly Mutation[] = [
  function flipBit(random, input, context) {
    const at = position(random, input, context);
    if (at < input.length) input[at] = (input[at] as number) ^ (1 << random.below(8));
    return input;
  },
  function setByte(random, input, context) {
    const at = position(random, input, context);
    if (at < input.length) input[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]);
    return input;
  },
  function setNumber(random, input, context) {
    writeNumber(random, input, position(random, input, context), random.pick(BOUNDARIES));
    return input;
  },
  function setNumberToSize(random, input, context) {
    const value = BigInt(input.length) + BigInt(random.below(3)) - 1n;
    writeNumber(random, input, position(random, input, context), value);
    return input;
  },
  function addToNumber(random, input, context) {
    const at = position(random, input, context);
    const start = at - (at % 4);
    if (start + 4 <= input.length) {
      const sum = input.readUInt32LE(start) + random.pick([-4096, -32, -8, -1, 1, 8, 32, 4096]);
      input.writeUInt32LE(sum >>> 0, start);
    }
    return input;
  },
  function copyWithin(random, input, context) {
    const size = random.pick([1, 4, 8, 12, 16, 32, 64, 80, 128, 256, 512]);
    const [from, to] = [position(random, input, context), position(random, input, context)];
    input.copy(input, to, from, Math.min(from + size, input.length));
    return input;
  },
  function truncate(random, input, context) {
    return input.subarray(0, position(random, input, context));
  },
  function removeRange(random, input, context) {
    const at = position(random, input, context);
    const size = random.pick([1, 2, 4, 8, 32, 512, random.below(input.length + 1)]);
    return Buffer.concat([input.subarray(0, at), input.subarray(at + size)]);
  },
  function repeatRange(random, input, context) {
    const at = position(random, input, context);
    const size = random.pick([1, 4, 32, 128, 512, 4096]);
    const piece = input.subarray(at, at + size);
    return Buffer.concat([
      input.subarray(0, at),
      ...new Array<Buffer>(random.pick([2, 2, 3, 17])).fill(piece),
      input.subarray(at + size),
    ]);
  },
  function insertGarbage(random, input, context) {
    const at = position(random, input, context);
    const garbage = Buffer.from(Array.from({ length: random.pick([1, 3, 16, 512]) }, () => random.below(256)));
    return Buffer.concat([input.subarray(0, at), garbage, input.subarray(at)]);
  },
  function insertWord(random, input, context) {
    const { dictionary = [] } = context.target;
    if (dictionary.length === 0) return input;
    const at = position(random, input, context);
    const word = Buffer.from(random.pick(dictionary), 'latin1');
    const replaced = random.pick([0, word.length, random.below(16)]);
    return Buffer.concat([input.subarray(0, at), word, input.subarray(at + replaced)]);
  },
  function spliceSeeds(random, input, context) {
    const other = random.pick(context.seeds);
    const [at, from] = [position(random, input, context), random.below(other.length + 1)];
    return Buffer.concat([input.subarray(0, at), other.subarray(from)]);
  },
  function takeRangeOfOther(random, input, context) {
    const other = random.pick(context.seeds);
    const at = position(random, input, context);
    other.copy(input, at, Math.min(at, other.length), Math.min(at + random.pick([4, 64, 512, 4096]), other.length));
    return input;
  },
];
