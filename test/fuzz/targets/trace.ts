// Traces and lists of paths, from registries and people, and what they come to in an image.
import { readFileSync } from 'node:fs';
import { parseTrace } from '../../../src/format/trace/path-list.ts';
import { formatTrace } from '../../../src/format/trace/trace.ts';
import { Bootstrap } from '../../../src/image/bootstrap-reader.ts';
import { type BlobRecords, recordsByBlob, tableFromRecords } from '../../../src/image/chunk-records.ts';
import { matchTrace, type TracedImage } from '../../../src/image/trace-chunks.ts';
import type { FuzzTarget } from '../target.ts';

let image: TracedImage | undefined;

/** A small image of ours: its files are those that the seeds name. */
function imageOfSeeds(): TracedImage {
  const bootstrap = Bootstrap.parse(readFileSync('fixtures/fuzz/bootstrap/small'));
  const records = recordsByBlob(bootstrap);
  const devices = bootstrap.blobs.map(({ blobId, blobIndex, uncompressedSize: size, compressor, digester }) => {
    const chunks = tableFromRecords(bootstrap, blobIndex, records[blobIndex] as BlobRecords);
    return { blobId, size, compressor, digester, chunks };
  });
  return { bootstrap, devices };
}

export const traceTarget: FuzzTarget = {
  name: 'trace',
  dictionary: [
    ...['"format":"naiad-trace"', '"version":1', '"touches":', '"runs":', '"chunk":"blake3:', '"path":"/', '"size":'],
    ...['\\\\x00', '/..', '/./', '//', '\n', '"ranges":[[', 'null', '-1', '1e400', '9007199254740993', '\ufffe'],
  ],
  run: (input) => {
    image ??= imageOfSeeds();
    const trace = parseTrace(input);
    matchTrace(trace, image);
    // What was read can be written, and means the same.
    const again = parseTrace(formatTrace(trace));
    if (again.touches.length !== trace.touches.length) throw new Error('a trace changes when it is written');
  },
};
