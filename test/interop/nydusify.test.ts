// nydusify, which builds and judges images for Nydus' users, on what we push: `check` has nydus-image look at the bootstrap,
// mounts the image with nydusd and the original with overlayfs, and compares the two trees.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { naiadHome } from '../support/naiad.ts';
import { nydusd, nydusImage } from '../support/nydus.ts';
import { every, findProgram, program, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { dockerRegistry, startDockerRegistry, type TestRegistry } from '../support/servers.ts';
import { noise, smallImage, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';

const needs = every(program('nydusify'), nydusImage(), nydusd(), root(), dockerRegistry());

/** What the second layer removes, replaces and adds; the third is of whole directories. */
const LAYERS = [
  { 'etc/kept': 'kept', 'etc/gone': 'gone', 'etc/old': 'old', 'opt/all/gone': 'x', 'srv/large': noise(3_000_000) },
  { 'etc/.wh.gone': '', 'etc/old': 'new', 'usr/bin/tool': 'tool', empty: '' },
  { 'opt/all/.wh..wh..opq': '', 'opt/all/new': 'new', 'srv/again': noise(3_000_000) },
];

const scratch = temporaryDir('nydusify');
const naiad = naiadHome(join(scratch.path, 'home'));
const daemon = join(scratch.path, 'nydusd');
let registry: TestRegistry;
before(async () => {
  if (needs.skip !== false) return;
  registry = await startDockerRegistry();
  // It raises its limit of open files by itself, which not every root may.
  writeFileSync(daemon, `#!/bin/sh\nexec ${findProgram('nydusd')} "$@" --rlimit-nofile 0\n`);
  chmodSync(daemon, 0o755);
  writeSmallLayout(join(scratch.path, 'source'), await smallImage(LAYERS), 'x');
  const plain = at('plain');
  await naiad.run(['copy', '--quiet', `oci:${join(scratch.path, 'source')}:x`, plain]);
  await naiad.run(['convert', '--quiet', plain, at('naiad')]);
  await naiad.run(['convert', '--quiet', '--with-original', plain, at('both')]);
  const list = join(scratch.path, 'list');
  writeFileSync(list, '/usr/bin/tool\n/srv/large\n');
  await naiad.run(['optimize', '--quiet', '--trace', list, at('naiad'), at('fast')]);
  await naiad.run(['unpack', '--quiet', at('naiad'), `docker://${at('back')}`]);
});
after(async () => {
  await registry?.[Symbol.asyncDispose]();
  scratch[Symbol.dispose]();
});

const at = (tag: string) => `${registry.host}/app:${tag}`;

for (const { what, source, target, options = [] } of [
  { what: 'a converted image', source: 'plain', target: 'naiad' },
  { what: 'an optimized image', source: 'plain', target: 'fast' },
  {
    what: 'the converted image of an index of both kinds',
    source: 'plain',
    target: 'both',
    options: ['--multi-platform'],
  },
  { what: 'an image and the ordinary one that was made of it', source: 'back', target: 'naiad' },
]) {
  test(`nydusify verifies ${what}`, needs, async () => {
    const work = join(scratch.path, `work-${target}-${source}`);
    mkdirSync(work);
    const insecure = ['--source-insecure', '--target-insecure'];
    const args = ['check', ...options, ...insecure, '--nydusd', daemon, '--work-dir', work];
    const { stdout, stderr } = await runTool('nydusify', [...args, '--source', at(source), '--target', at(target)]);
    // An image that it does not know for Nydus' would be unpacked as any other.
    assert.match(stdout + stderr, /checking bootstrap/);
    assert.match(stdout + stderr, /verified image/);
  });
}
