// What a benchmark tells of the machine it ran on.
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { runCommand } from '../command.ts';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memory: string;
  readonly kernel: string;
  readonly node: string;
  readonly runtime: string;
}

/** Bytes that all below `directory` take. @throws NaiadError COMMAND_FAILED, CANCELED */
export async function sizeOnDisk(directory: string, signal: AbortSignal): Promise<number> {
  const { stdout } = await runCommand('du', ['-s', '--block-size=1', directory], { signal });
  return Number.parseInt(stdout, 10);
}

/** `runtime` is the path of runc or crun. @throws NaiadError COMMAND_FAILED, CANCELED */
export async function describeMachine(runtime: string, signal: AbortSignal): Promise<Machine> {
  const memory = /^MemTotal:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1];
  return {
    cpu: cpus()[0]?.model.trim() || 'unknown',
    cores: availableParallelism(),
    memory: `${Math.round(Number(memory ?? 0) / 2 ** 20)} GiB`,
    kernel: release(),
    node: process.version,
    runtime: (await runCommand(runtime, ['--version'], { signal })).stdout.split('\n')[0] ?? '',
  };
}
