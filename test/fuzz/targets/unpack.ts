// Images unpacked: whatever they say, nothing outside the target directory changes. Inputs are those of the blob target.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bootstrap } from '../../../src/image/bootstrap-reader.ts';
import { unpackImage } from '../../../src/look/unpack.ts';
import type { FuzzTarget } from '../target.ts';
import { blobTarget, readerOf, splitInput } from './blob.ts';

let place: string | undefined;

function freshPlace(): string {
  if (place === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'naiad-fuzz-'));
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
    place = made;
    mkdirSync(join(made, 'beside'));
    writeFileSync(join(made, 'beside', 'canary'), 'alive');
  }
  rmSync(join(place, 'target'), { recursive: true, force: true });
  return place;
}

export const unpackTarget: FuzzTarget = {
  name: 'unpack',
  seedsOf: 'blob',
  async run(input) {
    const { bytes, blob } = splitInput(input);
    const bootstrap = Bootstrap.parse(bytes);
    const dir = freshPlace();
    // Whether it ends well or not.
    const ended = await unpackImage({ bootstrap, readerOf: () => readerOf(blob), directory: join(dir, 'target') }).then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    const beside = readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter(
      (path) => !/^target(\/|$)/.test(path),
    );
    if (beside.sort().join() !== 'beside,beside/canary')
      throw new Error(`it wrote beside its target: ${beside.join()}`);
    if (readFileSync(join(dir, 'beside', 'canary'), 'utf8') !== 'alive') throw new Error('it wrote into a file beside');
    if (ended) throw ended.error;
  },
  // Names and targets that would lead out, where a name of the same length is replaced.
  dictionary: ['..', '.', '../', '../beside', '../beside/canary', '/', 'a/b', '\0'],
  ...(blobTarget.hotspots ? { hotspots: blobTarget.hotspots } : {}),
};
