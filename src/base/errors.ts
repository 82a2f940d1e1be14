// Two tables decide how every failure looks to a caller: codes say what happened, kinds say which exit code the
// command ends with and which errno a process inside a mount sees. docs/reference/errors.md is made from both.

/** Exit code of the command and errno answered by a mount, per kind of failure. */
export const KINDS = {
  failed: { exit: 1, errno: 'EIO', doc: 'failed, for a reason no other kind names' },
  usage: { exit: 2, errno: 'EINVAL', doc: 'a wrong flag, argument or configuration' },
  partial: { exit: 3, errno: 'EIO', doc: 'finished, but some items failed; each is listed' },
  'not-found': { exit: 10, errno: 'ENOENT', doc: 'a reference, blob or file does not exist' },
  denied: { exit: 11, errno: 'EIO', doc: 'authentication or permission refused' },
  corrupt: { exit: 12, errno: 'EIO', doc: 'a digest, checksum or structure is wrong' },
  unsupported: { exit: 13, errno: 'EOPNOTSUPP', doc: 'a feature, media type or kernel we do not support' },
  unavailable: { exit: 14, errno: 'EIO', doc: 'the network or the registry failed, after its retries' },
  busy: { exit: 15, errno: 'EBUSY', doc: 'a mountpoint or a lock is held by someone else' },
  exhausted: { exit: 16, errno: 'ENOSPC', doc: 'disk, memory or a named limit is used up' },
  bug: { exit: 70, errno: 'EIO', doc: 'a defect of naiad; please report it' },
  canceled: { exit: 130, errno: 'EINTR', doc: 'interrupted by a signal; what was begun was cleaned up' },
} as const satisfies Record<string, { exit: number; errno: string; doc: string }>;

export type Kind = keyof typeof KINDS;

/** Every code a NaiadError can carry. Callers branch on the code or its kind, never on the message. */
export const CODES = {
  BUG: { kind: 'bug', doc: 'an assertion inside naiad failed' },
  USAGE: { kind: 'usage', doc: 'the command line is wrong' },
  CANCELED: { kind: 'canceled', doc: 'SIGINT, SIGTERM or a closed caller ended the work' },
  PARTIAL: { kind: 'partial', doc: 'some of several items failed' },
  IO: { kind: 'failed', doc: 'an operating system call failed' },
  COMMAND_FAILED: { kind: 'failed', doc: 'a program that naiad started failed' },

  REFERENCE_INVALID: { kind: 'usage', doc: 'an image reference cannot be parsed' },
  IMAGE_NOT_FOUND: { kind: 'not-found', doc: 'the reference, tag or digest does not exist' },
  BLOB_NOT_FOUND: { kind: 'not-found', doc: 'the registry or layout has no such blob' },
  PATH_NOT_FOUND: { kind: 'not-found', doc: 'the path does not exist' },
  PLATFORM_NOT_FOUND: { kind: 'not-found', doc: 'an index has no manifest for the platform asked for' },
  ALREADY_CONVERTED: { kind: 'unsupported', doc: 'the image is a converted one where an ordinary one is needed' },
  NOT_CONVERTED: { kind: 'unsupported', doc: 'the image is an ordinary one where a converted one is needed' },

  MANIFEST_INVALID: { kind: 'corrupt', doc: 'a manifest, index or config is malformed or too large' },
  MEDIA_TYPE_UNSUPPORTED: { kind: 'unsupported', doc: 'a manifest or layer of a type naiad does not read' },
  DIGEST_MISMATCH: { kind: 'corrupt', doc: 'bytes do not have the digest they were fetched by' },
  SIZE_MISMATCH: { kind: 'corrupt', doc: 'there are more or fewer bytes than declared' },
  ARCHIVE_INVALID: { kind: 'corrupt', doc: 'a tar, gzip or zstd stream is malformed or cut short' },
  ARCHIVE_UNSUPPORTED: { kind: 'unsupported', doc: 'a tar uses a feature naiad does not read' },
  PATH_UNSAFE: { kind: 'corrupt', doc: 'a path in an archive leaves the tree or goes through a link' },
  LIMIT_EXCEEDED: { kind: 'exhausted', doc: 'an input is larger than a named limit allows' },

  BOOTSTRAP_INVALID: { kind: 'corrupt', doc: 'a bootstrap breaks an invariant of the format' },
  BOOTSTRAP_UNSUPPORTED: { kind: 'unsupported', doc: 'a bootstrap uses a feature naiad does not read' },
  BLOB_INVALID: { kind: 'corrupt', doc: "a blob's chunk-info table, header or TOC is wrong" },
  BLOB_UNSUPPORTED: { kind: 'unsupported', doc: 'a blob uses a feature naiad does not read' },
  CHUNK_DIGEST_MISMATCH: { kind: 'corrupt', doc: 'a chunk does not have its digest' },
  CHUNK_INVALID: { kind: 'corrupt', doc: 'a chunk cannot be decompressed to its size' },
  CHECK_FAILED: { kind: 'corrupt', doc: 'check found violated invariants; each is listed' },

  ACCESS_DENIED: { kind: 'denied', doc: 'the registry refused; the message says whether credentials were sent' },
  CREDENTIALS_INVALID: { kind: 'usage', doc: 'a credentials file cannot be read or is malformed' },
  CONFIG_INVALID: { kind: 'usage', doc: 'a configuration file or variable is malformed' },
  PERMISSION: { kind: 'denied', doc: 'the operating system refused' },
  REGISTRY_UNAVAILABLE: { kind: 'unavailable', doc: 'the registry cannot be reached or keeps failing' },
  ADDRESS_BUSY: { kind: 'busy', doc: 'another program listens on the address' },
  REGISTRY_PROTOCOL: { kind: 'unavailable', doc: 'the registry answered outside the protocol' },

  MOUNTPOINT_INVALID: { kind: 'usage', doc: 'the mountpoint is missing, no directory or not empty' },
  MOUNTPOINT_BUSY: { kind: 'busy', doc: 'something is mounted there already, or processes use it' },
  NOT_MOUNTED: { kind: 'not-found', doc: 'no image of naiad is mounted there' },
  MOUNT_LOST: { kind: 'failed', doc: 'daemon and keeper died at once, and what was mounted could not go on' },
  MOUNT_FAILED: { kind: 'failed', doc: 'the kernel or libfuse refused the mount' },
  DRIVER_UNAVAILABLE: { kind: 'unsupported', doc: 'FUSE, a library or a kernel feature is missing' },
  RUNTIME_MISSING: { kind: 'unsupported', doc: 'neither runc nor crun is installed' },
  ADDON_MISSING: { kind: 'unsupported', doc: "naiad's native addon is not built" },
  DAEMON_RUNNING: { kind: 'busy', doc: 'another daemon serves the state directory' },
  DAEMON_MISSING: { kind: 'not-found', doc: 'no daemon serves the state directory' },
  DAEMON_FAILED: { kind: 'failed', doc: 'the daemon could not be started or does not answer' },
  KEEPER_LOST: { kind: 'failed', doc: 'the process that keeps the events of mounts is gone' },
  KEEPER_HUNG: { kind: 'failed', doc: 'the process that keeps the events of mounts is there and does not answer' },
  KEEPER_VERSION: { kind: 'unsupported', doc: 'the process that keeps the events of mounts is of another version' },
  KEEPER_REFUSED: { kind: 'failed', doc: 'the process that keeps the events of mounts refused a call' },
  CACHE_LOCKED: { kind: 'busy', doc: 'another process owns the cache directory' },
  CACHE_INVALID: { kind: 'corrupt', doc: 'a cache file is not of the layout this version writes' },
  TARGET_EXISTS: { kind: 'usage', doc: 'the target exists and would be overwritten' },
  TRACE_INVALID: { kind: 'corrupt', doc: 'a trace or a list of paths is malformed or cut short' },
  TRACE_UNSUPPORTED: { kind: 'unsupported', doc: 'a trace of a version naiad does not read' },
  TRACE_UNUSABLE: { kind: 'usage', doc: 'the image has nothing of what the trace names' },
  TRACE_NOT_FOUND: { kind: 'not-found', doc: 'the image has no such trace beside it' },
  NO_SPACE: { kind: 'exhausted', doc: 'the file system is full' },
} as const satisfies Record<string, { kind: Kind; doc: string }>;

export type Code = keyof typeof CODES;

export interface NaiadErrorOptions {
  /** What the user can do about it, one sentence. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** A failure a user can reach. The message says what, where, expected and got; never a secret. */
export class NaiadError extends Error {
  readonly code: Code;
  readonly hint: string | undefined;

  constructor(code: Code, message: string, options: NaiadErrorOptions = {}) {
    super(printable(message), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'NaiadError';
    this.code = code;
    this.hint = options.hint;
  }

  get kind(): Kind {
    return CODES[this.code].kind;
  }
}

/** True when `error` is a NaiadError with one of `codes`. */
export function hasCode(error: unknown, ...codes: readonly Code[]): error is NaiadError {
  return error instanceof NaiadError && codes.includes(error.code);
}

/** Names of registries, files and tags come from outside: control characters must not reach a terminal. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: removing them is the point
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd');
}
