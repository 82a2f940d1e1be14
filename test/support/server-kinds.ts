// The registries that real servers are started of: Debian's docker-registry, and, where they are on PATH, Distribution 3 and
// zot.
import { execFileSync } from 'node:child_process';
import { findProgram, type Requirement, requirement } from './requires.ts';
import { dockerRegistry, type ServerOptions, startDistribution, type TestRegistry } from './servers.ts';
import { startZot } from './zot.ts';

export interface ServerKind {
  readonly name: string;
  readonly requires: Requirement;
  start(options: ServerOptions): Promise<TestRegistry>;
  /** Sends readers of blobs elsewhere by itself. */
  readonly redirects: boolean;
  /** Lists referrers, and says so when one is pushed. */
  readonly listsReferrers: boolean;
  /** As a pull-through cache it takes no pushes. */
  readonly cacheRefusesPushes: boolean;
}

export const SERVER_KINDS: readonly ServerKind[] = [
  {
    name: 'docker-registry',
    requires: dockerRegistry(),
    start: (options) => startDistribution('docker-registry', options),
    ...{ redirects: true, listsReferrers: false, cacheRefusesPushes: true },
  },
  {
    name: 'Distribution 3',
    requires: requirement('distribution-3', () => missing('registry', / v?3\./)),
    start: (options) => startDistribution('registry', options),
    ...{ redirects: true, listsReferrers: false, cacheRefusesPushes: true },
  },
  {
    name: 'zot',
    requires: requirement('zot', () => missing('zot', /./)),
    start: startZot,
    ...{ redirects: false, listsReferrers: true, cacheRefusesPushes: false },
  },
];

function missing(program: string, version: RegExp): string | undefined {
  if (!findProgram(program)) return `${program} is not on PATH`;
  const said = execFileSync(program, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  return version.test(said) ? undefined : `${program} on PATH is another version: ${said.trim().slice(0, 80)}`;
}
