// The daemon as `naiad mount` starts it: in the background, for the state directory in argv[2], as DaemonSettings in
// argv[3] want it. Tells the parent that waits how its start went.
import { hasCode, NaiadError } from '../base/errors.ts';
import { version } from '../base/version.ts';
import type { DaemonOutcome, DaemonSettings } from '../mount/start.ts';
import { encodeError } from '../mount/wire-error.ts';
import { daemonPaths } from '../store/paths.ts';
import { openLog } from './log.ts';
import { serveDaemon } from './serve-daemon.ts';

/** Mounts that were begun must not keep a daemon alive that failed. */
const TELL_MS = 500;

function tell(outcome: DaemonOutcome): void {
  // The parent may be gone already; the daemon serves on.
  if (process.connected) process.send?.(outcome, () => process.connected && process.disconnect());
}

const [, , state = '', settings = '{}'] = process.argv;
const { idleSec, log: asked } = JSON.parse(settings) as DaemonSettings;
process.title = `naiad daemon ${state}`;
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => stop.abort(new NaiadError('CANCELED', `interrupted by ${signal}`)));
}
const log = openLog({ ...(asked ?? { level: 'info', format: 'json' }), file: asked?.file ?? daemonPaths(state).log });
process.on('uncaughtException', (error) => {
  log.fatal({ stack: error.stack }, 'a defect of naiad');
  process.exit(1);
});
try {
  await serveDaemon({
    version: version(),
    log,
    idleSec,
    settings: asked ? { log: asked } : {},
    signal: stop.signal,
    onReady: () => tell({ ready: true }),
  });
  process.exit(0);
} catch (error) {
  if (hasCode(error, 'DAEMON_RUNNING')) tell({ busy: true });
  else {
    log.error({ error: error instanceof Error ? error.stack : String(error) }, 'the daemon cannot be started');
    tell({ error: encodeError(error) });
  }
  setTimeout(() => process.exit(1), TELL_MS); // What is told goes out first.
}
