// How much of a trace applies to an image, for people.
import { formatSize } from '../base/units.ts';
import type { TraceApplied } from '../image/trace-chunks.ts';

/** In a sentence, for people. */
export function describeApplied(applied: TraceApplied): string {
  const { touches, byContent, byPath, missing, tracedFiles, appliedFiles, tracedBytes, appliedBytes } = applied;
  if (touches === 0) return 'it is empty';
  const share = (count: number) => `${Math.round((count / touches) * 100)} %`;
  const parts = [
    ...(byContent > 0 ? [`${byContent} of ${touches} touches by content (${share(byContent)})`] : []),
    ...(byPath > 0 ? [`${byPath} by path (${share(byPath)})`] : []),
  ];
  if (parts.length === 0) return 'nothing of it applies';
  const all = `${parts.join(' and ')} apply`;
  if (missing === 0) return all;
  const helped = [
    ...(tracedFiles > 0 ? [`${appliedFiles} of ${tracedFiles} files`] : []),
    ...(tracedBytes > 0 ? [`${formatSize(appliedBytes)} of ${formatSize(tracedBytes)}`] : []),
  ];
  return `${all}, ${missing} do not (${share(missing)}): ${helped.join(', ')}`;
}

/** Some of the files of which nothing applies, a line each. */
export function missingLines({ tracedFiles, appliedFiles, missingPaths }: TraceApplied): string[] {
  const more = tracedFiles - appliedFiles - missingPaths.length;
  const lines = missingPaths.map((path) => `  not there any more: ${path}`);
  return more > 0 ? [...lines, `  … and ${more} more files`] : lines;
}
