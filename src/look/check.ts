// `check`: all invariants of the bootstrap, of every blob's tail, and on request of every chunk.
import type { BlobReader } from '../backend/blob-reader.ts';
import { checkBlobTail } from '../backend/check-blob.ts';
import { openDevices } from '../backend/devices.ts';
import { short } from '../base/bytes.ts';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { Bootstrap } from '../image/bootstrap-reader.ts';
import { checkBootstrap, type Finding } from '../image/check.ts';
import { type BlobRecords, recordsByBlob } from '../image/chunk-records.ts';
import { streamChunks } from './chunk-stream.ts';

export interface CheckReport {
  readonly findings: readonly Finding[];
  readonly names: number;
  readonly files: number;
  /** Chunks the image uses. */
  readonly chunks: number;
  /** Blobs whose tail was checked; 0 when only a bootstrap is at hand. */
  readonly blobs: number;
  /** Chunks whose bytes were fetched and verified. */
  readonly verifiedChunks: number;
}

export interface CheckOptions {
  readonly bootstrapBytes: Uint8Array;
  /** Undefined when only the bootstrap is at hand. */
  readonly blobs?: {
    readonly readerOf: (blobId: string) => BlobReader;
    /** Bytes of the stored blob, where known. */
    readonly sizeOf: (blobId: string) => number | undefined;
  };
  /** Fetch and verify every chunk. */
  readonly data: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (state: { done: number; total: number }) => void;
}

/** Never throws for what is in the image; throws when it cannot be read at all. */
export async function checkImage(options: CheckOptions): Promise<CheckReport> {
  const { findings: found, ...counts } = checkBootstrap(options.bootstrapBytes);
  const findings = [...found];
  const report = { ...counts, blobs: 0, verifiedChunks: 0 };
  // What is wrong with the bootstrap was listed already.
  const bootstrap = await attempt(findings, false, async () =>
    Bootstrap.parse(options.bootstrapBytes, () => undefined),
  );
  if (!bootstrap || !options.blobs) return { ...report, findings };
  const { readerOf, sizeOf } = options.blobs;
  const records = recordsByBlob(bootstrap, () => undefined);
  for (const blob of bootstrap.blobs) {
    const size = sizeOf(blob.blobId);
    if (size === undefined) continue;
    const own = records[blob.blobIndex] as BlobRecords;
    findings.push(...(await checkBlobTail(blob, readerOf(blob.blobId), size, own, options.signal)));
    report.blobs++;
  }
  if (options.data) {
    await attempt(findings, true, async () => {
      report.verifiedChunks = await checkData(bootstrap, readerOf, findings, options);
    });
  }
  return { ...report, findings };
}

async function attempt<T>(findings: Finding[], report: boolean, step: () => Promise<T>): Promise<T | undefined> {
  try {
    return await step();
  } catch (error) {
    if (!(error instanceof NaiadError) || (error.kind !== 'corrupt' && error.kind !== 'unsupported')) throw error;
    if (report) findings.push({ code: error.code, message: error.message, severity: 'error' });
    return undefined;
  }
}

async function checkData(
  bootstrap: Bootstrap,
  readerOf: (blobId: string) => BlobReader,
  findings: Finding[],
  options: CheckOptions,
): Promise<number> {
  const devices = await openDevices(bootstrap, readerOf, options.signal);
  const wanted = devices.map(({ chunks }) =>
    [...Array(chunks.count).keys()].filter((index) => chunks.hasDigest(index)),
  );
  const total = wanted.reduce((sum, indices) => sum + indices.length, 0);
  let done = 0;
  let verified = 0;
  for (const [blobIndex, device] of devices.entries()) {
    const onBad = (index: number, error: NaiadError) => {
      done++;
      findings.push({
        code: error.code,
        message: `${error.message} (blob ${short(device.blobId)}, chunk ${index})`,
        severity: 'error',
      });
    };
    const { signal } = options;
    for await (const _ of streamChunks(device, readerOf(device.blobId), wanted[blobIndex] ?? [], { signal, onBad })) {
      throwIfAborted(signal);
      done++;
      verified++;
      options.onProgress?.({ done, total });
    }
  }
  return verified;
}
