// Places images come from and go to, as skopeo names them: a registry, an OCI layout, archives.
// A source gives manifests, streams of whole blobs and ranged reads; a target takes blobs first and the manifest last.
import type { BlobReader } from '../backend/blob-reader.ts';
import type { Descriptor, RawManifest } from '../format/oci/manifest.ts';

/** What a server was asked. */
export interface SourceTraffic {
  readonly requests: number;
  readonly retries: number;
  /** Ranged requests that were answered with a whole blob. */
  readonly rangesIgnored: number;
  /** Mirrors that gave wrong bytes and are asked last for a while. */
  readonly distrusted: readonly string[];
}

export interface ImageSource extends AsyncDisposable {
  /** As the user wrote it, normalised: `docker://host/repo:tag`. */
  readonly name: string;
  /** The manifest or index the reference names. @throws NaiadError IMAGE_NOT_FOUND, ACCESS_DENIED, … */
  rootManifest(signal?: AbortSignal): Promise<RawManifest>;
  /** A manifest below an index, by digest; a media type that is given must be its. */
  manifest(descriptor: Pick<Descriptor, 'digest'> & Partial<Descriptor>, signal?: AbortSignal): Promise<RawManifest>;
  /** A whole blob as it is stored; size and digest are verified as it streams: a mismatch errors before the end. */
  openBlob(descriptor: Pick<Descriptor, 'digest' | 'size'>, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** Ranged reads of a stored blob, for as long as the source is open. `size` bounds them where it is known. */
  blobReader(descriptor: Pick<Descriptor, 'digest'> & Partial<Descriptor>): BlobReader;
  /** Manifests that have the given one as their subject; left out where a place does not know. */
  referrers?(digest: string, signal?: AbortSignal): Promise<readonly Descriptor[]>;
  /** Makes connections before they are needed; left out where there are none. */
  connectAhead?(): void;
  /** Where its blobs are, when that is a registry: another repository of it can take them over. */
  readonly home?: { readonly host: string; readonly repository: string };
  /** Left out where there is no server. */
  readonly traffic?: SourceTraffic | undefined;
}

/** A finished blob on local disk, of which digest and size are right. */
export interface LocalBlob {
  readonly path: string;
  readonly descriptor: Pick<Descriptor, 'digest' | 'size'>;
}

export interface PutOptions {
  readonly signal?: AbortSignal | undefined;
  /** Gets the bytes sent so far; they start over when a transfer does. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

export interface StreamOptions extends PutOptions {
  /** Where the blob is as well: a registry need not be sent what it has in another repository. */
  readonly from?: ImageSource['home'];
}

export interface ImageTarget extends AsyncDisposable {
  readonly name: string;
  /**
   * A directory for unfinished files, on the target's file system where it has one. It goes with the target: after a
   * crash, with the next target in the same place.
   */
  readonly spoolDir: string;
  /** True when the target has the blob already, so that it need not be put. */
  hasBlob(descriptor: Pick<Descriptor, 'digest' | 'size'>, signal?: AbortSignal): Promise<boolean>;
  /** Puts a blob. A file below `spoolDir` may be gone afterwards; others stay as they are. Putting twice is fine. */
  putBlob(blob: LocalBlob, options?: PutOptions): Promise<void>;
  /** Puts small content (a config), whose digest and size are right. */
  putBytes(descriptor: Pick<Descriptor, 'digest' | 'size'>, bytes: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Puts a blob from a stream, opened once an attempt, of which digest and size are verified as it is read. */
  putStream(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    open: () => AsyncIterable<Uint8Array>,
    options?: StreamOptions,
  ): Promise<void>;
  /** Puts a manifest that the committed index names. Its blobs are there. */
  putManifest(manifest: RawManifest, signal?: AbortSignal): Promise<void>;
  /**
   * Publishes the manifest or index under the target's reference, once, when all it names was put. Nothing is visible
   * under that reference before.
   */
  commit(manifest: RawManifest, signal?: AbortSignal): Promise<void>;
  // Disposing without commit leaves nothing half-written behind.
}
