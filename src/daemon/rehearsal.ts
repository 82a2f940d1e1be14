// What a first mount runs, run once before anybody waits for it: half of the first mount of a daemon would be Node compiling what it
// has never run. A small image comes out of a registry on loopback, by way of all that brings images, and is forgotten.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { brotliDecompressSync } from 'node:zlib';
import { CacheDirectories } from '../mount/cache-directory.ts';
import { CachePool } from '../mount/cache-pool.ts';
import { type FillResult, fillImage } from '../mount/fill-image.ts';
import { Connections } from '../registry/connections.ts';

/** Manifest, config, blob and bootstrap layer, as `naiad convert` wrote them: one file, whose text repeats. */
const SIZES = [901, 350, 6781, 531];
const IMAGE =
  'G3IhEZWkjBBfL3BzolsHqwPgbJulvYU+qxXlIwbMKOJqX9vrtP6npHwxyXhj3t5hYcmykgvQh6LXrR3Syys5AUoe6gSAIziZzIUkyoQBwGoAoNj2' +
  'A3AAAKjp5ASv2BKvtoAzCxJvniTytCiK/v/vVc/Yx3MCFLKIRjD/3/8y1qJlwbG2zeNJF1ALFu2JdQ7AYgVK2lJPuAVZxyuEfYhXO4CpLhj/gKkj' +
  'aYVhDQv0A2vfscJoMacHMY99MzOsbk438JuT/2A9nbCAFo4D1j9TIUZJT/lkuxr7w0OC/TWFlFeUwoNYeihYmGtnGeSIVUJKoREXiokwOoriulZX' +
  'CpesA1OmijHCApoUBysmNxcgibHA+kmOMM4zmYdfctwbvntkc/ISXT1jUxQsLhVOsTbpNWNOKTG100Dne5DaW/UlDB0s3sXcYpUSmHC4XIGbS/Vp' +
  'lkC+102JgWnFOCG7f6An26mw8iJdOGAFChnjnIvSnurkzYFePlz93p78yETk0ZEh3I6WpGlQwKKiI7QSQhtudEkkoeQs3HBUyRzH0BHcKEiEw0zo' +
  '4nxVuvfN9KS4BpZRpBohO4/5i8ow55dZZp9EQSkQrshLHyvqgTaSnTP/CS0MMk6mo8s8PklhZfi9P8iKu359fLjdr97FmkreMb/aBmHOP0CvuOHZ' +
  '7yXbX/nj+MCsMwjMNRegb7DNiKg93/iXdNAm417L9rLCXAbDpo3YGNZT/lGR5t2lEcDjyuWgpTjrVKhuKg72C5ETWJ2Q6rdNKOu10ASamAgfHwZu' +
  'AVUqIolU1uYRUXOVwZ0TRlfVexENlDJmLMN3as6RKucCX+Z8+78E+l8bRg1cIDCJbBA8LjnKkMDE0NTW3u6YqsWZ4Isg4MFPBxvaedJBESnz0VIW' +
  'cALADjYLoKRCQjCMBhjA347GIDAAAHngKvWHjQAA7yGHDAQGSIF5Ul6H5MMgwtEkNjOCxnfKAwAH3/yHHcNwf6MNAxBoh9B8CEJAwScICgOHpqkw' +
  'Eejwc8na9gst6Yq4fY4JrjQOlRh/E5QwtdXhWRFi7/rbQ4iqo/D3AwMhIDASKbPuOl6/y768WX4XVJPNXQs+o8CH+ce8+7+CMWOLxLoCtthWHQBA' +
  '1RwhsJFCdlb1Ujdyl82wWT8Bb3flwvKllHZG1f5NZhUbNXSdA3bZ27RdmbkF8Z941r8+GCwDU9Te5PS6RkExLbB/DkokYSxm0TyZBKB5ygxolpDm' +
  'lRrTSfEIih03Y+jVlosjEcut2StXCvTeWXx3SDAyrV4MRfS7Pc26KEDlEQSPy8/W7OjhF3KxNwYoNdAyIrv764FBoNEQBtzpEED8WyT5Nr8LsiLO' +
  'wKM1c6oV9Ygm6Ku4ooiR4H9SNUdEEWZKT98xhL6os+RKFRItjIOSS8QQurujgwOSWoKjhQCOyoPa7GQir/RuKWEluMsu3J93uP/Net+73/Oexu3J' +
  'znqsT2TSkKIcb5JSrEy5ktgeDOsqYxFPHWF78B89O8/yE065Cs6Zm4RNrbP4l/F1p1Y9ezhIVppimbX69g7c9NdVl5P82sunafv8I9no4/P/+oPr' +
  '1MZMJKG+/A1Srs/Y49iRtZwYc1t/frKODiUZ1k9SwTL8HJnFXGMznM0CNKybptwqsw7tNrYbaaaWYeZYUtWXsdrPFrOLw5MNWBZTLbzLdBy9V+xl' +
  'Tbsu9ml/rwIgAKG+Iv8tWylGf3vZPpyYqDkaPP/ATenOAv38yTU79rSw+W7Ym7rr92nz6vsxfe8anF/ajD8NPe/v5832djrzcm2tBgwf87BreYQP' +
  'Ljq+dCTxhdILu3NgNc7y8VJ+vX4yT34ylfjpPSnTpw2a2zzRX//ZJjeP7d6Ve3I975vO50c/YYeuC/dLnmtkvu//loNfq1Ue9WT4Fu3zlvx1vWrR' +
  '4Ir+s5+qBR7t3ds+nX4N1lajwwnzO777qdsc/47uxVp802iBU/Y3xfO303t2P/p4srU9m0VjYNhv4oBdTuQADQwA';

/** What takes longer is of no use to the mount that came meanwhile. */
const TIME_MAX_MS = 2000;

/** Keeps everything in `directory`, which it makes and removes. @throws NaiadError, or an error of the system; nothing depends on it. */
export async function rehearse(directory: string): Promise<FillResult> {
  const parts = imageParts();
  const server = createServer((request, response) => answer(parts, request, response));
  try {
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { mode: 0o700 });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const request = {
      image: `docker://127.0.0.1:${port}/rehearsal:1`,
      requestId: 'rehearsal',
      cache: directory,
      // Nothing that is configured for registries is meant for this one.
      registry: { plainHttp: true, certsDir: directory },
      environment: {},
    };
    const context = {
      directories: new CacheDirectories(),
      pool: new CachePool(),
      connections: new Connections(),
      bootstraps: new Map(),
    };
    return await fillImage(request, context, { signal: AbortSignal.timeout(TIME_MAX_MS), onProgress: () => undefined });
  } finally {
    server.close();
    server.closeAllConnections();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** By the last part of the path that asks for them. */
function imageParts(): ReadonlyMap<string, Buffer> {
  const all = brotliDecompressSync(Buffer.from(IMAGE, 'base64'));
  let at = 0;
  const parts = SIZES.map((size) => {
    at += size;
    return all.subarray(at - size, at);
  });
  const byDigest = parts.map((part) => [digestOf(part), part] as const);
  return new Map([['1', parts[0] as Buffer], ...byDigest]);
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** As registries answer: manifests and blobs, also ranges of them. */
function answer(
  parts: ReadonlyMap<string, Buffer>,
  { url = '', headers }: IncomingMessage,
  response: ServerResponse,
): void {
  const part = parts.get(url.slice(url.lastIndexOf('/') + 1));
  if (!part) {
    response.writeHead(404).end();
    return;
  }
  const isManifest = url.includes('/manifests/');
  const type = isManifest ? 'application/vnd.oci.image.manifest.v1+json' : 'application/octet-stream';
  const common = { 'content-type': type, 'docker-content-digest': digestOf(part) };
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
  if (first === undefined) {
    response.writeHead(200, { ...common, 'content-length': part.length }).end(part);
    return;
  }
  const range = part.subarray(Number(first), Number(last) + 1);
  const contentRange = `bytes ${first}-${Number(first) + range.length - 1}/${part.length}`;
  response.writeHead(206, { ...common, 'content-length': range.length, 'content-range': contentRange }).end(range);
}
