// A registry that misbehaves under a mount: whoever reads gets the right bytes or EIO in bounded time, and when the registry is
// well again so is the mount, with nothing restarted. DOWN_SEC is how long the registry is gone.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DriverName } from '../../src/mount/driver.ts';
import { type BadRegistry, type Fault, type RegistryRequest, startBadRegistry } from '../support/bad-registry.ts';
import { patterned } from '../support/blobs.ts';
import { DRIVERS, driver } from '../support/drivers.ts';
import { mountpointsBelow, naiadHome } from '../support/naiad.ts';
import { addon, every, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';

const FILE_SIZE = 300_000;
const HEALED_MAX_MS = 60_000;
const DOWN_SEC = Number(process.env.DOWN_SEC ?? 3);

interface Scenario {
  readonly name: string;
  /** What the n-th request for a blob since the scenario began meets. */
  readonly fault: (number: number, request: RegistryRequest) => Fault | undefined;
  /** What the reader gets at first; `right` when not given. Afterwards, with the registry well again, it is right. */
  readonly first?: 'right' | 'EIO';
  readonly secondsMax: number;
}

const once = (fault: Fault) => (number: number) => (number === 1 ? fault : undefined);
const always = (fault: Fault) => () => fault;

/** Given up at the deadline of a read, and not before. */
const LATE = { first: 'EIO', secondsMax: 80 } as const;

/** Anew for each driver: some count. */
const scenarios = (): readonly Scenario[] => [
  { name: 'status 500, twice', fault: (n) => (n <= 2 ? { kind: 'status', status: 500 } : undefined), secondsMax: 20 },
  {
    name: 'status 429 with Retry-After',
    fault: once({ kind: 'status', status: 429, retryAfterSec: 2 }),
    secondsMax: 20,
  },
  {
    name: 'a storm of status 429',
    fault: (n) => (n <= 3 ? { kind: 'status', status: 429, retryAfterSec: 1 } : undefined),
    secondsMax: 60,
  },
  { name: 'status 401 in the middle', fault: once({ kind: 'status', status: 401 }), secondsMax: 20 },
  { name: 'a connection that is reset', fault: once({ kind: 'reset' }), secondsMax: 20 },
  { name: 'a body cut short', fault: once({ kind: 'cut', bytes: 10_000 }), secondsMax: 20 },
  { name: 'a flipped bit', fault: once({ kind: 'flip', at: 5000 }), secondsMax: 20 },
  { name: 'a slow line', fault: always({ kind: 'trickle', bytesPerSecond: 100_000 }), secondsMax: 40 },
  { name: 'a line that stalls', fault: once({ kind: 'stall', bytes: 5000 }), secondsMax: 30 },
  { name: 'a trickle', fault: once({ kind: 'trickle', bytesPerSecond: 1000 }), secondsMax: 30 },
  ...(DOWN_SEC < 30 ? [] : [{ name: 'lines that all stall', fault: always({ kind: 'stall', bytes: 5000 }), ...LATE }]),
  { name: 'redirects to signed addresses', fault: redirected(60_000), secondsMax: 20 },
  { name: 'redirects that have expired', fault: redirectedExpired(), secondsMax: 20 },
  { name: 'flipped bits in every answer', fault: always({ kind: 'flip', at: 5000 }), first: 'EIO', secondsMax: 70 },
  { name: 'a blob that is gone', fault: always({ kind: 'status', status: 404 }), first: 'EIO', secondsMax: 20 },
  { name: 'nobody who may', fault: always({ kind: 'status', status: 403 }), first: 'EIO', secondsMax: 20 },
  // The last one: what comes along is kept, and no later one would meet a fetch.
  { name: 'the whole blob for a range', fault: always({ kind: 'whole' }), secondsMax: 30 },
];

function redirected(validMs: number): Scenario['fault'] {
  return (_number, { kind }) => (kind === 'blob' ? { kind: 'redirect', validMs } : undefined);
}

/** The first address is no good any more when it is asked. */
function redirectedExpired(): Scenario['fault'] {
  let given = 0;
  return (_number, { kind }) =>
    kind === 'blob' ? { kind: 'redirect', validMs: ++given === 1 ? -1000 : 60_000 } : undefined;
}

const needs = every(root(), addon());
const scratch = temporaryDir('bad-registry');
const layout = join(scratch.path, 'layout');
const sums = new Map<string, string>();

before(async () => {
  if (needs.skip !== false) return;
  const tree = join(scratch.path, 'tree');
  mkdirSync(tree);
  // Files apart from each other, and read from the last to the first: what comes along with one is not what the next is about.
  for (let index = 0; index < 4 * (scenarios().length + 2); index++) {
    const bytes = patterned(FILE_SIZE, index + 1);
    writeFileSync(join(tree, nameOf(index)), bytes);
    sums.set(nameOf(index), createHash('sha256').update(bytes).digest('hex'));
  }
  await using naiad = naiadHome(join(scratch.path, 'convert'));
  await naiad.run(['convert', '--quiet', '--compressor=none', `dir:${tree}`, `oci:${layout}:x`]);
});
after(() => scratch[Symbol.dispose]());

function nameOf(index: number): string {
  return `file-${String(index).padStart(3, '0')}`;
}

// At once: most of it is waiting for what a registry does not send.
describe('drivers', { concurrency: true }, () => {
  for (const { name } of DRIVERS) describe(name, { concurrency: 1 }, () => suite(name));
});

/** A mount by one driver, with a registry of its own. */
function suite(name: DriverName): void {
  const all = scenarios();
  const requirements = every(needs, driver(name));
  const dir = join(scratch.path, name);
  const mountpoint = join(dir, 'mnt');
  const naiad = naiadHome(dir);
  let registry: BadRegistry;

  before(async () => {
    if (requirements.skip !== false) return;
    mkdirSync(mountpoint, { recursive: true });
    registry = await startBadRegistry(layout);
    const options = ['--quiet', `--driver=${name}`, '--prefetch=none'];
    await naiad.mount(`docker://${registry.host}/some/image:x`, mountpoint, ...options);
  });
  after(async () => {
    if (requirements.skip !== false) return;
    await naiad[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    assert.deepEqual(mountpointsBelow(dir), []);
  });

  test(`${name}: several readers of what never comes are told so at the deadline`, { ...requirements }, async () => {
    const other = join(dir, 'impatient');
    mkdirSync(other);
    const image = `docker://${registry.host}/some/image:x`;
    const options = [
      '--quiet',
      `--driver=${name}`,
      '--fetch-deadline=2s',
      '--prefetch=none',
      `--cache=${dir}/own-cache`,
    ];
    await using _mounted = await naiad.mount(image, other, ...options);
    registry.script = ({ kind }) => (kind === 'blob' ? { kind: 'stall', bytes: 5000 } : undefined);
    const files = [1, 6, 11].map(nameOf);
    const began = performance.now();
    assert.deepEqual(await Promise.all(files.map((file) => read(other, file))), ['EIO', 'EIO', 'EIO']);
    // The kernel asks for each page of a file once more, and none of them may wait anew.
    assert.ok(performance.now() - began < 30_000);
    registry.script = () => undefined;
  });

  test(`${name}: down for ${DOWN_SEC} s and back`, { ...requirements }, async () => {
    const cached = nameOf(4 * all.length + 7);
    assert.equal(await read(mountpoint, cached), sums.get(cached));
    await registry.down();
    const file = nameOf(4 * all.length + 3);
    const reading = read(mountpoint, file);
    // What is cached needs no registry.
    assert.equal(await read(mountpoint, cached), sums.get(cached));
    await sleep(DOWN_SEC * 1000);
    await registry.up();
    const result = await reading;
    // Longer than a read may take, it is told so.
    if (DOWN_SEC < 30) assert.equal(result, sums.get(file));
    else assert.ok(result === 'EIO' || result === sums.get(file), result);
    assert.equal(await read(mountpoint, file), sums.get(file));
  });

  for (const [index, { name: what, fault, first = 'right', secondsMax }] of all.entries()) {
    test(`${name}, ${what}: ${first === 'right' ? 'right bytes' : 'EIO, then right bytes'}`, {
      ...requirements,
    }, async () => {
      let met = 0;
      let number = 0;
      registry.script = (request) => {
        if (request.kind !== 'blob' && request.kind !== 'signed') return undefined;
        const bent = fault(++number, request);
        if (bent) met++;
        return bent;
      };
      const start = Date.now();
      const file = nameOf(4 * (all.length - index));
      assert.equal(await read(mountpoint, file), first === 'right' ? sums.get(file) : first);
      const seconds = (Date.now() - start) / 1000;
      assert.ok(seconds < secondsMax, `${seconds} s`);
      assert.ok(met > 0, 'the fault was never met');
      registry.script = () => undefined;
      await untilRight(mountpoint, file);
    });
  }
}

/** With the registry well again. A chunk that was bad several times is let alone for a while, so that may take its time. */
async function untilRight(mountpoint: string, file: string): Promise<void> {
  const end = Date.now() + HEALED_MAX_MS;
  let result = await read(mountpoint, file);
  for (; result !== sums.get(file) && Date.now() < end; result = await read(mountpoint, file)) {
    assert.equal(result, 'EIO');
    await sleep(500);
  }
  assert.equal(result, sums.get(file), 'with the registry well again');
}

/** The sha256 of a file, or the name of the error that its reader got. */
async function read(mountpoint: string, file: string): Promise<string> {
  const { code, stdout, stderr } = await runTool('sha256sum', [join(mountpoint, file)], { okay: [0, 1] });
  if (code === 0) return stdout.slice(0, 64);
  return /Input\/output error/.test(stderr) ? 'EIO' : stderr;
}
