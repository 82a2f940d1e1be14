// Connections, tokens and what is known of the health of registries: of one client alone, or shared by all in a process that reach
// a registry in the same way and with the same credentials.
import { createHash } from 'node:crypto';
import { type HostConfig, readHosts } from './hosts-file.ts';
import { type ConnectionOptions, Routing } from './routing.ts';

/** A routing in use. Disposing gives it back. */
export interface RoutingLease extends AsyncDisposable {
  readonly routing: Routing;
}

/** A routing for one client. @throws NaiadError CONFIG_INVALID */
export async function ownRouting(host: string, options: ConnectionOptions): Promise<RoutingLease> {
  const routing = await Routing.open(host, options, await readHosts(host, options));
  return { routing, [Symbol.asyncDispose]: () => routing[Symbol.asyncDispose]() };
}

interface Entry {
  users: number;
  readonly opened: Promise<Routing>;
}

export class Connections {
  readonly #entries = new Map<string, Entry>();

  /** Registries that are connected to, in however many ways. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * `identity` says whose credentials `options` finds: only those who give the same one share. What is configured for the host is
   * read anew, and those who find the same share.
   * @throws NaiadError CONFIG_INVALID
   */
  async lease(host: string, options: ConnectionOptions, identity: string): Promise<RoutingLease> {
    const configs = await readHosts(host, options);
    const key = keyOf(host, options, identity, configs);
    const entry = this.#entries.get(key) ?? { users: 0, opened: Routing.open(host, options, configs) };
    this.#entries.set(key, entry);
    entry.users++;
    try {
      return { routing: await entry.opened, [Symbol.asyncDispose]: () => this.#release(key, entry) };
    } catch (error) {
      await this.#release(key, entry);
      throw error;
    }
  }

  async #release(key: string, entry: Entry): Promise<void> {
    if (--entry.users > 0) return;
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
    const routing = await entry.opened.catch(() => undefined);
    await routing?.[Symbol.asyncDispose]();
  }
}

function keyOf(
  host: string,
  options: ConnectionOptions,
  identity: string,
  configs: readonly HostConfig[] | undefined,
): string {
  const { authFile, certsDir, plainHttp, insecureSkipVerify, plainHttpFallback, dragonfly } = options;
  const ways = [authFile, certsDir, plainHttp, insecureSkipVerify, plainHttpFallback, dragonfly];
  const parts = [host, identity, ...ways, configs];
  // What identifies somebody may be secret.
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** Variables that change from command to command and say nothing of credentials. */
const VOLATILE = new Set([
  ...['PWD', 'OLDPWD', 'SHLVL', '_', 'TERM', 'COLUMNS', 'LINES', 'LS_COLORS', 'WINDOWID', 'TMUX', 'TMUX_PANE'],
  ...['SSH_CLIENT', 'SSH_CONNECTION', 'SSH_TTY', 'XDG_SESSION_ID', 'INVOCATION_ID', 'JOURNAL_STREAM', 'TRACEPARENT'],
]);

/** Whose credentials are found with an environment: helper programs may look at any of its variables. */
export function identityOf(env: Readonly<Record<string, string | undefined>>): string {
  return JSON.stringify(
    Object.entries(env)
      .filter(([name]) => !VOLATILE.has(name))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}
