import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Descriptor, ImageIndex, Platform } from '../../../../src/format/oci/manifest.ts';
import { choosePlatform, formatPlatform, linuxPlatform, parsePlatform } from '../../../../src/format/oci/platform.ts';

let serial = 0;
function entry(platform?: string, extra: Partial<Descriptor> = {}): Descriptor {
  const digest = `sha256:${(serial++).toString(16).padStart(64, '0')}`;
  const parsed: { platform?: Platform } = platform ? { platform: parsePlatform(platform) } : {};
  return { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 1, ...parsed, ...extra };
}
function indexOf(...manifests: Descriptor[]): ImageIndex {
  return { mediaType: 'application/vnd.oci.image.index.v1+json', manifests, raw: {} };
}
const converted = { artifactType: 'application/vnd.nydus.image.manifest.v1+json' };

test('platform: text both ways, and what Node calls this machine', () => {
  for (const text of ['linux/amd64', 'linux/arm/v7', 'windows/amd64']) {
    assert.equal(formatPlatform(parsePlatform(text)), text);
  }
  for (const text of ['', 'linux', 'linux/', '/amd64', 'a/b/c/d', 'Linux/amd64', 'linux/amd64/']) {
    assert.throws(() => parsePlatform(text), { code: 'USAGE' }, text);
  }
  assert.deepEqual(linuxPlatform('x64'), { os: 'linux', architecture: 'amd64' });
  assert.deepEqual(linuxPlatform('arm'), { os: 'linux', architecture: 'arm', variant: 'v7' });
  assert.deepEqual(linuxPlatform('future'), { os: 'linux', architecture: 'future' });
});

const cases: readonly (readonly [name: string, have: Descriptor[], want: string, chosen: number])[] = [
  ['the same platform', [entry('linux/arm64'), entry('linux/amd64')], 'linux/amd64', 1],
  ['the usual variant unsaid in the index', [entry('linux/arm64')], 'linux/arm64/v8', 0],
  ['the usual variant unsaid in the question', [entry('linux/arm64/v8')], 'linux/arm64', 0],
  ['an exact ARM before an older one', [entry('linux/arm/v6'), entry('linux/arm/v7')], 'linux/arm/v7', 1],
  ['an older ARM where nothing else is', [entry('linux/arm/v5'), entry('linux/arm/v6')], 'linux/arm/v7', 1],
  ['the first of equals', [entry('linux/amd64'), entry('linux/amd64')], 'linux/amd64', 0],
  ['the only one, without a platform', [entry()], 'linux/amd64', 0],
  ['not a build record', [entry('unknown/unknown'), entry('linux/amd64')], 'linux/amd64', 1],
];
for (const [name, have, want, chosen] of cases) {
  test(`platform: chooses ${name}`, () => {
    assert.equal(choosePlatform(indexOf(...have), parsePlatform(want), { converted: 'skip' }), have[chosen]);
  });
}

test('platform: a source is never a converted entry, a mount takes one where it can', () => {
  const both = [entry('linux/amd64'), entry('linux/amd64', converted)];
  const amd64 = parsePlatform('linux/amd64');
  assert.equal(choosePlatform(indexOf(...both), amd64, { converted: 'skip' }), both[0]);
  assert.equal(choosePlatform(indexOf(...both), amd64, { converted: 'prefer' }), both[1]);
  assert.equal(choosePlatform(indexOf(entry('linux/amd64')), amd64, { converted: 'prefer' }).artifactType, undefined);
  assert.throws(() => choosePlatform(indexOf(entry('linux/amd64', converted)), amd64, { converted: 'skip' }), {
    code: 'PLATFORM_NOT_FOUND',
  });
});

test('platform: what is missing is named with what there is', () => {
  const have = indexOf(entry('linux/arm64'), entry('linux/arm/v7'), entry('unknown/unknown'));
  assert.throws(() => choosePlatform(have, parsePlatform('linux/amd64'), { converted: 'skip' }), {
    code: 'PLATFORM_NOT_FOUND',
    message: 'no image for linux/amd64; the index has: linux/arm64, linux/arm/v7',
  });
  assert.throws(() => choosePlatform(have, parsePlatform('linux/arm/v5'), { converted: 'skip' }), {
    code: 'PLATFORM_NOT_FOUND',
  });
});
