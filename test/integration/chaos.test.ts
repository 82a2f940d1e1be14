// Processes behind a mount are killed at random instants under parallel readers, and no reader ever gets a wrong byte. Drivers
// that resume give no error either; with the others a dead mount is one that says so, until it is mounted again.
//   CHAOS_KILLS   times in all, a fresh cache every 25; 3 when not given. 500 take 12 minutes: TEST_FILE_MINUTES=20
//   CHAOS_STALL_MAX_MS  that the longest operation may take; generous when not given, for machines that are busy
//   SEED          as an earlier run printed it
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type BadRegistry, startBadRegistry } from '../support/bad-registry.ts';
import { patterned } from '../support/blobs.ts';
import { type ChaosReport, chaos, type Victim } from '../support/chaos/chaos.ts';
import { chooseSeed } from '../support/conformance/suite.ts';
import { DRIVERS, type DriverTraits, driver } from '../support/drivers.ts';
import { mountpointsBelow, naiadHome } from '../support/naiad.ts';
import { addon, every, program, root } from '../support/requires.ts';
import { temporaryDir } from '../support/temporary.ts';

const KILLS = Number(process.env.CHAOS_KILLS ?? 3);
/** After that many the cache holds nearly all, and kills would meet no fetch any more. */
const KILLS_PER_ROUND = 25;
const STALL_MAX_MS = Number(process.env.CHAOS_STALL_MAX_MS ?? 60_000);
/** What a reader of a mount may be told that nobody serves any more. */
const DEAD = ['ENOTCONN', 'ECONNABORTED', 'EIO', 'ENOENT'];

const needs = every(root(), addon(), program('python3'));
const seed = chooseSeed();
const scratch = temporaryDir('chaos');
const truth = join(scratch.path, 'truth');
let registry: BadRegistry;

before(async () => {
  if (needs.skip !== false) return;
  mkdirSync(join(truth, 'below'), { recursive: true });
  for (let index = 0; index < 96; index++) {
    const name = index % 2 === 0 ? `${index}` : `below/${index}`;
    writeFileSync(join(truth, name), patterned(100_000 + index * 9973, index));
  }
  const layout = join(scratch.path, 'layout');
  await using naiad = naiadHome(join(scratch.path, 'convert'));
  await naiad.run(['convert', '--quiet', '--chunk-size=65536', `dir:${truth}`, `oci:${layout}:x`]);
  registry = await startBadRegistry(layout);
  // Slow enough that many kills meet a fetch.
  registry.script = ({ kind }) => (kind === 'blob' ? { kind: 'delay', ms: 30 } : undefined);
});
after(async () => {
  await registry?.[Symbol.asyncDispose]();
  scratch[Symbol.dispose]();
});

// Together while there are few: most of it is waiting. Many are told apart by how long they stall a reader.
describe('drivers', { concurrency: KILLS <= KILLS_PER_ROUND }, () => {
  for (const traits of DRIVERS) describe(traits.name, { concurrency: 1 }, () => suite(traits));
});

function suite({ name, resumes }: DriverTraits): void {
  const victims: readonly Victim[] = resumes ? ['daemon', 'keeper', 'upgrade'] : ['daemon'];
  for (const victim of victims) {
    test(`${name}: ${victim}, ${KILLS} times: no wrong byte${resumes ? ', no error' : ''}`, {
      ...every(needs, driver(name)),
    }, async (t) => {
      for (let done = 0; done < KILLS; done += KILLS_PER_ROUND) {
        const times = Math.min(KILLS_PER_ROUND, KILLS - done);
        const report = await round(join(scratch.path, `${name}-${victim}-${done}`), { name, resumes, victim, times });
        t.diagnostic(`${name}, ${victim}, seed ${seed}: ${JSON.stringify(report)}`);
        assert.deepEqual(report.wrong, []);
        const unexpected = Object.keys(report.errors).filter((error) => resumes || !DEAD.includes(error));
        assert.deepEqual(unexpected, [], JSON.stringify(report.errors));
        assert.ok(report.longestMs <= STALL_MAX_MS, `the longest stall took ${report.longestMs} ms`);
        assert.ok(report.operations > 0 && report.bytes > 0);
      }
    });
  }
}

interface Round {
  readonly name: string;
  readonly resumes: boolean;
  readonly victim: Victim;
  readonly times: number;
}

/** Mounts with a cache that is empty, kills, unmounts, and leaves nothing behind. */
async function round(dir: string, { name, resumes, victim, times }: Round): Promise<ChaosReport> {
  const mountpoint = join(dir, 'mnt');
  mkdirSync(mountpoint, { recursive: true });
  const naiad = naiadHome(dir);
  const mount = ['mount', '--quiet', `--driver=${name}`, `docker://${registry.host}/some/image:x`, mountpoint];
  const again = async () => {
    await naiad.run(['umount', '--quiet', '--lazy', mountpoint], { okay: [0, 10] });
    await naiad.run(mount);
  };
  await naiad.run(mount);
  try {
    const options = { naiad, truth, mountpoint, victim, times, seed: seed + times };
    return await chaos(resumes ? options : { ...options, afterwards: again });
  } finally {
    await naiad.run(['umount', '--quiet', '--lazy', mountpoint]);
    assert.deepEqual(mountpointsBelow(dir), []);
  }
}
