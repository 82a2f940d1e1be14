// Puts the compiled command, and the daemon, into few files each, libraries included: Node reads, resolves and links every module by
// itself, and a daemon is made of 450. docs/decisions/0009-bundles.md has the figures. Tests import what was compiled, not this.
import { readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { build } from 'esbuild';

const ROOT = dirname(import.meta.dirname);
const OUTPUT = join(ROOT, 'dist/cli');
/** Each apart: what one shares with another would be files of its own again. */
const PROGRAMS = [
  { in: 'dist/src/cli/naiad.js', out: 'main' },
  { in: 'dist/src/daemon/daemon-main.js', out: 'daemon' },
];

/** Files that are named from where a module lies are found from there, and not from the bundle. */
const modulesStayWhereTheyAre = {
  name: 'modules-stay-where-they-are',
  setup({ onLoad }) {
    onLoad({ filter: /\.m?js$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      if (!text.includes('import.meta.url')) return undefined;
      const place = JSON.stringify(relative(OUTPUT, path));
      // In the same line, so that positions stay what they are.
      const own = `const ownUrl = new URL(${place}, bundleUrl).href;`;
      const [shebang = ''] = /^#!.*\n/.exec(text) ?? [];
      return { contents: `${shebang}${own}${text.slice(shebang.length)}`, loader: 'js' };
    });
  },
};

/** What yargs lays out help with. Loading it takes 25 ms, mostly for `Intl.Segmenter`. */
const FOR_HELP = /^(?:cliui|string-width)$/;

/** Functions of modules that are loaded when they are first called. */
const loadedForHelp = {
  name: 'loaded-for-help',
  setup({ onLoad, onResolve }) {
    const namespace = 'when-called';
    onResolve({ filter: FOR_HELP }, ({ path, kind, resolveDir }) => {
      return kind === 'import-statement' ? { path, namespace, pluginData: resolveDir } : undefined;
    });
    onLoad({ filter: FOR_HELP, namespace }, ({ path, pluginData }) => ({
      contents: `export default (...args) => require('${path}').default(...args);`,
      resolveDir: pluginData,
    }));
  },
};

/** What undici loads when a body is a form or a blob, which none of ours is: all of `fetch`, a third of a megabyte. */
const loadedForForms = {
  name: 'loaded-for-forms',
  setup({ onResolve }) {
    onResolve({ filter: /web\/fetch\/body\.js$/ }, () => ({ path: 'undici/lib/web/fetch/body.js', external: true }));
  },
};

for (const program of PROGRAMS) {
  await build({
    absWorkingDir: ROOT,
    entryPoints: [program],
    outdir: OUTPUT,
    bundle: true,
    splitting: true, // What is imported when it is needed is a file of its own.
    chunkNames: '[name]-[hash]',
    format: 'esm',
    platform: 'node',
    target: 'node20',
    legalComments: 'inline',
    define: { 'import.meta.url': 'ownUrl' },
    plugins: [modulesStayWhereTheyAre, loadedForHelp, loadedForForms],
    banner: {
      js: `import { createRequire as requireOf } from 'node:module'; const bundleUrl = import.meta.url, require = requireOf(bundleUrl);`,
    },
    logLevel: 'warning',
  });
}
