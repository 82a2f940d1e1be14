// Probing a registry that answers oddly, or not at once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256Digest } from '../../../src/format/oci/digest.ts';
import { MEDIA_TYPES } from '../../../src/format/oci/media-types.ts';
import { probeRegistry } from '../../../src/registry/probe.ts';
import { startDouble } from '../../support/http-double.ts';
import { hastyRegistry } from '../../support/registry-client.ts';

const layer = Buffer.from('0123456789');
const config = { mediaType: MEDIA_TYPES.ociConfig, digest: sha256Digest(layer), size: layer.length };
const manifest = Buffer.from(
  JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: [config] }),
);

/** A registry of one image, which breaks off the first HEAD, and sends those who ask for a blob to `location`. */
async function startOdd(location: string | undefined) {
  let heads = 0;
  return await startDouble((asked, response) => {
    if (asked.method === 'HEAD' && ++heads === 1) return response.destroy();
    if (asked.path.includes('/manifests/')) {
      response.writeHead(200, { 'content-type': MEDIA_TYPES.ociManifest, 'content-length': manifest.length });
      return response.end(asked.method === 'HEAD' ? undefined : manifest);
    }
    if (asked.path.includes('/blobs/')) {
      if (location !== undefined) return response.writeHead(307, { location }).end();
      return response.writeHead(206, { 'content-range': `bytes 1-2/${layer.length}` }).end('12');
    }
    return response.writeHead(404).end();
  });
}

test('probe: a connection that is lost once is no finding', async () => {
  await using double = await startOdd(undefined);
  await using registry = hastyRegistry(double.host);
  const { ranges, redirectsTo } = await probeRegistry(registry, { repository: 'a', selector: 'x' });
  assert.deepEqual([ranges, redirectsTo], [{ works: true }, undefined]);
});

test('probe: a redirect to no address is a wrong answer of the registry', async () => {
  await using double = await startOdd('http://[');
  await using registry = hastyRegistry(double.host);
  await assert.rejects(probeRegistry(registry, { repository: 'a', selector: 'x' }), { code: 'REGISTRY_PROTOCOL' });
});
