// Descriptors, manifests, indexes and configs (OCI image-spec; Docker schema 2 is the same shape with other media types).
// Parsers take bytes from anyone: sizes, counts and digests are checked here, and nothing later needs to again.
import { NaiadError } from '../../base/errors.ts';
import {
  CONFIG_SIZE_MAX,
  HISTORY_ENTRIES_MAX,
  INDEX_ENTRIES_MAX,
  LAYERS_MAX,
  MANIFEST_SIZE_MAX,
} from '../../base/limits.ts';
import { Complaint, type JsonObject, JsonReader } from './json-reader.ts';
import {
  isIndexMediaType,
  isManifestMediaType,
  isSchema1MediaType,
  MEDIA_TYPES,
  mediaTypeOf,
  SCHEMA1,
} from './media-types.ts';

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly 'os.version'?: string;
  readonly 'os.features'?: readonly string[];
}

export interface Descriptor {
  readonly mediaType: string;
  /** `sha256:` and 64 lowercase hex digits. */
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: Platform;
  readonly artifactType?: string;
}

/** The bytes of a manifest or index, as they are stored, with what names them. */
export interface RawManifest {
  readonly mediaType: string;
  /** Of `bytes`, verified. */
  readonly digest: string;
  readonly bytes: Uint8Array;
}

/** A manifest of one image. `raw` is the whole document, for fields that are passed on. */
export interface ImageManifest {
  readonly mediaType: string;
  readonly config: Descriptor;
  /** From the base up. */
  readonly layers: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly subject?: Descriptor;
  readonly artifactType?: string;
  readonly raw: JsonObject;
}

/** A list of manifests, most often one a platform. */
export interface ImageIndex {
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly subject?: Descriptor;
  readonly artifactType?: string;
  readonly raw: JsonObject;
}

export interface HistoryEntry {
  readonly created?: string;
  readonly created_by?: string;
  readonly author?: string;
  readonly comment?: string;
  /** True where the step made no layer. */
  readonly empty_layer?: boolean;
}

/** What a container of the image runs with. */
export interface RuntimeConfig {
  readonly User?: string;
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly WorkingDir?: string;
  readonly Labels?: Readonly<Record<string, string>>;
  readonly StopSignal?: string;
}

export interface ImageConfig {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly created?: string;
  readonly config: RuntimeConfig;
  /** Digests of the uncompressed layers, from the base up. */
  readonly diffIds: readonly string[];
  readonly history: readonly HistoryEntry[];
  /** The whole document: what is not typed here is passed on unchanged. */
  readonly raw: JsonObject;
}

export type ManifestDocument =
  | { readonly kind: 'manifest'; readonly manifest: ImageManifest }
  | { readonly kind: 'index'; readonly index: ImageIndex };

/**
 * Parses a manifest or an index, whichever the bytes are. `mediaType` is what the transport said, if it said anything.
 * @throws NaiadError MANIFEST_INVALID, MEDIA_TYPE_UNSUPPORTED, LIMIT_EXCEEDED
 */
export function parseDocument(bytes: Uint8Array, mediaType?: string): ManifestDocument {
  const type = documentMediaType(bytes, mediaType);
  return isIndexMediaType(type)
    ? { kind: 'index', index: parseIndex(bytes, mediaType) }
    : { kind: 'manifest', manifest: parseManifest(bytes, mediaType) };
}

/**
 * The media type of a manifest or index: what the transport said and what the document says must agree; what neither
 * says is told from the document's fields.
 * @throws NaiadError MANIFEST_INVALID, MEDIA_TYPE_UNSUPPORTED
 */
export function documentMediaType(bytes: Uint8Array, said?: string): string {
  return guard('manifest', () => agreedMediaType(readDocument('manifest', bytes, MANIFEST_SIZE_MAX), said));
}

/** @throws NaiadError MANIFEST_INVALID, MEDIA_TYPE_UNSUPPORTED, LIMIT_EXCEEDED */
export function parseManifest(bytes: Uint8Array, said?: string): ImageManifest {
  return guard('manifest', () => {
    const reader = readDocument('manifest', bytes, MANIFEST_SIZE_MAX);
    const mediaType = agreedMediaType(reader, said);
    if (!isManifestMediaType(mediaType)) throw new Complaint(`this is an index (${mediaType}), not a manifest`);
    // One more than an image has blobs: the bootstrap of a converted one.
    const layers = reader.objects('layers', LAYERS_MAX + 1, 'layers').map(readDescriptor);
    return { mediaType, config: readDescriptor(reader.object('config')), layers, ...readCommon(reader) };
  });
}

/** @throws NaiadError MANIFEST_INVALID, MEDIA_TYPE_UNSUPPORTED, LIMIT_EXCEEDED */
export function parseIndex(bytes: Uint8Array, said?: string): ImageIndex {
  return guard('index', () => {
    const reader = readDocument('index', bytes, MANIFEST_SIZE_MAX);
    const mediaType = agreedMediaType(reader, said);
    if (!isIndexMediaType(mediaType)) throw new Complaint(`this is a manifest (${mediaType}), not an index`);
    const manifests = reader.objects('manifests', INDEX_ENTRIES_MAX, 'manifests').map(readDescriptor);
    return { mediaType, manifests, ...readCommon(reader) };
  });
}

/** @throws NaiadError MANIFEST_INVALID, LIMIT_EXCEEDED */
export function parseConfig(bytes: Uint8Array): ImageConfig {
  return guard('config', () => {
    const reader = readDocument('config', bytes, CONFIG_SIZE_MAX);
    const rootfs = reader.object('rootfs');
    if (rootfs.string('type') !== 'layers') throw new Complaint('rootfs.type is not "layers"');
    return {
      os: reader.string('os'),
      architecture: reader.string('architecture'),
      ...reader.optionalStrings('variant', 'created'),
      config: readRuntimeConfig(reader.optionalObject('config')),
      diffIds: rootfs.digests('diff_ids', LAYERS_MAX + 1),
      history: reader.optionalObjects('history', HISTORY_ENTRIES_MAX, 'history entries').map(readHistoryEntry),
      raw: reader.value,
    };
  });
}

function guard<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof Complaint) throw new NaiadError(error.code, `${what}: ${error.message}`);
    throw error;
  }
}

function readDocument(what: string, bytes: Uint8Array, sizeMax: number): JsonReader {
  if (bytes.length > sizeMax) {
    throw new Complaint(`it has ${bytes.length} bytes, at most ${sizeMax} are read`, 'LIMIT_EXCEEDED');
  }
  return JsonReader.parse(bytes, what === 'config' ? 'the config' : 'the document');
}

function agreedMediaType(reader: JsonReader, said: string | undefined): string {
  const { mediaType: written } = reader.optionalStrings('mediaType');
  const header = mediaTypeOf(said);
  for (const type of [header, written]) if (type !== undefined && isSchema1MediaType(type)) throw schema1();
  if (reader.value.schemaVersion === 1) throw schema1();
  if (reader.value.schemaVersion !== 2) {
    throw new Complaint(`schemaVersion is ${show(reader.value.schemaVersion)}, expected 2`);
  }
  if (header !== undefined && written !== undefined && header !== written) {
    throw new Complaint(`it came as ${header} but calls itself ${written}`);
  }
  const type = header ?? written ?? sniff(reader.value);
  if (!isManifestMediaType(type) && !isIndexMediaType(type)) {
    throw new Complaint(`media type ${show(type)} is neither a manifest nor an index`, 'MEDIA_TYPE_UNSUPPORTED');
  }
  // A document with both lists could be read one way here and another way elsewhere.
  if ('manifests' in reader.value && ('layers' in reader.value || 'config' in reader.value)) {
    throw new Complaint('it has the fields of a manifest and of an index');
  }
  return type;
}

function schema1(): Complaint {
  return new Complaint(
    `it is a ${SCHEMA1} manifest, a format given up in 2019; push the image again with a current tool`,
    'MEDIA_TYPE_UNSUPPORTED',
  );
}

function sniff(document: JsonObject): string {
  if ('manifests' in document) return MEDIA_TYPES.ociIndex;
  if ('layers' in document && 'config' in document) return MEDIA_TYPES.ociManifest;
  throw new Complaint('it has neither "manifests" nor "config" and "layers"');
}

function readCommon(reader: JsonReader) {
  const annotations = reader.optionalStringMap('annotations');
  const subject = reader.optionalObject('subject');
  return {
    ...(annotations ? { annotations } : {}),
    ...(subject ? { subject: readDescriptor(subject) } : {}),
    ...reader.optionalStrings('artifactType'),
    raw: reader.value,
  };
}

function readDescriptor(reader: JsonReader): Descriptor {
  const annotations = reader.optionalStringMap('annotations');
  const platform = reader.optionalObject('platform');
  return {
    mediaType: reader.string('mediaType'),
    digest: reader.digest('digest'),
    size: reader.size('size'),
    ...(annotations ? { annotations } : {}),
    // Nydus' tools write an empty platform where the source had none.
    ...(platform && Object.keys(platform.value).length > 0 ? { platform: readPlatform(platform) } : {}),
    ...reader.optionalStrings('artifactType'),
  };
}

function readPlatform(reader: JsonReader): Platform {
  const features = reader.optionalStringList('os.features');
  return {
    os: reader.string('os'),
    architecture: reader.string('architecture'),
    ...reader.optionalStrings('variant', 'os.version'),
    ...(features ? { 'os.features': features } : {}),
  };
}

function readRuntimeConfig(reader: JsonReader | undefined): RuntimeConfig {
  if (!reader) return {};
  const env = reader.optionalStringList('Env');
  const entrypoint = reader.optionalStringList('Entrypoint');
  const cmd = reader.optionalStringList('Cmd');
  const labels = reader.optionalStringMap('Labels');
  return {
    ...reader.optionalStrings('User', 'WorkingDir', 'StopSignal'),
    ...(env ? { Env: env } : {}),
    ...(entrypoint ? { Entrypoint: entrypoint } : {}),
    ...(cmd ? { Cmd: cmd } : {}),
    ...(labels ? { Labels: labels } : {}),
  };
}

function readHistoryEntry(reader: JsonReader): HistoryEntry {
  return {
    ...reader.optionalStrings('created', 'created_by', 'author', 'comment'),
    ...(reader.value.empty_layer === true ? { empty_layer: true } : {}),
  };
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? 'missing').slice(0, 100);
}
