// A credential helper as docker and podman start one, that keeps what it is given in a file beside itself.
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

export interface HelperDouble {
  readonly name: string;
  /** PATH with the helper on it. */
  readonly path: string;
  /** What it keeps, by server. */
  kept(): Record<string, { Username: string; Secret: string }>;
  /** Words and input of every call. */
  calls(): { readonly words: string[]; readonly input: string }[];
}

const PROGRAM = (directory: string) => `#!${process.execPath}
const fs = require('node:fs');
const [kept, calls] = ['kept.json', 'calls.jsonl'].map((name) => ${JSON.stringify(directory)} + '/' + name);
const read = (path) => JSON.parse(fs.readFileSync(path, 'utf8'));
const input = fs.readFileSync(0, 'utf8');
const words = process.argv.slice(2);
// Helpers may run at once: a line is added whole.
fs.appendFileSync(calls, JSON.stringify({ words, input }) + '\\n');
const all = read(kept);
if (words[0] === 'store') {
  const { ServerURL, Username, Secret } = JSON.parse(input);
  fs.writeFileSync(kept, JSON.stringify({ ...all, [ServerURL]: { Username, Secret } }));
} else if (!all[input.trim()]) {
  process.stdout.write('credentials not found in native keychain\\n');
  process.exitCode = 1;
} else if (words[0] === 'get') process.stdout.write(JSON.stringify({ ServerURL: input, ...all[input.trim()] }));
else if (words[0] === 'erase') fs.writeFileSync(kept, JSON.stringify({ ...all, [input.trim()]: undefined }));
`;

/** Makes `docker-credential-test` in a directory of its own below `dir`. */
export function credentialHelper(dir: string, kept: ReturnType<HelperDouble['kept']> = {}): HelperDouble {
  const directory = join(dir, 'helper');
  mkdirSync(directory);
  writeFileSync(join(directory, 'kept.json'), JSON.stringify(kept));
  writeFileSync(join(directory, 'calls.jsonl'), '');
  writeProgram(directory, 'test', PROGRAM(directory));
  const readLines = (path: string) =>
    readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  const read = (name: string) => JSON.parse(readFileSync(join(directory, name), 'utf8'));
  return {
    name: 'test',
    path: `${directory}${delimiter}${process.env.PATH}`,
    kept: () => read('kept.json'),
    calls: () => readLines(join(directory, 'calls.jsonl')),
  };
}

/** Another helper in the same place, of which the test says what it does. */
export function writeProgram(directory: string, name: string, text: string): void {
  const path = join(directory, `docker-credential-${name}`);
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}
