// Imports point down the ranks; siblings do not know each other; nobody imports the command line; there are no circles.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filesBelow, importsOf, textOf, withoutComments } from './support/sources.ts';

/** Folders of `src`, lowest first; those of one row are siblings. docs/architecture.md draws the same. */
const RANKS = [
  ['base'],
  ['format'],
  ['native', 'codec', 'chunk'],
  ['image'],
  ['backend'],
  ['store', 'cache', 'tar', 'keeper', 'container'],
  ['registry', 'registry-server'],
  ['transport'],
  ['trace', 'ready'],
  ['convert', 'mount', 'look', 'bench', 'demo'],
  ['daemon'],
  ['cli'],
];

/** Bytes in, values out: no file, socket, process, thread or clock. */
const PURE = ['format', 'image'];
const PURE_PACKAGES = ['node:crypto', 'node:util', 'node:buffer', 'node:path'];

const SOURCES = filesBelow(['src'], ['.ts']);

function folderOf(path: string): string {
  return path.split('/')[1] as string;
}

function rankOf(folder: string): number {
  return RANKS.findIndex((row) => row.includes(folder));
}

/** Why `from` may not import `to`, or undefined. */
function complaint(from: string, to: string): string | undefined {
  if (!to.startsWith('src/')) return `${from} imports ${to}, which is outside src`;
  const [importer, imported] = [folderOf(from), folderOf(to)];
  if (importer === imported || rankOf(imported) < rankOf(importer)) return undefined;
  return `${from} (rank ${rankOf(importer)}) imports ${to} (rank ${rankOf(imported)})`;
}

test('layering: every folder of src has a rank', () => {
  const folders = [...new Set(SOURCES.map(folderOf))];
  assert.deepEqual(
    folders.filter((folder) => rankOf(folder) === -1),
    [],
  );
});

test('layering: imports point to the own folder or a lower rank', () => {
  const complaints = SOURCES.flatMap((path) => importsOf(path).files.map((file) => complaint(path, file)));
  assert.deepEqual(
    complaints.filter((line) => line !== undefined),
    [],
  );
});

test('layering: no file imports itself by way of others', () => {
  const imports = new Map(SOURCES.map((path) => [path, importsOf(path).files]));
  assert.deepEqual(circles(imports), []);
});

test('layering: a circle of imports is found', () => {
  const imports = new Map([
    ['a', ['b']],
    ['b', ['c', 'd']],
    ['c', ['b']],
    ['d', []],
  ]);
  assert.deepEqual(circles(imports), ['b → c → b']);
});

/** Each circle of imports, once. */
function circles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, above: readonly string[]) => {
    const start = above.indexOf(path);
    if (start !== -1) found.push([...above.slice(start), path].join(' → '));
    if (start !== -1 || done.has(path)) return;
    for (const other of imports.get(path) ?? []) visit(other, [...above, path]);
    done.add(path);
  };
  for (const path of imports.keys()) visit(path, []);
  return found;
}

for (const { from, to, allowed } of [
  { from: 'src/mount/a.ts', to: 'src/mount/b.ts', allowed: true },
  { from: 'src/mount/a.ts', to: 'src/base/b.ts', allowed: true },
  { from: 'src/mount/a.ts', to: 'src/look/b.ts', allowed: false },
  { from: 'src/base/a.ts', to: 'src/format/b.ts', allowed: false },
  { from: 'src/cache/a.ts', to: 'src/cli/b.ts', allowed: false },
  { from: 'src/cache/a.ts', to: 'test/support/b.ts', allowed: false },
]) {
  test(`layering: ${from} ${allowed ? 'may' : 'may not'} import ${to}`, () => {
    assert.equal(complaint(from, to) === undefined, allowed);
  });
}

test('layering: format and image are pure', () => {
  const impure = SOURCES.filter((path) => PURE.includes(folderOf(path))).flatMap((path) => {
    const packages = importsOf(path).packages.filter((name) => name.startsWith('node:'));
    const foreign = packages.filter((name) => !PURE_PACKAGES.includes(name)).map((name) => `${path} imports ${name}`);
    const globals = /\b(process\.env|Date\.now|new Date\(\)|Math\.random|setTimeout|fetch)\b/.exec(
      withoutComments(textOf(path)),
    );
    return globals ? [...foreign, `${path} uses ${globals[0]}`] : foreign;
  });
  assert.deepEqual(impure, []);
});

test('layering: only the addon loader loads the addon, only the renderer prints', () => {
  const rules = [
    { pattern: /\bcreateRequire\b.*\n[\s\S]*naiad\.node/, only: ['src/native/load.ts'] },
    {
      pattern: /\bconsole\.|\bprocess\.std(out|err)\b/,
      only: [
        'src/cli/render.ts',
        'src/cli/main.ts',
        'src/demo/node-files.ts', // holds the program that runs in the demo's image
      ],
    },
  ];
  const found = rules.flatMap(({ pattern, only }) =>
    SOURCES.filter((path) => !only.includes(path) && pattern.test(withoutComments(textOf(path)))),
  );
  assert.deepEqual(found, []);
});
