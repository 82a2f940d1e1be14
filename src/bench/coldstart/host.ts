// What a benchmark of starts tells of the machine it ran on, and of its disk.
import { readFileSync } from 'node:fs';
import { type Machine, thisMachine } from '../../base/machine.ts';
import { runCommand } from '../command.ts';

/** With what containers run on. */
export interface Host extends Machine {
  readonly memory: string;
  readonly runtime: string;
}

/** Bytes that all below `directory` take. @throws NaiadError COMMAND_FAILED, CANCELED */
export async function sizeOnDisk(directory: string, signal: AbortSignal): Promise<number> {
  const { stdout } = await runCommand('du', ['-s', '--block-size=1', directory], { signal });
  return Number.parseInt(stdout, 10);
}

/** `runtime` is the path of runc or crun. @throws NaiadError COMMAND_FAILED, CANCELED */
export async function describeHost(runtime: string, signal: AbortSignal): Promise<Host> {
  const memory = /^MemTotal:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1];
  return {
    ...thisMachine(),
    memory: `${Math.round(Number(memory ?? 0) / 2 ** 20)} GiB`,
    runtime: (await runCommand(runtime, ['--version'], { signal })).stdout.split('\n')[0] ?? '',
  };
}
