// The conformance suite as a library: what a mounted image must answer, whoever mounted it.
import { join } from 'node:path';
import { runTool } from '../run-tool.ts';

/** Checks of probe.py. Those that read come first, while nothing is cached yet. */
export const CHECKS = [
  ...['random reads', 'concurrent readers', 'randomized', 'mmap', 'O_DIRECT', 'holes', 'copy_file_range', 'execve'],
  ...['readdir', 'names', 'deep paths', 'hard links', 'xattrs', 'other users', 'set-user-ID', 'statfs', 'writes'],
] as const;
export type Check = (typeof CHECKS)[number];

const PROBE = join('test', 'support', 'conformance', 'probe.py');

export interface ProbeOptions {
  /** A directory that holds the same tree. */
  readonly truth: string;
  readonly mountpoint: string;
  /** What is chosen at random follows from it. */
  readonly seed: number;
}

/**
 * Runs one check in a process of its own; what it prints when it holds is returned.
 * @throws Error with the differences, and how to see them again.
 */
export async function probe(check: Check, { truth, mountpoint, seed }: ProbeOptions): Promise<string> {
  const args = ['-B', PROBE, check, truth, mountpoint, `${seed}`];
  const { code, stdout, stderr } = await runTool('python3', args, { okay: [0, 1], timeoutMs: 300_000 });
  if (code !== 0) throw new Error(`seed ${seed}: ${check} does not hold:\n${stdout}${stderr}`);
  return stdout.trim();
}

/** SEED, or one that no run had before. */
export function chooseSeed(): number {
  return Number(process.env.SEED ?? Date.now() % 1_000_000);
}
