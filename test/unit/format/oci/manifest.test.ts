import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bootstrapLayer, isBlobLayer, isConverted, isConvertedEntry } from '../../../../src/format/oci/annotations.ts';
import { digestComplaint, isDigest, sha256Digest } from '../../../../src/format/oci/digest.ts';
import {
  documentMediaType,
  parseConfig,
  parseDocument,
  parseIndex,
  parseManifest,
} from '../../../../src/format/oci/manifest.ts';
import { layerKind, MEDIA_TYPES, mediaTypeOf } from '../../../../src/format/oci/media-types.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const layer = (mediaType: string, extra: object = {}) => ({ mediaType, digest: DIGEST, size: 7, ...extra });
const config = layer(MEDIA_TYPES.ociConfig);
const manifest = (extra: object = {}) => ({
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociManifest,
  config,
  layers: [layer(MEDIA_TYPES.ociLayerGzip)],
  ...extra,
});
const index = (extra: object = {}) => ({
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociIndex,
  manifests: [layer(MEDIA_TYPES.ociManifest, { platform: { os: 'linux', architecture: 'amd64' } })],
  ...extra,
});

test('manifest: reads an OCI one with everything', () => {
  const written = manifest({
    annotations: { a: 'b' },
    subject: layer(MEDIA_TYPES.ociManifest),
    artifactType: 'x/y',
    unknown: [1],
  });
  const { raw, ...parsed } = parseManifest(json(written), `${MEDIA_TYPES.ociManifest}; charset=utf-8`);
  assert.deepEqual(raw, written);
  const { schemaVersion: _, unknown: __, ...want } = written as ReturnType<typeof manifest> & { unknown: unknown };
  assert.deepEqual(parsed, want);
});

test('manifest: reads Docker schema 2, also when the server says a generic type', () => {
  const written = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.dockerManifest,
    config: layer(MEDIA_TYPES.dockerConfig),
    layers: [layer(MEDIA_TYPES.dockerLayerGzip)],
    annotations: null,
  };
  const parsed = parseManifest(json(written), 'application/json');
  assert.equal(parsed.mediaType, MEDIA_TYPES.dockerManifest);
  assert.equal(parsed.annotations, undefined);
});

test('manifest: a document without mediaType is told by its fields', () => {
  const { mediaType: _, ...bare } = manifest();
  assert.equal(documentMediaType(json(bare)), MEDIA_TYPES.ociManifest);
  assert.equal(parseDocument(json(bare)).kind, 'manifest');
  const { mediaType: __, ...bareIndex } = index();
  assert.equal(parseDocument(json(bareIndex)).kind, 'index');
  assert.equal(documentMediaType(json(bareIndex), MEDIA_TYPES.dockerIndex), MEDIA_TYPES.dockerIndex);
});

test('manifest: __proto__ in a document is only a name', () => {
  const text = JSON.stringify(manifest()).replace('"layers"', '"annotations":{"__proto__":"x"},"layers"');
  const parsed = parseManifest(Buffer.from(text));
  assert.deepEqual(Object.keys(parsed.annotations ?? {}), ['__proto__']);
});

const rejects: readonly (readonly [name: string, document: unknown, code: string, message: RegExp])[] = [
  ['no JSON', Buffer.from('{'), 'MANIFEST_INVALID', /not JSON/],
  ['no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'MANIFEST_INVALID', /not JSON/],
  ['a list', [], 'MANIFEST_INVALID', /must be an object/],
  ['null', null, 'MANIFEST_INVALID', /must be an object/],
  ['too many bytes', Buffer.alloc(4 * 1024 * 1024 + 1, 0x20), 'LIMIT_EXCEEDED', /4194304/],
  ['schema 1', { schemaVersion: 1, name: 'x', fsLayers: [] }, 'MEDIA_TYPE_UNSUPPORTED', /Docker schema 1/],
  ['no version', manifest({ schemaVersion: undefined }), 'MANIFEST_INVALID', /schemaVersion is missing/],
  ['version 3', manifest({ schemaVersion: 3 }), 'MANIFEST_INVALID', /schemaVersion is 3/],
  ['an index', index(), 'MANIFEST_INVALID', /this is an index/],
  ['another type', manifest({ mediaType: 'text/html' }), 'MEDIA_TYPE_UNSUPPORTED', /text\/html/],
  ['both kinds', manifest({ manifests: [] }), 'MANIFEST_INVALID', /manifest and of an index/],
  ['neither kind', { schemaVersion: 2 }, 'MANIFEST_INVALID', /neither/],
  ['no config', manifest({ config: undefined }), 'MANIFEST_INVALID', /document\.config must be an object/],
  ['layers no list', manifest({ layers: {} }), 'MANIFEST_INVALID', /layers must be a list/],
  ['a layer no object', manifest({ layers: [null] }), 'MANIFEST_INVALID', /layers\[0\] must be an object/],
  [
    'too many layers',
    manifest({ layers: new Array(256).fill(layer(MEDIA_TYPES.ociLayer)) }),
    'LIMIT_EXCEEDED',
    /256 layers, at most 255/,
  ],
  ...[-1, 0.5, 2 ** 53, '7', null].map(
    (size) => [`size ${size}`, manifest({ config: { ...config, size } }), 'MANIFEST_INVALID', /config\.size/] as const,
  ),
  ...['sha256:', `sha256:${'A'.repeat(64)}`, `../${DIGEST}`, `${DIGEST}0`, 7, null].map(
    (digest) =>
      [`digest ${digest}`, manifest({ config: { ...config, digest } }), 'MANIFEST_INVALID', /config\.digest/] as const,
  ),
  [
    'another algorithm',
    manifest({ config: { ...config, digest: `sha512:${'a'.repeat(128)}` } }),
    'MANIFEST_INVALID',
    /only sha256/,
  ],
  ['annotations no map', manifest({ annotations: { a: 1 } }), 'MANIFEST_INVALID', /annotations\["a"\]/],
  ['no layer type', manifest({ layers: [{ ...config, mediaType: '' }] }), 'MANIFEST_INVALID', /layers\[0\]\.mediaType/],
];

for (const [name, document, code, message] of rejects) {
  test(`manifest: refuses ${name}`, () => {
    assert.throws(() => parseManifest(document instanceof Buffer ? document : json(document)), { code, message });
  });
}

test('manifest: what the server says and what the document says must agree', () => {
  assert.throws(() => parseManifest(json(manifest()), MEDIA_TYPES.dockerManifest), {
    code: 'MANIFEST_INVALID',
    message: /came as .*docker.* but calls itself .*oci/,
  });
  assert.throws(
    () => parseManifest(json({ schemaVersion: 1 }), 'application/vnd.docker.distribution.manifest.v1+prettyjws'),
    { code: 'MEDIA_TYPE_UNSUPPORTED' },
  );
  assert.throws(() => parseManifest(json(manifest()), 'text/html'), { code: 'MANIFEST_INVALID' });
});

test('manifest: every truncation is refused', () => {
  const bytes = json(manifest());
  for (let size = 0; size < bytes.length; size++) {
    assert.throws(() => parseManifest(bytes.subarray(0, size)), { code: 'MANIFEST_INVALID' });
  }
});

test('index: reads entries, empty platforms as none', () => {
  const parsed = parseIndex(json(index({ manifests: [layer(MEDIA_TYPES.ociManifest, { platform: {} })] })));
  assert.deepEqual(parsed.manifests, [{ mediaType: MEDIA_TYPES.ociManifest, digest: DIGEST, size: 7 }]);
});

test('index: refuses a manifest, half a platform and too many entries', () => {
  assert.throws(() => parseIndex(json(manifest())), { code: 'MANIFEST_INVALID', message: /this is a manifest/ });
  const half = index({ manifests: [layer(MEDIA_TYPES.ociManifest, { platform: { os: 'linux' } })] });
  assert.throws(() => parseIndex(json(half)), { code: 'MANIFEST_INVALID', message: /platform\.architecture/ });
  const many = index({ manifests: new Array(1001).fill(config) });
  assert.throws(() => parseIndex(json(many)), { code: 'LIMIT_EXCEEDED' });
});

test('config: reads what a run needs and keeps the rest', () => {
  const written = {
    architecture: 'amd64',
    os: 'linux',
    created: '2026-01-01T00:00:00Z',
    config: { Env: ['A=b'], Cmd: ['sh'], Entrypoint: null, WorkingDir: '/', User: '', Volumes: { '/v': {} } },
    rootfs: { type: 'layers', diff_ids: [DIGEST] },
    history: [{ created_by: 'x' }, { empty_layer: true }],
  };
  const { raw, ...parsed } = parseConfig(json(written));
  assert.deepEqual(raw, written);
  assert.deepEqual(parsed, {
    os: 'linux',
    architecture: 'amd64',
    created: '2026-01-01T00:00:00Z',
    config: { Env: ['A=b'], Cmd: ['sh'], WorkingDir: '/' },
    diffIds: [DIGEST],
    history: [{ created_by: 'x' }, { empty_layer: true }],
  });
});

const base = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [DIGEST] } };
const badConfigs: readonly (readonly [name: string, document: unknown, message: RegExp])[] = [
  ['no rootfs', { ...base, rootfs: undefined }, /config\.rootfs/],
  ['another rootfs', { ...base, rootfs: { type: 'x' } }, /rootfs\.type/],
  ['a bad diff id', { ...base, rootfs: { type: 'layers', diff_ids: ['x'] } }, /diff_ids\[0\]/],
  ['no os', { ...base, os: undefined }, /config\.os/],
  ['Env of numbers', { ...base, config: { Env: [1] } }, /Env/],
  ['history no list', { ...base, history: {} }, /history/],
];
for (const [name, document, message] of badConfigs) {
  test(`config: refuses ${name}`, () => {
    assert.throws(() => parseConfig(json(document)), { code: 'MANIFEST_INVALID', message });
  });
}

test('annotations: a converted image is known by its last layer', () => {
  const blob = layer('application/vnd.oci.image.layer.nydus.blob.v1', {
    annotations: { 'containerd.io/snapshot/nydus-blob': 'true' },
  });
  const boot = layer(MEDIA_TYPES.ociLayerGzip, { annotations: { 'containerd.io/snapshot/nydus-bootstrap': 'true' } });
  assert.ok(isConverted({ layers: [blob, boot] }));
  assert.equal(bootstrapLayer({ layers: [blob, boot] }), boot);
  assert.ok(!isConverted({ layers: [boot, blob] }));
  assert.ok(!isConverted({ layers: [] }));
  assert.ok(isBlobLayer(blob) && isBlobLayer(layer(blob.mediaType)) && !isBlobLayer(boot));
});

test('annotations: converted index entries of both ways are recognised', () => {
  const platform = { os: 'linux', architecture: 'amd64' };
  const plain = layer(MEDIA_TYPES.ociManifest, { platform });
  assert.ok(!isConvertedEntry(plain));
  assert.ok(isConvertedEntry({ ...plain, artifactType: 'application/vnd.nydus.image.manifest.v1+json' }));
  assert.ok(isConvertedEntry({ ...plain, platform: { ...platform, 'os.features': ['nydus.remoteimage.v1'] } }));
});

test('media types: layers by kind and compression', () => {
  const kinds: readonly (readonly [mediaType: string, want: object])[] = [
    [MEDIA_TYPES.ociLayer, { kind: 'tar', compression: 'none' }],
    [MEDIA_TYPES.ociLayerGzip, { kind: 'tar', compression: 'gzip' }],
    [MEDIA_TYPES.ociLayerZstd, { kind: 'tar', compression: 'zstd' }],
    [MEDIA_TYPES.dockerLayer, { kind: 'tar', compression: 'none' }],
    [MEDIA_TYPES.dockerLayerGzip, { kind: 'tar', compression: 'gzip' }],
    ['application/vnd.docker.image.rootfs.diff.tar.zstd', { kind: 'tar', compression: 'zstd' }],
    ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', { kind: 'foreign' }],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', { kind: 'foreign' }],
    ['application/vnd.oci.image.layer.nydus.blob.v1', { kind: 'rafs-blob' }],
    ['application/vnd.oci.image.layer.v1.tar+br', { kind: 'unknown' }],
    ['text/plain', { kind: 'unknown' }],
  ];
  for (const [mediaType, want] of kinds) assert.deepEqual(layerKind(mediaType), want, mediaType);
  assert.equal(mediaTypeOf(' Application/X ; a=b'), 'application/x');
  assert.equal(mediaTypeOf('application/octet-stream'), undefined);
});

test('digest: one spelling', () => {
  assert.ok(isDigest(DIGEST));
  assert.equal(digestComplaint(DIGEST), undefined);
  assert.ok(!isDigest(`${DIGEST}\n`));
  assert.match(String(digestComplaint(null)), /must be a string, got null/);
  assert.equal(
    sha256Digest(Buffer.from('')),
    'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  );
});
