// How much of a trace still applies to an image.
import { openDevices } from '../backend/devices.ts';
import type { Trace } from '../format/trace/trace.ts';
import { matchTrace, type TraceApplied } from '../image/trace-chunks.ts';
import type { ConvertedImage } from '../transport/image.ts';

export interface Staleness extends TraceApplied {
  readonly image: string;
  /** True when the trace was recorded of exactly this image. */
  readonly same: boolean;
}

/** Matches a trace against an open image. @throws what matchTrace and opening the devices throw. */
export async function staleness(trace: Trace, image: ConvertedImage, signal?: AbortSignal): Promise<Staleness> {
  const devices = await openDevices(image.bootstrap, (blobId) => image.blobReader(blobId), signal);
  const { applied } = matchTrace(trace, { bootstrap: image.bootstrap, devices });
  const same = trace.image !== undefined && trace.image === image.manifestDigest;
  return { image: image.name, same, ...applied };
}
