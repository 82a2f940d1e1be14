// Image archives: an input is a tar, read as an OCI archive when it holds `oci-layout`, else as what `docker save` writes.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NaiadError } from '../../../src/base/errors.ts';
import { MiB } from '../../../src/base/units.ts';
import { openConvertedImage } from '../../../src/transport/image.ts';
import { openSource } from '../../../src/transport/open.ts';
import { readConfig, resolveImage } from '../../../src/transport/resolve.ts';
import type { FuzzTarget } from '../target.ts';

let file: string | undefined;

function write(input: Buffer): string {
  if (file === undefined) {
    const dir = mkdtempSync(join(tmpdir(), 'naiad-fuzz-'));
    process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
    file = join(dir, 'archive.tar');
  }
  writeFileSync(file, input);
  return file;
}

const BLOB_SIZE_MAX = 4 * MiB;

export const archiveTarget: FuzzTarget = {
  name: 'archive',
  async run(input) {
    const transport = input.includes('oci-layout') ? 'oci-archive' : 'docker-archive';
    const reference = `${transport}:${write(input)}`;
    {
      await using source = await openSource(reference);
      const { manifest } = await resolveImage(source, { converted: 'skip', platform: 'linux/amd64' });
      await readConfig(source, manifest);
      for (const layer of manifest.layers) {
        let size = 0;
        for await (const piece of await source.openBlob(layer)) {
          size += piece.length;
          if (size > BLOB_SIZE_MAX) throw new NaiadError('LIMIT_EXCEEDED', 'enough');
        }
      }
    }
    await using image = await openConvertedImage(reference, { platform: 'linux/amd64' });
    for (const { blobId } of image.bootstrap.blobs) await image.blobReader(blobId).readAt({ offset: 0, size: 16 });
  },
  dictionary: [
    ...[
      'manifest.json',
      'index.json',
      'oci-layout',
      'blobs/sha256/',
      '../',
      '"Layers":[]',
      '"Config":""',
      '"RepoTags":null',
    ],
    ...['"size":', '"digest":"sha256:', '[[[[', 'null', '"mediaType":"', '\0'.repeat(512)],
  ],
  // Big enough for the seeds, which are whole images.
  inputSizeMax: 256 * 1024,
};
