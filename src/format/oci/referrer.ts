// Manifests that name another one as their subject: signatures, SBOMs, traces.
import type { Descriptor, ManifestDocument } from './manifest.ts';

export interface Referrer {
  /** Digest of the manifest that is referred to. */
  readonly subject: string;
  /** As the specification wants it listed among the referrers of the subject. */
  readonly descriptor: Descriptor;
}

/** What a manifest of that digest and size refers to; undefined without a subject. */
export function referrerOf(
  document: ManifestDocument,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
): Referrer | undefined {
  const parsed = document.kind === 'index' ? document.index : document.manifest;
  if (!parsed.subject) return undefined;
  const config = document.kind === 'manifest' ? document.manifest.config.mediaType : undefined;
  const artifactType = parsed.artifactType ?? config;
  const { annotations } = parsed;
  const descriptor = {
    ...{ mediaType: parsed.mediaType, digest, size },
    ...(artifactType ? { artifactType } : {}),
    ...(annotations ? { annotations } : {}),
  };
  return { subject: parsed.subject.digest, descriptor };
}
