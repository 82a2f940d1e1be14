// What the registry says no with: the codes of the distribution specification and their statuses.
import { digestComplaint, isDigest } from '../format/oci/digest.ts';

const STATUS = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 400,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  PAGINATION_NUMBER_INVALID: 400,
  RANGE_INVALID: 416,
  SIZE_INVALID: 413,
  TOOMANYREQUESTS: 429,
  UNSUPPORTED: 405,
  UNKNOWN: 500,
} as const;

export type RefusalCode = keyof typeof STATUS;

/** Thrown by a route; the router makes the answer of it. */
export class Refusal extends Error {
  readonly code: RefusalCode;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: RefusalCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.code = code;
    this.headers = headers;
  }

  get status(): number {
    return STATUS[this.code];
  }

  get body(): Buffer {
    return Buffer.from(JSON.stringify({ errors: [{ code: this.code, message: this.message, detail: null }] }));
  }
}

/** @throws Refusal DIGEST_INVALID */
export function checkedDigest(text: string | null): string {
  if (isDigest(text)) return text;
  throw new Refusal('DIGEST_INVALID', digestComplaint(text) ?? 'no digest');
}
