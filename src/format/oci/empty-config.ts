// The config of a manifest that is no image's (OCI image-spec, manifest.md, "Guidance for an Empty Descriptor").
import { type JsonBlob, jsonBlob } from './documents.ts';

export const EMPTY_CONFIG: JsonBlob = jsonBlob({}, 'application/vnd.oci.empty.v1+json');
