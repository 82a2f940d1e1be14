// What `naiad doctor IMAGE` says of the registry that holds the image.
import { hasCode } from '../base/errors.ts';
import { Registry, type RegistryOptions } from '../registry/transport.ts';
import { locate } from '../transport/locate.ts';
import { probeReference } from '../transport/probe.ts';
import type { Check } from './doctor.ts';

/** Less of a limit than this is worth a warning. */
const QUOTA_LOW_SHARE = 0.1;

/** Checks of the registry of `reference`; none where it is in none, or when it cannot be asked (the image's check says so). */
export async function examineRegistry(
  reference: string,
  options: { readonly registry: RegistryOptions; readonly signal: AbortSignal },
): Promise<Check[]> {
  const place = locate(reference);
  if (place.transport !== 'docker') return [];
  try {
    const probe = await probeReference(reference, { ...options, mayBeKnown: true });
    const { push, redirectsTo, authentication, referrersApi, uploads } = probe;
    const facts = [
      `authentication ${authentication}`,
      `blobs from ${redirectsTo ?? 'the registry itself'}`,
      `referrers ${referrersApi ? 'listed' : 'by the fallback tag'}`,
      ...(uploads || push ? [`uploads ${uploadText(probe)}`] : []),
    ];
    await using registry = new Registry(place.reference.host, options.registry);
    const quota = await registry.quota();
    const name = 'registry';
    const checks: Check[] = [{ name, status: 'ok', detail: `${place.reference.host}: ${facts.join(', ')}` }];
    if (quota?.remaining === undefined) return checks;
    const of = quota.limit === undefined ? '' : ` of ${quota.limit}`;
    const within = quota.windowSec === undefined ? '' : ` in ${Math.round(quota.windowSec / 60)} min`;
    const detail = `${quota.remaining}${of} requests left${within}`;
    const isLow = quota.limit !== undefined && quota.remaining < quota.limit * QUOTA_LOW_SHARE;
    const hint = 'Log in, or put a mirror before the registry: accounts often may ask more than nobody.';
    return [...checks, { name: 'rate limit', status: isLow ? 'warn' : 'ok', detail, ...(isLow && { hint }) }];
  } catch (error) {
    if (hasCode(error, 'CANCELED')) throw error;
    return [];
  }
}

function uploadText({ push, uploads }: Awaited<ReturnType<typeof probeReference>>): string {
  if (uploads?.way === 'chunks') return `in parts of ${uploads.chunkSize / 2 ** 20} MiB`;
  if (uploads) return uploads.way === 'put' ? 'by one PUT' : 'as a stream';
  return push?.put.works ? 'by one PUT' : 'in no way that was tried';
}
