// What became of an image that was optimized, for people.
import { formatSize } from '../base/units.ts';
import type { OptimizeReport } from '../convert/optimize.ts';
import { describeApplied, missingLines } from '../trace/applied-text.ts';

export function optimizedText(report: OptimizeReport): string {
  const { hot, files, keptBlobs, droppedBlobs, keptSize, reusedSize } = report;
  const gone = droppedBlobs > 0 ? `; ${droppedBlobs} have nothing left and are gone` : '';
  const reused = reusedSize > 0 ? `, ${formatSize(reusedSize)} were in the target already` : '';
  return [
    `trace: ${describeApplied(report.applied)}`,
    ...missingLines(report.applied),
    `hot blob ${hot.blobId.slice(0, 12)}: ${hot.chunks} chunks of ${files} files, ${formatSize(hot.size)}, ${formatSize(hot.uncompressedSize)} uncompressed`,
    `${keptBlobs} other blobs, ${formatSize(keptSize)}${reused}${gone}`,
    `bootstrap ${formatSize(report.bootstrapSize)}, ${formatSize(report.bootstrapStoredSize)} stored; ${report.seconds.toFixed(2)} s`,
  ].join('\n');
}
