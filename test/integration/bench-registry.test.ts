// The benchmark of the registry client measures what it can here and names the peers that are absent. Its figures are not
// judged: other tests run beside it.
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { randomRanges, runWrk } from '../../src/bench/range-load.ts';
import type { RegistryBenchReport } from '../../src/bench/registry-bench.ts';
import { naiadHome } from '../support/naiad.ts';
import { every, findProgram, program } from '../support/requires.ts';
import { dockerRegistry, startDockerRegistry } from '../support/servers.ts';
import { temporaryDir } from '../support/temporary.ts';

test('bench registry: pushes and ranges; peers that are absent are named', dockerRegistry(), async () => {
  using scratch = temporaryDir('bench-registry');
  await using naiad = naiadHome(join(scratch.path, 'home'));
  const path = join(scratch.path, 'bin');
  mkdirSync(path);
  symlinkSync(String(findProgram('docker-registry')), join(path, 'docker-registry'));
  const args = ['--json', 'bench', 'registry', '--size=1MiB', '--runs=1', '--seconds=1'];
  const { stdout } = await naiad.run(args, { env: { PATH: path } });
  const report: RegistryBenchReport = JSON.parse(stdout);
  assert.deepEqual(report.missing.map(({ name }) => name).sort(), ['nginx', 'skopeo', 'wrk']);
  const measured = report.comparisons.map(({ what, server, naiad: ours, ratio }) => [
    what,
    server,
    ours.median > 0,
    ratio,
  ]);
  assert.deepEqual(measured, [
    ['push', 'docker-registry', true, undefined],
    ['ranges of 1024 KiB', 'docker-registry', true, undefined],
    ['ranges of 64 KiB', 'docker-registry', true, undefined],
  ]);
});

test(
  'bench registry: wrk asks for the same ranges, and says when they are refused',
  every(dockerRegistry(), program('wrk')),
  async () => {
    using scratch = temporaryDir('bench-wrk');
    await using registry = await startDockerRegistry();
    const load = {
      ranges: randomRanges(65_536, 4096),
      concurrency: 2,
      seconds: 1,
      signal: new AbortController().signal,
    };
    assert.ok(load.ranges.every(({ offset, size }) => offset % 4096 === 0 && size === 4096 && offset + size <= 65_536));
    await assert.rejects(runWrk(`${registry.url}/v2/a/blobs/none`, scratch.path, load), /requests failed/);
  },
);
