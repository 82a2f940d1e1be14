// Runs the program of the image in a tree: as root with the tree as its root, else by the tree's own loader and libraries.
import { NaiadError } from '../base/errors.ts';
import { runProgram } from './child.ts';
import type { Program } from './node-files.ts';

/** On the clock of performance.now(). */
export interface ProgramTimes {
  readonly firstOutputMs: number;
  readonly endMs: number;
}

/** @throws NaiadError COMMAND_FAILED, CANCELED */
export async function runInTree(
  tree: string,
  program: Program,
  signal: AbortSignal,
): Promise<ProgramTimes & { readonly output: string }> {
  const asRoot = process.geteuid?.() === 0;
  const [command, ...args] = asRoot ? chrooted(tree, program) : loaded(tree, program);
  // A process in the tree would hold the mount: it has nothing to clean up, and ends at once.
  const { stdout, stderr, firstOutputMs } = await runProgram(command, args, {
    env: asRoot
      ? { LD_LIBRARY_PATH: program.libraryDirs.join(':'), PATH: process.env.PATH }
      : { PATH: process.env.PATH },
    stopWith: 'SIGKILL',
    signal,
  });
  const endMs = performance.now();
  if (firstOutputMs !== undefined) return { output: stdout, firstOutputMs, endMs };
  throw new NaiadError('COMMAND_FAILED', `the program in ${tree} printed nothing: ${stderr.trim()}`);
}

function chrooted(tree: string, { node, script }: Program): [string, ...string[]] {
  return ['chroot', tree, node, script];
}

function loaded(tree: string, { node, script, loader, libraryDirs }: Program): [string, ...string[]] {
  const run: [string, string] = [tree + node, tree + script];
  if (loader === undefined) return run;
  return [tree + loader, '--library-path', libraryDirs.map((directory) => tree + directory).join(':'), ...run];
}
