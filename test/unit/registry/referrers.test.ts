// Lists of referrers: those that registries give in pages, and those under a tag that several clients write.
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { sha256Digest } from '../../../src/format/oci/digest.ts';
import type { Descriptor } from '../../../src/format/oci/manifest.ts';
import { MEDIA_TYPES } from '../../../src/format/oci/media-types.ts';
import { addFallbackReferrer, fallbackTag, listReferrers } from '../../../src/registry/referrers.ts';
import { Registry } from '../../../src/registry/transport.ts';
import { type Asked, startDouble } from '../../support/http-double.ts';

const descriptorOf = (text: string): Descriptor => ({
  ...{ mediaType: MEDIA_TYPES.ociManifest, digest: sha256Digest(Buffer.from(text)), size: text.length },
});
const subject = descriptorOf('an image');
const others = descriptorOf('a signature of someone else');
const note = (() => {
  const mediaType = MEDIA_TYPES.ociManifest;
  const document = { schemaVersion: 2, mediaType, config: descriptorOf('{}'), layers: [], subject };
  const bytes = Buffer.from(JSON.stringify(document));
  return { mediaType, digest: sha256Digest(bytes), bytes };
})();

const indexOf = (manifests: readonly Descriptor[]) =>
  JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests });
const digestsIn = (index: string): string[] => JSON.parse(index).manifests.map(({ digest }: Descriptor) => digest);
const open = (host: string) => new Registry(host, { retryDelayMs: 1, attemptsMax: 4 });

/** A registry that has a tag of referrers and no lists; `kept` says what it has after a PUT. */
async function startTag(before: string | undefined, kept: (put: string, count: number) => string | undefined) {
  const state = { index: before, puts: 0 };
  const answer = ({ method, path, body }: Asked, response: ServerResponse) => {
    assert.equal(path, `/v2/a/manifests/${fallbackTag(subject.digest)}`);
    if (method === 'PUT') {
      state.index = kept(body, ++state.puts);
      response.writeHead(201).end();
    } else if (state.index === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'content-type': MEDIA_TYPES.ociIndex }).end(state.index);
  };
  return { state, double: await startDouble(answer) };
}

test('referrers: who writes a list at the same time does not take ours from it', async () => {
  // Three times another client writes what it made of the list before it had ours.
  const { state, double } = await startTag(undefined, (put, count) => (count <= 3 ? indexOf([others]) : put));
  await using _ = double;
  await using registry = open(double.host);
  await addFallbackReferrer(registry, 'a', note);
  assert.deepEqual(digestsIn(state.index ?? ''), [others.digest, note.digest]);
  await addFallbackReferrer(registry, 'a', note);
  assert.equal(state.puts, 4);
});

test('referrers: a list that does not keep what is written to it is an error', async () => {
  const { state, double } = await startTag(indexOf([others]), () => indexOf([others]));
  await using _ = double;
  await using registry = open(double.host);
  await assert.rejects(addFallbackReferrer(registry, 'a', note), { code: 'REGISTRY_PROTOCOL' });
  assert.equal(state.puts, 4);
});

test('referrers: no list is made longer than can be read', async () => {
  const full = Array.from({ length: 1000 }, (_, at) => descriptorOf(`signature ${at}`));
  const padded = (size: number) => [{ ...others, annotations: { text: 'x'.repeat(size) } }];
  const large = padded(4 * 2 ** 20 - indexOf(padded(0)).length);
  for (const before of [full, large]) {
    const { state, double } = await startTag(indexOf(before), (put) => put);
    await using _ = double;
    await using registry = open(double.host);
    await assert.rejects(addFallbackReferrer(registry, 'a', note), { code: 'LIMIT_EXCEEDED' });
    assert.equal(state.puts, 0);
  }
});

/** A registry with lists, whose pages are all like `page`, up to the last. */
async function listPages(page: string, count: number, last: (response: ServerResponse) => void) {
  await using double = await startDouble(({ path }, response) => {
    const at = Number(new URL(path, 'http://x').searchParams.get('at') ?? 1);
    if (at > count) return last(response);
    const link = `</v2/a/referrers/${subject.digest}?at=${at + 1}>; rel="next"`;
    response.writeHead(200, { 'content-type': MEDIA_TYPES.ociIndex, link }).end(page);
  });
  await using registry = open(double.host);
  return await listReferrers(registry, 'a', subject.digest);
}

test('referrers: a list in pages is read to its end, or not at all', async () => {
  const end = (response: ServerResponse) => {
    response.writeHead(200, { 'content-type': MEDIA_TYPES.ociIndex }).end(indexOf([others]));
  };
  assert.equal((await listPages(indexOf([others]), 2, end)).length, 3);
  const missing = (response: ServerResponse) => void response.writeHead(404).end();
  await assert.rejects(listPages(indexOf([others]), 2, missing), { code: 'REGISTRY_PROTOCOL' });
  await assert.rejects(listPages(indexOf([]), 1000, missing), { code: 'LIMIT_EXCEEDED' });
  const large = indexOf([{ ...others, annotations: { text: 'x'.repeat(3 * 2 ** 20) } }]);
  await assert.rejects(listPages(large, 20, missing), { code: 'LIMIT_EXCEEDED' });
});
