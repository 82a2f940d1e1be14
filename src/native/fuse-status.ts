// What a session of native/src/fuse tells of itself.

/** What kernel and server agreed on when a mount was made; `minor` 0 before that. */
export interface FuseNegotiated {
  readonly minor: number;
  /** FUSE_… flags of INIT. */
  readonly flags: number;
}

/** What a session did since it began. */
export interface FuseStatus extends FuseNegotiated {
  readonly requests: number;
  /** Reads of files, those of them that had to wait, and bytes given. */
  readonly reads: number;
  readonly waits: number;
  readonly readBytes: number;
  /** Answers with EIO that are not a fetch's fault. */
  readonly errors: number;
  /** Reads that wait now. */
  readonly parked: number;
}
