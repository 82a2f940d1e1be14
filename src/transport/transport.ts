// Places images come from and go to, as skopeo names them: a registry, an OCI layout, archives, a root directory.
// A source gives manifests, streams of whole blobs and ranged reads; a target takes blobs first and the manifest last.
import type { BlobReader } from '../backend/blob-reader.ts';
import type { Descriptor, RawManifest } from '../format/oci/manifest.ts';

export interface ImageSource extends AsyncDisposable {
  /** As the user wrote it, normalised: `docker://host/repo:tag`. */
  readonly name: string;
  /** The manifest or index the reference names. @throws NaiadError IMAGE_NOT_FOUND, ACCESS_DENIED, … */
  rootManifest(signal?: AbortSignal): Promise<RawManifest>;
  /** A manifest below an index, by digest. */
  manifest(descriptor: Descriptor, signal?: AbortSignal): Promise<RawManifest>;
  /** A whole blob as it is stored; size and digest are verified as it streams: a mismatch errors before the end. */
  openBlob(descriptor: Descriptor, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** Ranged reads of a stored blob. `descriptor` needs `digest`; `size` where it is known. */
  blobReader(descriptor: Pick<Descriptor, 'digest'> & Partial<Descriptor>): BlobReader;
}

/** A finished blob on local disk that a target may take by rename or copy. */
export interface LocalBlob {
  readonly path: string;
  readonly descriptor: Descriptor;
}

export interface ImageTarget extends AsyncDisposable {
  readonly name: string;
  /** A directory on the target's file system for unfinished files; undefined when any temporary place will do. */
  readonly spoolDir: string | undefined;
  /** True when the target has the blob already, so that it need not be pushed. */
  hasBlob(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean>;
  /** Pushes a blob from a file. Idempotent. `onProgress` gets the bytes sent so far. */
  putBlob(blob: LocalBlob, options?: { signal?: AbortSignal; onProgress?: (bytes: number) => void }): Promise<void>;
  /** Pushes small content (a config). */
  putBytes(descriptor: Descriptor, bytes: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Publishes the manifest under the target's reference. Nothing is visible under that reference before it. */
  commit(manifest: RawManifest, signal?: AbortSignal): Promise<void>;
  // Disposing without commit leaves nothing half-written behind.
}
