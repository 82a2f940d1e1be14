// How a registry wants its blobs: what is known beforehand, and what was learned from its answers.
import { UPLOAD_CHUNK_SIZE } from '../base/limits.ts';

/** `put`: all bytes with the PUT; `stream`: all by one PATCH; `chunks`: by PATCHes of a bounded size. */
export const UPLOAD_WAYS = ['put', 'stream', 'chunks'] as const;
export type UploadWay = (typeof UPLOAD_WAYS)[number];

/** What was learned of a registry by pushing to it. */
export interface UploadHabits {
  way: UploadWay;
  /** Of `chunks`. */
  chunkSize: number;
}

/** Registries that are known to refuse large bodies, so that none is sent in vain. Others are learned. */
const KNOWN_HABITS: readonly (readonly [host: RegExp, habits: UploadHabits])[] = [
  [/\.azurecr\.(io|cn|us)$/, { way: 'chunks', chunkSize: UPLOAD_CHUNK_SIZE }],
];

/** Of a registry that was asked nothing yet. The caller keeps in it what it learns. */
export function uploadHabits(host: string): UploadHabits {
  const known = KNOWN_HABITS.find(([pattern]) => pattern.test(host))?.[1];
  return { ...(known ?? { way: 'put', chunkSize: UPLOAD_CHUNK_SIZE }) };
}
