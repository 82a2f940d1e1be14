// Records of layers out of a build cache: what is accepted becomes a tree, and the tree a bootstrap.
import { LayerBuilder } from '../../../src/convert/layer-builder.ts';
import { readLayerRecord } from '../../../src/convert/layer-record.ts';
import { planBootstrap } from '../../../src/image/bootstrap-writer.ts';
import { FileTree } from '../../../src/image/file-tree.ts';
import { layOver } from '../../../src/image/overlay.ts';
import { IMPLIED_DIRECTORY } from '../../../src/image/tree.ts';
import type { FuzzTarget } from '../target.ts';

const algorithms = { compressor: 'zstd', digester: 'blake3' } as const;
const CHUNK_SIZE = 4096;

async function* inPieces(input: Buffer): AsyncIterable<Buffer> {
  for (let at = 0; at < input.length; at += 777) yield input.subarray(at, at + 777);
}

export const layerRecordTarget: FuzzTarget = {
  name: 'layer-record',
  dictionary: [
    ...['"format":"naiad-layer"', '"version":1', '"entries":', '"chunkCount":', '"kind":"link"', '"kind":"directory"'],
    ...['"path":"', '"target":"', '"chunks":[0', '"size":', '"stored":', '"mode":33188', '.wh.', '..', '/', '\\u0000'],
    ...['\\u1234', '\n', 'null', '-1', '1e400', '9007199254740993', '17592186044416', '"xattrs":[["user.a",""]]'],
  ],
  async run(input) {
    const tree = new FileTree(CHUNK_SIZE);
    const options = { blobIndex: 0, chunkSize: CHUNK_SIZE, ...algorithms };
    const { summary, entries } = await readLayerRecord(inPieces(input), options);
    const builder = new LayerBuilder({ tree, whiteouts: true });
    for await (const { entry, chunks } of entries) await builder.add(entry, async () => chunks);
    const root = tree.addDirectory(IMPLIED_DIRECTORY);
    layOver(tree, root, builder.root);
    const { pieces } = planBootstrap({ tree, root, blobs: [summary.blob], ...algorithms });
    for (const _ of pieces);
  },
};
