// Traces beside an image: artifacts that have its manifest as their subject, each with a name, so that an image can have one
// for each of its entry points. docs/format/trace.md#beside-an-image draws one.
import { isDigest, sha256Digest } from './digest.ts';
import { manifestOf } from './documents.ts';
import { EMPTY_CONFIG } from './empty-config.ts';
import type { Descriptor, RawManifest } from './manifest.ts';
import { MEDIA_TYPES } from './media-types.ts';

const TRACE_ARTIFACT_TYPE = 'application/vnd.naiad.trace.v1';
const TRACE_LAYER_TYPE = 'application/vnd.naiad.trace.v1.jsonl+zstd';
/** What a trace is called that was given no name. */
export const TRACE_NAME_DEFAULT = 'default';
const TRACE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

const ANNOTATIONS = {
  name: 'dev.naiad.trace.name',
  /** `sha256:…` and size of its only layer, so that who finds it in a list of referrers can skip the manifest. */
  layer: 'dev.naiad.trace.layer',
  size: 'dev.naiad.trace.size',
  created: 'org.opencontainers.image.created',
} as const;

/** One trace in a list of referrers. */
export interface TraceEntry {
  readonly name: string;
  /** Of its manifest. */
  readonly manifest: Descriptor;
  /** ISO 8601; empty where it does not say. */
  readonly created: string;
  readonly layer: Pick<Descriptor, 'digest' | 'size'> | undefined;
}

export function isTraceName(text: string): boolean {
  return TRACE_NAME.test(text);
}

export interface TraceArtifact {
  readonly manifest: RawManifest;
  readonly config: Descriptor;
  readonly configBytes: Uint8Array;
  readonly layer: Descriptor;
}

/** The artifact that holds `compressed`, a trace file in zstd, beside `subject`. `name` is one that `isTraceName` takes. */
export function traceArtifact(
  compressed: Uint8Array,
  options: { readonly subject: Descriptor; readonly name: string; readonly created: string },
): TraceArtifact {
  const { subject, name, created } = options;
  const { descriptor: config, bytes: configBytes } = EMPTY_CONFIG;
  const layer = { mediaType: TRACE_LAYER_TYPE, digest: sha256Digest(compressed), size: compressed.length };
  const manifest = manifestOf(MEDIA_TYPES.ociManifest, {
    ...{ artifactType: TRACE_ARTIFACT_TYPE, config, layers: [layer] },
    subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.size },
    annotations: {
      [ANNOTATIONS.name]: name,
      [ANNOTATIONS.layer]: layer.digest,
      [ANNOTATIONS.size]: String(layer.size),
      [ANNOTATIONS.created]: created,
    },
  });
  return { manifest, config, configBytes, layer };
}

/** The traces among the referrers of an image: of several with one name the newest, by name. */
export function tracesAmong(referrers: readonly Descriptor[]): TraceEntry[] {
  const byName = new Map<string, TraceEntry>();
  for (const manifest of referrers) {
    if (manifest.artifactType !== TRACE_ARTIFACT_TYPE) continue;
    const { [ANNOTATIONS.name]: name = TRACE_NAME_DEFAULT, [ANNOTATIONS.created]: created = '' } =
      manifest.annotations ?? {};
    if (!isTraceName(name)) continue;
    const entry = { name, manifest, created, layer: layerIn(manifest) };
    const other = byName.get(name);
    const order = (one: TraceEntry) => `${one.created} ${one.manifest.digest}`;
    if (!other || order(other) < order(entry)) byName.set(name, entry);
  }
  return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function layerIn({ annotations = {} }: Descriptor): TraceEntry['layer'] {
  const digest = annotations[ANNOTATIONS.layer];
  const size = Number(annotations[ANNOTATIONS.size]);
  return isDigest(digest) && Number.isSafeInteger(size) && size > 0 ? { digest, size } : undefined;
}
