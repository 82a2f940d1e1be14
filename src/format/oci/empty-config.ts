// The config of a manifest that is no image's (OCI image-spec, manifest.md, "Guidance for an Empty Descriptor").
import { sha256Digest } from './digest.ts';
import type { Descriptor } from './manifest.ts';

const bytes: Uint8Array = Buffer.from('{}');

export const EMPTY_CONFIG: { readonly descriptor: Descriptor; readonly bytes: Uint8Array } = {
  descriptor: {
    mediaType: 'application/vnd.oci.empty.v1+json',
    digest: sha256Digest(bytes),
    size: bytes.length,
  },
  bytes,
};
