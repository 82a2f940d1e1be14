// Optimizing between places as a user names them.
import type { Trace } from '../format/trace/trace.ts';
import { openConvertedImage } from '../transport/image.ts';
import { refuseOnePlace } from '../transport/locate.ts';
import { type OpenOptions, openTarget } from '../transport/open.ts';
import type { ConvertHooks } from './convert.ts';
import { type OptimizeOptions, type OptimizeReport, optimize } from './optimize.ts';
import { checkLevel } from './options.ts';

export interface OptimizeReferenceOptions extends Pick<OpenOptions, 'registry'>, Pick<OptimizeOptions, 'level'> {
  /** How that of the target is reached, when otherwise. */
  readonly targetRegistry?: OpenOptions['registry'];
  readonly platform?: string | undefined;
}

export interface OptimizeReferenceReport extends OptimizeReport {
  readonly source: string;
  readonly target: string;
}

/**
 * Optimizes the image `from` for `trace`, as `to`.
 * @throws NaiadError USAGE when both are one place; NOT_CONVERTED; TRACE_UNUSABLE; what opening and putting throw
 */
export async function optimizeReference(
  from: string,
  to: string,
  trace: Trace,
  options: OptimizeReferenceOptions,
  hooks: ConvertHooks,
): Promise<OptimizeReferenceReport> {
  const { signal } = hooks;
  const { platform, level, registry, targetRegistry = registry } = options;
  checkLevel(level);
  refuseOnePlace(
    from,
    to,
    'Give the optimized image another name: the next trace is recorded of the one it came from.',
  );
  await using image = await openConvertedImage(from, { platform, signal, ...(registry && { registry }) });
  await using target = await openTarget(to, { signal, ...(targetRegistry && { registry: targetRegistry }) });
  const report = await optimize(image, trace, target, { level }, hooks);
  return { source: image.name, target: target.name, ...report };
}
