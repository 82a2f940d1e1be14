// House rules that neither the compiler nor the linter knows.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { filesBelow, importsOf, textOf, withoutComments } from './support/sources.ts';

const CODE = filesBelow(['src', 'test', 'scripts', 'native'], ['.ts', '.mjs', '.cc', '.h']);
const SOURCES = filesBelow(['src'], ['.ts']);
const PAGES = ['README.md', 'native/README.md', ...filesBelow(['docs', 'fixtures'], ['.md'])].filter(existsSync);

/** Folders and files of the project's root, those that are made included. */
const ROOT = [
  ...['src', 'native', 'fixtures', 'test', 'docs', 'scripts', 'node_modules', 'dist'],
  ...['README.md', 'LICENSE', 'package.json', 'package-lock.json', 'tsconfig.json', 'biome.json'],
];

const FILE_LINES_MAX = 500;
/** What no import leads to, and why it is there all the same. */
const ENTRIES = [
  'src/cli/naiad.ts', // the command
  'src/cli/commands-page.ts', // makes a page of docs
  'src/cli/errors-page.ts', // makes a page of docs
  'src/format/all-records.ts', // makes a page of docs
  'src/format/layout-header.ts', // makes a header of the addon
  'src/registry/undici-parts.d.ts', // types of modules that undici does not declare
  'src/daemon/daemon-main.ts', // the process behind all mounts
  'src/bench/coldstart/link-main.ts', // processes of a benchmark
  'src/bench/coldstart/probe-main.ts',
  'src/bench/coldstart/pull-main.ts',
];

test('tidy: the root has what it is known to have', () => {
  const others = readdirSync('.').filter((name) => !name.startsWith('.') && !ROOT.includes(name));
  assert.deepEqual(others, []);
});

test('tidy: no file of code is longer than it can be read', () => {
  const long = CODE.map((path) => ({ path, lines: textOf(path).split('\n').length })).filter(
    ({ lines }) => lines > FILE_LINES_MAX,
  );
  assert.deepEqual(long, []);
});

test('tidy: offsets within records are written in src/format only', () => {
  const accessor =
    /\.(?:get|set|read|write)(?:Big)?(?:U?[Ii]nt|Float|Double)\d*(?:LE|BE)?\((?:[^()]*,\s*)?[1-9]\d*[,)]/;
  // Masks and magic numbers are no offsets; what is added or cut at is one.
  const hexadecimal = /(?:[+-] |\.(?:subarray|slice)\()0x[0-9a-f]+\b/i;
  const found = SOURCES.filter((path) => !path.startsWith('src/format/')).flatMap((path) =>
    withoutComments(textOf(path))
      .split('\n')
      .flatMap((line, index) =>
        accessor.test(line) || hexadecimal.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [],
      ),
  );
  assert.deepEqual(found, []);
});

test('tidy: every file of src is used', () => {
  const reached = new Set<string>();
  const visit = (path: string) => {
    if (reached.has(path) || !existsSync(path)) return;
    reached.add(path);
    importsOf(path).files.forEach(visit);
  };
  ENTRIES.forEach(visit);
  assert.deepEqual(
    SOURCES.filter((path) => !reached.has(path)),
    [],
  );
});

test('tidy: every imported file is there', () => {
  const missing = SOURCES.flatMap((path) =>
    importsOf(path)
      .files.filter((file) => !existsSync(file))
      .map((file) => `${path}: ${file}`),
  );
  assert.deepEqual(missing, []);
});

test('tidy: the package has every native program that is started', () => {
  const { files } = JSON.parse(textOf('package.json')) as { files: string[] };
  const programs = SOURCES.flatMap((path) => [...textOf(path).matchAll(/nativeProgram\('([^']+)'\)/g)]).map(
    ([, name]) => name,
  );
  assert.ok(programs.length > 0);
  assert.deepEqual(
    programs.filter((name) => !files.includes(`native/build/Release/${name}`)),
    [],
  );
});

test('tidy: pages made from tables are current', () => {
  execFileSync(process.execPath, ['scripts/docs.mjs', '--check'], { stdio: ['ignore', 'inherit', 'pipe'] });
});

test('tidy: a page has one title, on its first line', () => {
  const wrong = PAGES.filter((path) => {
    const titles = withoutFences(textOf(path)).match(/^# .*/gm) ?? [];
    return titles.length !== 1 || !textOf(path).startsWith('# ');
  });
  assert.deepEqual(wrong, []);
});

test('tidy: links between pages lead somewhere', () => {
  const broken = PAGES.flatMap((path) => {
    const links = [...withoutFences(textOf(path)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target as string);
    return links.filter((link) => !isFine(path, link)).map((link) => `${path}: ${link}`);
  });
  assert.deepEqual(broken, []);
});

function isFine(page: string, link: string): boolean {
  if (/^[a-z]+:/.test(link)) return true;
  const [target = '', anchor] = link.split('#');
  const file = target === '' ? page : join(dirname(page), target);
  if (!existsSync(file)) return false;
  return anchor === undefined || headingAnchors(file).includes(anchor);
}

/** As GitHub makes them: lower case, punctuation dropped, spaces to dashes. */
function headingAnchors(path: string): string[] {
  const headings = withoutFences(textOf(path)).match(/^#+ .*/gm) ?? [];
  return headings.map((heading) =>
    heading
      .replace(/^#+ /, '')
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

function withoutFences(page: string): string {
  return page.replace(/^```[\s\S]*?^```/gm, '');
}

test('tidy: nothing names the machine it was written on', () => {
  const everything = [...CODE, ...PAGES, 'package.json', 'package-lock.json', '.ci/run', 'biome.json', 'tsconfig.json'];
  const personal = /\/home\/[a-z]+\/|\/Users\/[A-Za-z]+\//;
  const named = everything.filter((path) => textOf(path).includes(`${process.cwd()}/`) || personal.test(textOf(path)));
  assert.deepEqual(named, []);
});

test('tidy: the lock file holds versions and hashes, no download addresses', () => {
  assert.doesNotMatch(textOf('package-lock.json'), /"resolved"/);
});

test('tidy: the lock file names the binaries of every platform, without which npm ci refuses it', () => {
  const { packages } = JSON.parse(textOf('package-lock.json')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const missing = Object.values(packages)
    .flatMap(({ optionalDependencies }) => Object.keys(optionalDependencies ?? {}))
    .filter((name) => !packages[`node_modules/${name}`]);
  assert.deepEqual(missing, []);
});

test('tidy: dependencies are pinned, each with its reason on a page', () => {
  const manifest = JSON.parse(textOf('package.json')) as Record<string, Record<string, string>>;
  const reasons = textOf('docs/decisions/0002-dependencies.md');
  for (const group of ['dependencies', 'optionalDependencies', 'devDependencies']) {
    for (const [name, version] of Object.entries(manifest[group] ?? {})) {
      assert.match(version, /^\d+\.\d+\.\d+$/, `${name} is pinned`);
      assert.ok(reasons.includes(name) || name.startsWith('@types/'), `0002-dependencies.md says why ${name}`);
    }
  }
});
