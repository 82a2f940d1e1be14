// What this machine's Node consists of, as layers of an image: its shared libraries, its binary, the files that are
// installed with it, and an application on top.
import { lstat, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { systemError } from '../base/system-error.ts';
import { MiB } from '../base/units.ts';
import { sha256Digest } from '../format/oci/digest.ts';
import { runProgram } from './child.ts';

export interface LayerFile {
  /** Absolute, as in the image. */
  readonly path: string;
  readonly mode: number;
  /** Of its content: a file of this machine, bytes, or the target of a symbolic link. */
  readonly content:
    | { readonly file: string; readonly size: number }
    | { readonly bytes: Buffer }
    | { readonly link: string };
}

export interface LayerPlan {
  readonly what: string;
  readonly files: readonly LayerFile[];
}

/** How the program in the image is started, with paths as in the image. */
export interface Program {
  readonly node: string;
  /** The dynamic loader; undefined for a Node that needs none. */
  readonly loader: string | undefined;
  readonly libraryDirs: readonly string[];
  readonly script: string;
  /** What the program prints, if all it reads is right. */
  readonly output: string;
}

export interface NodePlan {
  /** From the base up. */
  readonly layers: readonly LayerPlan[];
  readonly program: Program;
}

/** Relative to where Node is installed: what its own archives bring, and what Debian's package reads when it starts. */
const BESIDE_NODE = [
  'share/nodejs/acorn',
  'share/nodejs/cjs-module-lexer',
  'share/nodejs/undici',
  'lib/node_modules/npm',
  'lib/node_modules/corepack',
  'include/node',
  'share/doc/node',
  'share/doc/nodejs',
  'share/man/man1/node.1',
  'share/man/man1/node.1.gz',
];
/** Enough for all that Node's archives hold; the demo should not take longer where there is more. */
const BESIDE_NODE_SIZE_MAX = 150 * MiB;

/** Looks at the Node that runs this. @throws NaiadError COMMAND_FAILED, PATH_NOT_FOUND, PERMISSION, CANCELED */
export async function planNodeImage(signal: AbortSignal): Promise<NodePlan> {
  const node = await realpath(process.execPath);
  const objects = await sharedObjects(node, signal);
  const loader = objects.find((path) => /^ld(-|64\.|\.)/.test(basename(path)));
  const libraries = await Promise.all(objects.map((path) => fileOf(path)));
  const application = planApplication();
  return {
    layers: [
      { what: 'shared libraries', files: libraries },
      { what: 'the node binary', files: [await fileOf(node)] },
      { what: 'npm, headers and documents', files: await filesBeside(dirname(dirname(node))) },
      { what: 'an application', files: application.files },
    ],
    program: {
      node,
      loader,
      libraryDirs: [...new Set(objects.map((path) => dirname(path)))],
      script: application.script,
      output: application.output,
    },
  };
}

/** The libraries a fresh Node has loaded, its loader included, by the paths it found them under. */
async function sharedObjects(node: string, signal: AbortSignal): Promise<string[]> {
  const script = 'process.stdout.write(JSON.stringify(process.report.getReport().sharedObjects))';
  // Nothing that this environment would preload.
  const { stdout } = await runProgram(node, ['-e', script], { env: { PATH: process.env.PATH }, signal });
  const paths = JSON.parse(stdout) as string[];
  return [...new Set(paths.filter((path) => path.startsWith('/') && path !== node))].sort();
}

/** The file at `path`, links followed, to be a plain file of that name in the image. */
async function fileOf(path: string): Promise<LayerFile> {
  try {
    const { size } = await stat(path);
    return { path, mode: 0o755, content: { file: path, size } };
  } catch (error) {
    throw systemError(error, `looking at ${path}`);
  }
}

async function filesBeside(prefix: string): Promise<LayerFile[]> {
  const files: LayerFile[] = [];
  let size = 0;
  for (const name of BESIDE_NODE) {
    for await (const file of walk(join(prefix, name))) {
      if ('file' in file.content) size += file.content.size;
      if (size > BESIDE_NODE_SIZE_MAX) return files;
      files.push(file);
    }
  }
  return files;
}

/** Files and links at or below `path`, in a fixed order. What is not there or may not be read is passed over. */
async function* walk(path: string): AsyncGenerator<LayerFile> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSymbolicLink()) yield { path, mode: 0o777, content: { link: await readlink(path) } };
  // What is for its owner alone stays here.
  else if (found?.isFile() && (found.mode & 0o004) !== 0) {
    const mode = (found.mode & 0o111) === 0 ? 0o644 : 0o755;
    yield { path, mode, content: { file: path, size: found.size } };
  } else if (found?.isDirectory()) {
    const names: string[] = await readdir(path).catch(() => []);
    for (const name of names.sort()) yield* walk(join(path, name));
  }
}

const SCRIPT = `// Starts as small services do: a few modules, a file of its own, one line.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import 'node:http';
import { gunzipSync, gzipSync } from 'node:zlib';

const text = readFileSync(new URL('./greeting.txt', import.meta.url));
const same = gunzipSync(gzipSync(text));
const digest = createHash('sha256').update(same).digest('hex');
console.log(\`Node \${process.version}: \${text.toString().trim()} (sha256:\${digest})\`);
`;

function planApplication(): { files: LayerFile[]; script: string; output: string } {
  const greeting = Buffer.from('hello from an image that need not be here to start\n');
  const script = '/app/main.mjs';
  return {
    files: [
      { path: script, mode: 0o644, content: { bytes: Buffer.from(SCRIPT) } },
      { path: '/app/greeting.txt', mode: 0o644, content: { bytes: greeting } },
    ],
    script,
    output: `Node ${process.version}: ${greeting.toString().trim()} (${sha256Digest(greeting)})\n`,
  };
}
