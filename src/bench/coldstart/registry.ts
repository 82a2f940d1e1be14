// The registry that a benchmark of starts puts behind its link: docker-registry where it is installed, else naiad's own.
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram } from '../../base/find-program.ts';
import { startDockerRegistry, startOwnRegistry } from '../servers.ts';

export interface BenchRegistry extends AsyncDisposable {
  readonly port: number;
  /** `docker-registry` or `naiad registry serve`. */
  readonly what: string;
  /** Brings what it stores into memory: in the field its disk is not this machine's. */
  warm(): void;
}

/** `directory` does not exist. @throws NaiadError COMMAND_FAILED when it does not start */
export async function startBenchRegistry(directory: string, signal: AbortSignal): Promise<BenchRegistry> {
  mkdirSync(directory);
  const server = findProgram('docker-registry')
    ? await startDockerRegistry(directory, { signal, remembers: true })
    : await startOwnRegistry(directory, signal);
  return {
    port: Number(server.host.split(':')[1]),
    what: server.name,
    warm: () => readBelow(directory),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function readBelow(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) readBelow(path);
    else if (entry.isFile()) readFileSync(path);
  }
}
