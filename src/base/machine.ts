// The machine that a measurement was made on.
import { availableParallelism, cpus, release } from 'node:os';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly kernel: string;
  readonly node: string;
}

export function thisMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() || 'unknown',
    cores: availableParallelism(),
    kernel: release(),
    node: process.version,
  };
}

/** In a line, for people. */
export function machineText({ cores, cpu, kernel, node }: Machine): string {
  return `${cores} cores (${cpu}), Linux ${kernel}, Node ${node}`;
}
