// Every bound of the product, with its reason. Inputs beyond one end in LIMIT_EXCEEDED or in the error of their format.
import { GiB, KiB, MiB } from './units.ts';

/** Registries store manifests up to 4 MiB; distribution refuses more. */
export const MANIFEST_SIZE_MAX = 4 * MiB;
/** Image configs with long histories stay well below this. */
export const CONFIG_SIZE_MAX = 8 * MiB;
/** Metadata of ten million files; a bootstrap is held in memory while it is read. */
export const BOOTSTRAP_SIZE_MAX = 2 * GiB - 4 * KiB;
/** Layers of one image. overlayfs stops at 500, RAFS v6 at 254 blobs. */
export const LAYERS_MAX = 254;
/** Manifests of one index: official images have some 20. */
export const INDEX_ENTRIES_MAX = 1000;
/** An index may name an index; nobody nests deeper. */
export const INDEX_DEPTH_MAX = 3;
/** Manifests that one copy holds in memory: an index of 20 platforms has some 100 KB. */
export const COPY_MANIFESTS_SIZE_MAX = 64 * MiB;
/** Steps in the history of a config, those without a layer included. */
export const HISTORY_ENTRIES_MAX = 10_000;
/** Blobs of one bootstrap: eight bits of a chunk address, one value reserved (rafs layout/v6.rs). */
export const BLOBS_MAX = 254;
/** Chunks of one blob: 24 bits of a chunk address (rafs layout/v6.rs). */
export const CHUNKS_PER_BLOB_MAX = 2 ** 24 - 1;
export const CHUNK_SIZE_MIN = 4 * KiB;
export const CHUNK_SIZE_MAX = 16 * MiB;
export const CHUNK_SIZE_DEFAULT = 1 * MiB;
/** Ends of compressed offsets in a chunk-info record: 40 bits. */
export const BLOB_COMPRESSED_SIZE_MAX = 2 ** 40;
/** Ends of uncompressed offsets: a 32-bit count of 4 KiB blocks. */
export const BLOB_UNCOMPRESSED_SIZE_MAX = 2 ** 44;
/** NAME_MAX and PATH_MAX of Linux. */
export const NAME_SIZE_MAX = 255;
export const SYMLINK_SIZE_MAX = 4095;
/** Deeper trees cannot be reached by any path of PATH_MAX bytes. */
export const TREE_DEPTH_MAX = 2048;
/** Names in one image. */
export const TREE_ENTRIES_MAX = 10_000_000;
/** What a conversion keeps of its tree and chunks in memory: that of 250,000 files; the rest is in a file (base/page-pool.ts). */
export const TREE_COLUMNS_MEMORY_MAX = 40 * MiB;
/** What it keeps of names, link targets and attributes, in whole pages of 1 MiB. */
export const TREE_RUNS_MEMORY_MAX = 16 * MiB;
/** Of either, when chunks are so large that their buffers take what the tree would have. */
export const TREE_MEMORY_BESIDE_LARGE_CHUNKS_MAX = 8 * MiB;
/** XATTR_SIZE_MAX of Linux is 64 KiB; the format's length field holds one byte less. */
export const XATTR_VALUE_SIZE_MAX = 64 * KiB - 1;
/** XATTR_LIST_MAX of Linux bounds what one inode can list. */
export const XATTRS_SIZE_MAX = 64 * KiB;
/** Pax headers and GNU long names; tar-stream itself stops at 4 MiB. */
export const TAR_HEADER_SIZE_MAX = 1 * MiB;
/** Extents of one sparse file in a tar. */
export const TAR_SPARSE_EXTENTS_MAX = 1_000_000;
/** Chunk references of one layer, eight bytes each while it is converted: 8 TiB of files at chunks of 1 MiB. */
export const CHUNK_REFS_PER_LAYER_MAX = 2 ** 23;
/** One file of an image; the size of the largest ext4 file. */
export const FILE_SIZE_MAX = 2 ** 44;
/** zstd frames that ask for a larger window are refused: the decoder would have to hold it. */
export const ZSTD_WINDOW_SIZE_MAX = 128 * MiB;
/** Windows up to this size, that of zstd's level 19, may be decoded at the same time. */
export const ZSTD_WINDOW_SMALL = 8 * MiB;
/** Uncompressed chunk-info area of a blob, contexts included: 2^24 records of 24 bytes. */
export const CHUNK_INFO_SIZE_MAX = 400 * MiB;
/** One ranged request never asks for more, so that one slow request cannot hold up many readers. */
export const FETCH_SIZE_MAX = 8 * MiB;
/** Bytes we rather read and drop than pay another round trip for, between two wanted ranges. */
export const FETCH_GAP_MAX = 64 * KiB;
/** Ranged requests in flight per image. */
export const FETCHES_IN_FLIGHT_MAX = 8;

/** A ranged read or a manifest is answered within this time, retries and all, or fails: a reader never hangs. */
export const REGISTRY_READ_DEADLINE_MS = 60_000;
/** Bytes a second that arrive make up for the time they took, down to this rate: a slow line is not a dead one. */
export const REGISTRY_RATE_MIN = 16 * KiB;
/** Progress that shows a connection was good, so that losing it is not the same trouble as before. */
export const REGISTRY_PROGRESS_MIN = 1 * MiB;
/** Five of these fit into the deadline of a read. */
export const REGISTRY_CONNECT_TIMEOUT_MS = 10_000;
/** Without a byte in either direction for so long, a connection counts as dead. */
export const REGISTRY_IDLE_TIMEOUT_MS = 30_000;
/** Dragonfly has to find who has a blob, or to fetch the beginning itself; after so long the registry is asked. */
export const DRAGONFLY_ANSWER_TIMEOUT_MS = 10_000;
/** A registry checks and moves a large blob before it answers the last request of an upload. */
export const REGISTRY_COMMIT_TIMEOUT_MS = 300_000;
/** Of uploads in parts, where a registry refuses large bodies (ACR: about 20 MB). Each is held in memory. */
export const UPLOAD_CHUNK_SIZE = 16 * MiB;
/** What a registry says that a part must have at least is kept to up to here: one is in memory for each blob that is pushed. */
export const UPLOAD_CHUNK_HELD_MAX = 64 * MiB;
/** Proxies that take less than this are not meant for images. */
export const UPLOAD_CHUNK_SIZE_MIN = 512 * KiB;
/** Blobs of one image that are copied at once. */
export const BLOBS_IN_FLIGHT_MAX = 4;
/** Tags of one repository. */
export const TAGS_MAX = 100_000;
/** Connections to one host. */
export const REGISTRY_CONNECTIONS_MAX = 16;
/** Hosts that a registry sends us on to and connections are kept to: its storage has few, whoever wants to fill memory many. */
export const REGISTRY_ORIGINS_MAX = 64;
export const REGISTRY_ATTEMPTS_MAX = 5;
/** First pause before another attempt; it doubles each time. */
export const RETRY_DELAY_MS = 250;
/** What a server may ask us to wait with Retry-After. */
export const RETRY_AFTER_MAX_MS = 60_000;
export const REDIRECTS_MAX = 5;
/** What a registry was found to be like is believed for so long. */
export const KNOWN_HOST_AGE_MAX_MS = 7 * 24 * 3_600_000;
/** A probe has two kilobytes. */
export const KNOWN_HOST_SIZE_MAX = 64 * KiB;
/** Bodies of error answers and of token servers are read so far. */
export const ERROR_BODY_SIZE_MAX = 64 * KiB;
/** Where a registry ignores a range and sends the whole blob, so much is read and dropped to reach the wanted bytes. */
export const RANGE_DISCARD_MAX = 16 * MiB;
/** Credential files are a few kilobytes. */
export const CREDENTIALS_SIZE_MAX = 1 * MiB;
/** A credential helper may ask a cloud; longer than this nobody waits for a login. */
export const HELPER_TIMEOUT_MS = 30_000;
/** Tokens of clouds have a few kilobytes. */
export const HELPER_OUTPUT_SIZE_MAX = 256 * KiB;
/** A hosts.toml names a few mirrors. */
export const HOSTS_FILE_SIZE_MAX = 256 * KiB;
/** A mirror that failed is not asked for so long; then it is tried again. */
export const MIRROR_REST_MS = 30_000;
/** A mirror that gave wrong bytes is asked only where all others fail, for so long. */
export const MIRROR_DISTRUST_MS = 600_000;
/** Members of an image archive: a few for each layer. */
export const ARCHIVE_MEMBERS_MAX = 100_000;
/** The uncompressed layer that holds the bootstrap, and whatever else its tar carries. */
export const BOOTSTRAP_LAYER_SIZE_MAX = BOOTSTRAP_SIZE_MAX + 512 * MiB;

/** Of a file system, what the cache may take when nothing else is said. */
export const CACHE_SIZE_SHARE_DEFAULT = 0.5;
/** When less of the file system is free than the lower mark, blobs go until the upper one is reached. */
export const CACHE_FREE_LOW_SHARE = 0.05;
export const CACHE_FREE_HIGH_SHARE = 0.1;
/** On large disks the marks are no more than this. */
export const CACHE_FREE_LOW_MAX = 10 * GiB;
export const CACHE_FREE_HIGH_MAX = 20 * GiB;
/** What may be written between two looks at the size of the cache. */
export const CACHE_CHECK_BYTES = 64 * MiB;
/** Pins are written by hand. */
export const PINS_MAX = 10_000;
/** Blobs and files of metadata that one pin may name. */
export const PIN_SIZE_MAX = 1 * MiB;
/** A chunk that arrived wrong twice is left alone for so long; each time after that for twice as long. */
export const QUARANTINE_MIN_MS = 1000;
export const QUARANTINE_MAX_MS = 600_000;

/** A read waits so long for its bytes, retries and all, and then fails. */
export const FETCH_DEADLINE_MS = 60_000;
/** Bytes in flight that the scheduler asks for at least, and at most, whatever it has measured. */
export const FETCH_IN_FLIGHT_BYTES_MIN = 8 * MiB;
export const FETCH_IN_FLIGHT_BYTES_MAX = 64 * MiB;
/** Requests in flight that nobody waits for yet. */
export const FETCH_HOT_IN_FLIGHT_MAX = 4;
export const FETCH_BACKGROUND_IN_FLIGHT_MAX = 2;
/** How often a request is looked after; one that brought less than the floor since is stalled. */
export const FETCH_FLOOR_WINDOW_MS = 2000;
export const FETCH_FLOOR_BYTES_PER_SEC = 16 * KiB;
/** Second requests that one transfer may send before it only waits. */
export const FETCH_HEDGES_MAX = 4;
/** Pauses between attempts double up to this. */
export const FETCH_RETRY_DELAY_MAX_MS = 5000;
/** A slow line gets requests that take no longer than this. */
export const FETCH_REQUEST_SECONDS_MAX = 2;
/** Uncompressed bytes that a prefetch asks for before the first of them has come, in portions of so many. */
export const PREFETCH_WINDOW = 64 * MiB;
export const PREFETCH_PORTION = 4 * MiB;
/** After a failure of the registry, a prefetch waits. Readers do not. */
export const PREFETCH_RETRY_MS = 5000;
/** Inodes that a prefetch table leads to, at most: what is beyond is fetched when it is read. */
export const PREFETCH_FILES_MAX = 1_000_000;
/** Of an image: once so much is here and reads go on to miss, the rest is fetched too (`--prefetch auto`). */
export const FILL_SHARE_MIN = 0.5;
/** Images of at most this size, unpacked, are fetched whole for a container: asking chunk by chunk would take longer. */
export const FILL_SMALL_MAX = 16 * MiB;
/** Bytes of a blob that are held before anybody knows what they are. */
export const EARLY_HELD_MAX = 16 * MiB;
/** Blobs that are asked for before the bootstrap is here, and the stored bytes of an image of which all are. */
export const EARLY_BLOBS_MAX = 8;
export const EARLY_IMAGE_SIZE_MAX = 4 * MiB;
/** With so little of the bootstrap to come, what is asked for now arrives behind it. */
export const BOOTSTRAP_REST = 512 * KiB;
/** How often that is looked at. */
export const FILL_WATCH_MS = 1000;
/** Without expiry in a signed address, it is used again for so long. */
export const REDIRECT_LIFETIME_MS = 60_000;

/** A trace file, decompressed. */
export const TRACE_SIZE_MAX = 64 * MiB;
/** A trace as it lies beside an image, compressed. */
export const TRACE_STORED_SIZE_MAX = 16 * MiB;
/** First touches of chunks in one trace: 256 GiB at chunks of 1 MiB, and all that a start reads at 4 KiB. */
export const TRACE_TOUCHES_MAX = 250_000;
/** Recordings merged into one trace. */
export const TRACE_RUNS_MAX = 1_000_000;
/** A start that takes longer than a week is none. */
export const TRACE_TIME_MAX_MS = 7 * 86_400_000;

/** One line of the record of a layer in a build cache: a file of half a million chunks. A layer with a longer one has no record. */
export const LAYER_RECORD_LINE_SIZE_MAX = 4 * MiB;
/** Records in a build cache; those used last are kept. */
export const LAYER_RECORDS_MAX = 200;
