import { hasCode } from '../../base/errors.ts';
import { version } from '../../base/version.ts';
import { LOG_FORMATS, type LogFormat } from '../../daemon/log.ts';
import type { DaemonStatus } from '../../mount/mount-api.ts';
import { defineCommand } from '../command.ts';

/** By it a service manager knows that the daemon has handed over, and that this command is to stand by the next one. */
const HANDED_OVER_EXIT = 75;

export const command = defineCommand({
  usage: 'daemon',
  summary: 'Start the process that serves mounts, and keep it',
  examples: [
    ['naiad daemon', 'In the background, until naiad daemon stop'],
    ['naiad daemon --foreground', 'With its log on stderr'],
    ['naiad daemon --foreground --log-format json --log-level warn', 'For a log collector'],
    ['naiad daemon --follow', 'In the foreground, and whatever becomes of it: for service managers'],
  ],
  options: (parser) =>
    parser
      .option('foreground', { type: 'boolean', default: false, describe: 'Serve in this process' })
      .option('follow', { type: 'boolean', default: false, describe: 'So, or beside one that runs, until it ends' })
      .option('idle', { type: 'number', requiresArg: true, describe: 'End so many seconds after the last mount' })
      .option('log-file', { type: 'string', requiresArg: true, describe: 'Instead of stderr, or daemon.log' })
      .option('log-format', { choices: LOG_FORMATS, describe: 'text where the log is stderr, else json' }),
  async run(args, io) {
    const { becomeDaemonProcess, followDaemon, runningDaemon, startDaemon } = await import('../../mount/start.ts');
    const ready = (status: DaemonStatus) => {
      io.result(status, ({ process: { pid }, state }) => `process ${pid} serves ${state}`);
    };
    const { idle: idleSec, logFile, logFormat } = args as { idle?: number; logFile?: string; logFormat?: LogFormat };
    const { follow } = args;
    const foreground = args.foreground || follow;
    const logging = {
      level: io.logLevel,
      file: logFile,
      format: logFormat ?? (foreground && !logFile ? 'text' : 'json'),
    };
    if (!foreground) {
      await startDaemon({ idleSec, log: logging });
      ready(await runningDaemon());
      return;
    }
    becomeDaemonProcess();
    const [{ serveDaemon }, { openLog }] = await Promise.all([
      import('../../daemon/serve-daemon.ts'),
      import('../../daemon/log.ts'),
    ]);
    const log = openLog(logging);
    const handedOverExit = follow ? HANDED_OVER_EXIT : 0;
    const serve = () =>
      serveDaemon({ version: version(), log, idleSec, handedOverExit, signal: io.signal, onReady: ready });
    do {
      try {
        return await serve();
      } catch (error) {
        if (!follow || !hasCode(error, 'DAEMON_RUNNING')) throw error;
        log.info(`beside the one that runs: ${error.message}`);
      }
    } while (await followDaemon(io.signal));
  },
});
