// An image moved as it is, byte for byte, converted or not: blobs first, then manifests from the leaves up, the name last.
import { forEachBounded } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { BLOBS_IN_FLIGHT_MAX, COPY_MANIFESTS_SIZE_MAX, INDEX_DEPTH_MAX } from '../base/limits.ts';
import { type Descriptor, parseDocument, type RawManifest } from '../format/oci/manifest.ts';
import { layerKind } from '../format/oci/media-types.ts';
import { refuseOnePlace } from './locate.ts';
import { type OpenOptions, openSource, openTarget } from './open.ts';
import { resolveImage } from './resolve.ts';
import type { ImageSource, ImageTarget } from './transport.ts';

export interface CopyOptions {
  /** `os/architecture[/variant]` to take from an index; this machine's when left out. */
  readonly platform?: string | undefined;
  /** An index as a whole, with all it names. */
  readonly allPlatforms?: boolean | undefined;
  /** Also what refers to the image: signatures, SBOMs, traces. */
  readonly referrers?: boolean | undefined;
}

export interface CopyHooks {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((state: { readonly done: number; readonly total: number }) => void) | undefined;
}

export interface CopyReport {
  readonly source: string;
  readonly target: string;
  /** Of the manifest or index that the target's name stands for now. */
  readonly digest: string;
  readonly mediaType: string;
  readonly manifests: number;
  readonly blobs: number;
  /** Bytes of the blobs. */
  readonly size: number;
  readonly referrers: number;
  /** Layers that may not be distributed, which stay where their addresses point. */
  readonly foreignLayers: number;
  readonly seconds: number;
}

/**
 * Copies between places as a user names them.
 * @throws NaiadError USAGE when both are one place; what opening, reading and putting throw
 */
export async function copyReference(
  from: string,
  to: string,
  options: CopyOptions,
  hooks: CopyHooks = {},
  opening: { readonly source?: OpenOptions; readonly target?: OpenOptions } = {},
): Promise<CopyReport> {
  const { signal } = hooks;
  refuseOnePlace(from, to, 'Name another place to copy to.');
  await using source = await openSource(from, { ...opening.source, signal });
  // Before the target is opened, so that a name that is wrong leaves nothing there.
  const root = await chooseRoot(source, options, signal);
  await using target = await openTarget(to, { ...opening.target, signal });
  return await copyImage(source, target, root, options, hooks);
}

async function chooseRoot(
  source: ImageSource,
  { platform, allPlatforms }: CopyOptions,
  signal: AbortSignal | undefined,
): Promise<RawManifest> {
  if (allPlatforms) return await source.rootManifest(signal);
  return (await resolveImage(source, { platform, converted: 'prefer', signal })).raw;
}

/** What there is to copy, found before anything is. */
interface Plan {
  /** Children before those who name them; the root last. */
  readonly manifests: Map<string, RawManifest>;
  readonly blobs: Map<string, Descriptor>;
  readonly referrers: Map<string, RawManifest>;
  /** Bytes of manifests and referrers. */
  manifestsSize: number;
  foreignLayers: number;
}

async function copyImage(
  source: ImageSource,
  target: ImageTarget,
  root: RawManifest,
  options: CopyOptions,
  { signal, onProgress }: CopyHooks,
): Promise<CopyReport> {
  const startMs = performance.now();
  const plan = emptyPlan();
  await collect(source, root, plan, 0, signal);
  if (options.referrers) await collectReferrers(source, plan, signal);
  const size = await putBlobs(source, target, plan, { signal, onProgress });
  const { manifests, referrers } = plan;
  for (const manifest of manifests.values()) {
    // What refers to the root comes after it, and before the name.
    if (manifest !== root || referrers.size > 0) await target.putManifest(manifest, signal);
  }
  for (const manifest of referrers.values()) await target.putManifest(manifest, signal);
  await target.commit(root, signal);
  return {
    source: source.name,
    target: target.name,
    digest: root.digest,
    mediaType: root.mediaType,
    manifests: plan.manifests.size,
    blobs: plan.blobs.size,
    size,
    referrers: plan.referrers.size,
    foreignLayers: plan.foreignLayers,
    seconds: (performance.now() - startMs) / 1000,
  };
}

/** Puts images as they are, each with all that it names, for an index that is committed later. */
export async function copyContents(
  source: ImageSource,
  target: ImageTarget,
  images: readonly RawManifest[],
  { signal, onProgress }: CopyHooks,
): Promise<void> {
  const plan = emptyPlan();
  for (const image of images) await collect(source, image, plan, 0, signal);
  await putBlobs(source, target, plan, { signal, onProgress });
  for (const manifest of plan.manifests.values()) await target.putManifest(manifest, signal);
}

function emptyPlan(): Plan {
  return { manifests: new Map(), blobs: new Map(), referrers: new Map(), manifestsSize: 0, foreignLayers: 0 };
}

/** @returns their bytes */
async function putBlobs(
  source: ImageSource,
  target: ImageTarget,
  plan: Plan,
  { signal, onProgress }: CopyHooks,
): Promise<number> {
  const blobs = [...plan.blobs.values()];
  const size = blobs.reduce((sum, blob) => sum + blob.size, 0);
  const done = new Map<string, number>();
  let total = 0;
  await forEachBounded(blobs, { inFlightMax: BLOBS_IN_FLIGHT_MAX, signal }, async (blob, own) => {
    await target.putStream(blob, () => streamOf(source, blob, own), {
      signal: own,
      from: source.home,
      onProgress: (bytes) => {
        total += bytes - (done.get(blob.digest) ?? 0);
        done.set(blob.digest, bytes);
        onProgress?.({ done: total, total: size });
      },
    });
  });
  return size;
}

async function* streamOf(source: ImageSource, blob: Descriptor, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  yield* await source.openBlob(blob, signal);
}

async function collect(
  source: ImageSource,
  raw: RawManifest,
  plan: Plan,
  depth: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (plan.manifests.has(raw.digest)) return;
  if (depth > INDEX_DEPTH_MAX) {
    throw new NaiadError(
      'MANIFEST_INVALID',
      `${source.name}: indexes lie in indexes, more than ${INDEX_DEPTH_MAX} deep`,
    );
  }
  plan.manifestsSize += raw.bytes.length;
  if (plan.manifestsSize > COPY_MANIFESTS_SIZE_MAX) {
    const most = `at most ${COPY_MANIFESTS_SIZE_MAX} bytes of them are copied at once`;
    throw new NaiadError('LIMIT_EXCEEDED', `${source.name}: too many manifests; ${most}`);
  }
  const document = parseDocument(raw.bytes, raw.mediaType);
  if (document.kind === 'manifest') {
    const { config, layers } = document.manifest;
    for (const blob of [config, ...layers]) {
      if (layerKind(blob.mediaType).kind === 'foreign') plan.foreignLayers++;
      else plan.blobs.set(blob.digest, blob);
    }
  } else {
    for (const entry of document.index.manifests) {
      if (plan.manifests.has(entry.digest)) continue;
      await collect(source, await source.manifest(entry, signal), plan, depth + 1, signal);
    }
  }
  plan.manifests.set(raw.digest, raw);
}

/** Referrers of everything copied, and theirs in turn (the signature of an SBOM). */
async function collectReferrers(source: ImageSource, plan: Plan, signal: AbortSignal | undefined): Promise<void> {
  if (!source.referrers) return;
  let subjects = [...plan.manifests.keys()];
  for (let depth = 0; subjects.length > 0 && depth <= INDEX_DEPTH_MAX; depth++) {
    const found: string[] = [];
    for (const subject of subjects) {
      for (const entry of await source.referrers(subject, signal)) {
        if (plan.manifests.has(entry.digest) || plan.referrers.has(entry.digest)) continue;
        const raw = await source.manifest(entry, signal);
        const own: Plan = { ...plan, manifests: new Map() };
        await collect(source, raw, own, 0, signal);
        plan.manifestsSize = own.manifestsSize;
        plan.foreignLayers = own.foreignLayers;
        for (const [digest, manifest] of own.manifests) plan.referrers.set(digest, manifest);
        found.push(entry.digest);
      }
    }
    subjects = found;
  }
}
