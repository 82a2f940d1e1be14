// One suite for all drivers on real images: what is mounted is compared with what umoci and GNU tar unpack, call by call.
// What a run chooses at random follows from a seed that it prints; SEED=… repeats it.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { makeConformanceTree } from '../support/conformance/image.ts';
import { CHECKS, type Check, chooseSeed, Probe } from '../support/conformance/suite.ts';
import { DRIVERS, type DriverTraits, driver } from '../support/drivers.ts';
import { type FixtureName, fixture, fixturePath, layerTars, umoci, umociUnpack } from '../support/fixtures.ts';
import { mountpointsBelow, naiadHome } from '../support/naiad.ts';
import { addon, every, program, type Requirement, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { imageOfTar, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';
import { readTree, type Tree } from '../support/tree.ts';

type ImageName = FixtureName | 'generated';

interface TestImage {
  readonly name: ImageName;
  readonly needs: Requirement;
  /** Checks that ask for what the image does not hold. */
  readonly without: readonly Check[];
  /** Directories whose every byte is compared, when all would take too long: the checks read everywhere. */
  readonly parts?: readonly string[];
  /** Makes the truth below `dir` and returns the source to convert. */
  prepare(dir: string): Promise<string>;
}

const unpacked = (name: FixtureName) => async (dir: string) => {
  const source = fixturePath(name);
  await umociUnpack(source, 'latest', join(dir, 'truth'));
  return `oci:${source}:latest`;
};

const IMAGES: readonly TestImage[] = [
  {
    name: 'features',
    needs: every(umoci(), fixture('features')),
    without: ['execve', 'deep paths', 'set-user-ID'],
    prepare: unpacked('features'),
  },
  {
    name: 'odd-names',
    needs: every(program('tar'), fixture('odd-names')),
    without: ['execve', 'deep paths', 'set-user-ID'],
    async prepare(dir) {
      const truth = join(dir, 'truth');
      mkdirSync(truth);
      for (const tar of await layerTars(fixturePath('odd-names'), 'latest', dir)) {
        await runTool('tar', ['--xattrs', '--xattrs-include=*', '--numeric-owner', '-C', truth, '-xpf', tar]);
      }
      // The one whiteout of the upper layer, by hand; it changes the time of the root.
      const whiteout = `rm $'goes-\\xe9' $'.wh.goes-\\xe9' && touch -d '2023-11-14 22:13:20.123456789 UTC' .`;
      await runTool('bash', ['-ec', whiteout], { cwd: truth });
      return `oci:${fixturePath('odd-names')}:latest`;
    },
  },
  {
    name: 'debian-python',
    needs: every(umoci(), fixture('debian-python')),
    without: ['deep paths', 'set-user-ID'],
    prepare: unpacked('debian-python'),
  },
  {
    name: 'generated',
    needs: every(addon(), program('tar')),
    without: ['xattrs'],
    parts: ['sizes', 'bin', 'deeper'],
    async prepare(dir) {
      makeConformanceTree(join(dir, 'truth'));
      const tar = join(dir, 'truth.tar');
      // Holes are not read: they are gigabytes.
      await runTool('tar', ['-C', join(dir, 'truth'), '--sparse', '--format=pax', '--numeric-owner', '-cf', tar, '.']);
      writeSmallLayout(join(dir, 'source'), imageOfTar(readFileSync(tar)), 'x');
      return `oci:${join(dir, 'source')}:x`;
    },
  },
];

const needs = every(root(), program('python3'), program('getfattr'));
const seed = chooseSeed();
const scratch = temporaryDir('conformance');
chmodSync(scratch.path, 0o755); // Another user looks in as well.
after(() => scratch[Symbol.dispose]());

for (const image of IMAGES) {
  describe(image.name, () => {
    const dir = join(scratch.path, image.name);
    const truth = join(dir, 'truth');
    const converted = `oci:${join(dir, 'layout')}:x`;
    const prepared = lazily(async () => {
      mkdirSync(dir);
      const source = await image.prepare(dir);
      await using naiad = naiadHome(join(dir, 'home'));
      await naiad.run(['convert', '--quiet', '--level=1', source, converted]);
    });
    const trees = new Map<string, Promise<Tree>>();
    const truthOf = (part: string) => {
      const tree = trees.get(part) ?? readTree(join(truth, part));
      trees.set(part, tree);
      return tree;
    };
    for (const traits of DRIVERS)
      describe(traits.name, () => conformance(image, traits, { dir, truth, converted, prepared, truthOf }));
  });
}

interface Place {
  readonly dir: string;
  readonly truth: string;
  readonly converted: string;
  readonly prepared: () => Promise<void>;
  /** What is below `part` of the truth, read once for all drivers. */
  readonly truthOf: (part: string) => Promise<Tree>;
}

/** The suite for one driver on one image, mounted once with a cache that is empty. */
function conformance(image: TestImage, traits: DriverTraits, at: Place): void {
  const { name } = traits;
  const requirements = every(needs, image.needs, driver(name));
  // Of names that are no text another test tells what they turn into.
  if (image.name === 'odd-names' && !traits.byteNames) return;
  const mountpoint = join(at.dir, name, 'mnt');
  const naiad = naiadHome(join(at.dir, name));
  const probe = new Probe({ truth: at.truth, mountpoint, seed });
  const mounted = lazily(async () => {
    await at.prepared();
    mkdirSync(mountpoint, { recursive: true });
    await naiad.mount(at.converted, mountpoint, '--quiet', `--driver=${name}`);
  });
  after(async () => {
    await probe[Symbol.asyncDispose]();
    await naiad[Symbol.asyncDispose]();
    assert.deepEqual(mountpointsBelow(at.dir), []);
  });

  for (const check of CHECKS.filter((each) => !image.without.includes(each))) {
    test(`${image.name}, ${name}: ${check}`, { ...requirements }, async (t) => {
      await mounted();
      const said = await probe.holds(check);
      if (said !== '') t.diagnostic(`${name}: ${said}`);
    });
  }

  test(`${image.name}, ${name}: the whole tree`, { ...requirements }, async () => {
    await mounted();
    for (const part of image.parts ?? ['']) {
      const [expected, actual] = await Promise.all([at.truthOf(part), readTree(join(mountpoint, part))]);
      traits.assertSameTree(expected, actual);
    }
  });

  test(`${image.name}, ${name}: no error was counted`, { ...requirements }, async () => {
    await mounted();
    const { counters } = await naiad.status(mountpoint);
    assert.equal(counters.errors, 0, counters.lastError);
  });
}

/** Done once, by the first test that needs it: a run of a few tests prepares what they need alone. */
function lazily(prepare: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => {
    done ??= prepare();
    return done;
  };
}
