// Starting a keeper: a process in a session of its own, which lives on when this one ends.
import { spawn } from 'node:child_process';
import { signalChild } from '../base/child-process.ts';
import { NaiadError } from '../base/errors.ts';
import { keeperProgram } from '../native/keeper.ts';

export interface KeeperProcess {
  /** Undefined when it could not be started. */
  readonly pid: number | undefined;
  /** True when it ended because another keeper serves the socket. */
  taken(): boolean;
  /** Why it ended, if it did. */
  problem(): NaiadError | undefined;
  kill(): void;
}

/** Descriptors 3 and 4 of the child. */
const INHERITED = ['--group', '3', '--journal', '4'];
/** Exit code of a keeper that found another one. */
const TAKEN = 3;

/** Starts a keeper, or with `inherited` one that takes over from a dead one. @throws NaiadError ADDON_MISSING */
export function spawnKeeper(
  options: { readonly socketPath: string; readonly command?: readonly string[] },
  inherited?: { readonly group: number; readonly journal: number },
): KeeperProcess {
  const { socketPath, command } = options;
  const args = [
    ...['--socket', socketPath, '--parent', String(process.pid)],
    ...(inherited ? INHERITED : []),
    ...(command ? ['--', ...command] : []),
  ];
  const child = spawn(keeperProgram(), args, {
    cwd: '/', // Holding the caller's directory would keep it from being unmounted.
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', ...(inherited ? [inherited.group, inherited.journal] : [])],
  });
  child.unref();
  let problem: NaiadError | undefined;
  let taken = false;
  child.once('error', (cause) => {
    problem = new NaiadError('KEEPER_LOST', `the keeper cannot be started: ${cause.message}`, { cause });
  });
  child.once('exit', (code, signal) => {
    taken = code === TAKEN;
    const how = taken ? 'since there is another one' : `with ${signal ?? `exit code ${code}`}`;
    problem = new NaiadError('KEEPER_LOST', `the keeper ended ${how}`);
  });
  const kill = () => signalChild(child, 'SIGKILL');
  return { pid: child.pid, taken: () => taken, problem: () => problem, kill };
}
