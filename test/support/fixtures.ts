// Images that fixtures/build.mjs makes, and what umoci makes of them: the reference every mount is compared with.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { program, type Requirement, requirement } from './requires.ts';
import { runTool } from './run-tool.ts';

export type FixtureName = 'features' | 'odd-names' | 'debian-python' | 'app-tiny';

const built = new Map<FixtureName, { path: string } | { missing: string }>();

/** Met when this machine has or can make the image; making it takes up to a minute, once. */
export function fixture(name: FixtureName): Requirement {
  return requirement(name, () => {
    const image = build(name);
    return 'missing' in image ? image.missing : undefined;
  });
}

/** The OCI layout of the image; only after `fixture(name)` was met. */
export function fixturePath(name: FixtureName): string {
  const image = build(name);
  if ('missing' in image) throw new Error(image.missing);
  return image.path;
}

function build(name: FixtureName): { path: string } | { missing: string } {
  const known = built.get(name);
  if (known) return known;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['fixtures/build.mjs', name], { encoding: 'utf8' });
  // Exit code 3: this machine lacks something. Anything else is a defect of the fixture.
  if (status !== 0 && status !== 3) throw new Error(`fixtures/build.mjs ${name}: ${stderr}`);
  const image = status === 0 ? { path: stdout.trim() } : { missing: stderr.trim() };
  built.set(name, image);
  return image;
}

export function umoci(): Requirement {
  return program('umoci');
}

/** Unpacks `layout:tag` with umoci into `dir`, which must not exist. */
export async function umociUnpack(layout: string, tag: string, dir: string): Promise<string> {
  await runTool('umoci', ['raw', 'unpack', '--image', `${layout}:${tag}`, dir]);
  return dir;
}

/** The layers of an image as plain tars below `dir`, lowest first. */
export async function layerTars(layout: string, tag: string, dir: string): Promise<string[]> {
  interface Listed {
    readonly digest: string;
    readonly mediaType: string;
    readonly annotations?: Record<string, string>;
  }
  const parse = (path: string) => JSON.parse(readFileSync(join(layout, path), 'utf8')) as Record<string, Listed[]>;
  const blob = (digest: string) => join('blobs', digest.replace(':', '/'));
  const named = parse('index.json').manifests?.find(
    ({ annotations }) => annotations?.['org.opencontainers.image.ref.name'] === tag,
  );
  const layers = named ? (parse(blob(named.digest)).layers ?? []) : [];
  const tars: string[] = [];
  for (const [index, { digest, mediaType }] of layers.entries()) {
    const tar = join(dir, `layer-${index}.tar`);
    const decompress = mediaType.endsWith('gzip') ? 'gzip -dc' : mediaType.endsWith('zstd') ? 'zstd -dc' : 'cat';
    await runTool('bash', ['-ec', `${decompress} < ${join(layout, blob(digest))} > ${tar}`]);
    tars.push(tar);
  }
  return tars;
}
