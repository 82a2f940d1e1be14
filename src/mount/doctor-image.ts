// Tests a reference as a mount would use it: manifest, bootstrap, and a range out of the middle of a blob.
import type { BlobReader } from '../backend/blob-reader.ts';
import { NaiadError } from '../base/errors.ts';
import { formatSize } from '../base/units.ts';
import type { OpenImageOptions } from '../transport/image.ts';
import { openConvertedImage } from '../transport/image.ts';
import type { Check } from './doctor.ts';

/** Of the largest blob; a whole blob in its place would take far longer. */
const RANGE_SIZE = 4096;
const LATENCY_WARN_MS = 500;

const RANGES_IGNORED: Check = {
  name: 'ranges',
  status: 'fail',
  detail: 'the registry answers a ranged request with the whole blob',
  hint: 'Lazy reading costs more than a pull there: use another registry, or a mirror that honours ranges.',
};

/** Checks of an image, each built on the one before; the first that fails is the last. */
export async function examineImage(reference: string, options: OpenImageOptions): Promise<Check[]> {
  const checks: Check[] = [];
  const began = performance.now();
  try {
    const { dragonfly } = options.registry ?? {};
    if (dragonfly) checks.push(await dragonflyCheck(dragonfly));
    await using image = await openConvertedImage(reference, options);
    const tookMs = Math.round(performance.now() - began);
    const { bootstrap, metadataBytes } = image;
    const detail = `${image.name}: ${formatSize(metadataBytes)} of metadata in ${tookMs} ms`;
    checks.push({ name: 'image', status: 'ok', detail });
    const largest = bootstrap.blobs.toSorted((a, b) => b.compressedSize - a.compressedSize)[0];
    if (largest) {
      checks.push(await rangeCheck(image.blobReader(largest.blobId), largest.compressedSize, options.signal));
      if (image.traffic && image.traffic.rangesIgnored > 0) checks.push(RANGES_IGNORED);
    }
  } catch (error) {
    if (!(error instanceof NaiadError)) throw error;
    checks.push({ name: 'image', status: 'fail', detail: `${error.code}: ${error.message}`, hint: error.hint });
  }
  return checks;
}

async function dragonflyCheck(text: string): Promise<Check> {
  const { dragonflyAddress, dragonflyListens } = await import('../registry/dragonfly.ts');
  const address = dragonflyAddress(text);
  const name = 'dragonfly';
  if (await dragonflyListens(address))
    return { name, status: 'ok', detail: `${address.host} is asked for blobs first` };
  const hint = 'Nothing is broken by it: the registry answers instead. Is dfdaemon running, and is its proxy enabled?';
  return { name, status: 'warn', detail: `nobody listens at ${address.host}`, hint };
}

async function rangeCheck(reader: BlobReader, size: number, signal: AbortSignal | undefined): Promise<Check> {
  const name = 'ranges';
  const range = { offset: Math.floor(size / 2), size: Math.min(RANGE_SIZE, size - Math.floor(size / 2)) };
  const began = performance.now();
  try {
    await reader.readAt(range, signal);
  } catch (error) {
    if (!(error instanceof NaiadError)) throw error;
    return { name, status: 'fail', detail: `${error.code}: ${error.message}`, hint: error.hint };
  }
  const tookMs = Math.round(performance.now() - began);
  const detail = `${formatSize(range.size)} out of the middle of a blob of ${formatSize(size)} in ${tookMs} ms`;
  if (tookMs < LATENCY_WARN_MS) return { name, status: 'ok', detail };
  const hint = 'Each first read waits so long: use a nearer registry or a mirror, or one that honours ranges.';
  return { name, status: 'warn', detail, hint };
}
