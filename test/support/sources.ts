// The project's own files as text, for the tests that hold house rules against them. Paths are relative to the project's
// root, where tests run.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Started as programs and never imported: what the build writes, as seen from `src`. */
const PROGRAMS = ['cli/main.ts', 'cli/daemon.ts'];

/** Files below `directories` whose names end with one of `endings`, sorted. */
export function filesBelow(directories: readonly string[], endings: readonly string[]): string[] {
  const found: string[] = [];
  for (const directory of directories) {
    if (!existsSync(directory)) continue;
    for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
      if (endings.some((ending) => name.endsWith(ending))) found.push(join(directory, name));
    }
  }
  return found.filter((path) => !path.startsWith('native/build/')).sort();
}

export function textOf(path: string): string {
  return readFileSync(path, 'utf8');
}

/** What a module names: relative modules by their path, packages by their name. Worker files and lazy imports included. */
export function importsOf(path: string): { readonly files: string[]; readonly packages: string[] } {
  const code = withoutComments(textOf(path));
  const patterns = [
    /\b(?:from|import)\s*\(?\s*'([^']+)'/g,
    /\bnew URL\(\s*'([^']+\.[jt]s)',\s*import\.meta\.url/g,
    /\bimport\.meta\.resolve\(\s*'([^']+)'/g,
  ];
  const names = patterns.flatMap((pattern) => [...code.matchAll(pattern)].map(([, name]) => name as string));
  return {
    files: names
      .filter((name) => name.startsWith('.'))
      .map((name) => join(dirname(path), name.replace(/\.js$/, '.ts')))
      .filter((file) => !PROGRAMS.includes(file)),
    packages: names.filter((name) => !name.startsWith('.')),
  };
}

/** Code alone, so that prose about imports is not taken for one. Lines keep their numbers. */
export function withoutComments(code: string): string {
  const blank = (comment: string) => comment.replace(/[^\n]/g, '');
  return code.replace(/\/\*[\s\S]*?\*\//g, blank).replace(/^\s*\/\/.*$/gm, '');
}
