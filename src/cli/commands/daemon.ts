import { version } from '../../base/version.ts';
import { LOG_FORMATS, type LogFormat } from '../../daemon/log.ts';
import type { DaemonStatus } from '../../mount/mount-api.ts';
import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'daemon',
  summary: 'Start the process that serves mounts, and keep it',
  examples: [
    ['naiad daemon', 'In the background, until naiad daemon stop'],
    ['naiad daemon --foreground', 'With its log on stderr: for service managers'],
    ['naiad daemon --foreground --log-format json --log-level warn', 'For a log collector'],
  ],
  options: (parser) =>
    parser
      .option('foreground', { type: 'boolean', default: false, describe: 'Serve in this process' })
      .option('idle', { type: 'number', requiresArg: true, describe: 'End so many seconds after the last mount' })
      .option('log-file', { type: 'string', requiresArg: true, describe: 'Instead of stderr, or daemon.log' })
      .option('log-format', { choices: LOG_FORMATS, describe: 'text where the log is stderr, else json' }),
  async run(args, io) {
    const { becomeDaemonProcess, runningDaemon, startDaemon } = await import('../../mount/start.ts');
    const ready = (status: DaemonStatus) => {
      io.result(status, ({ process: { pid }, state }) => `process ${pid} serves ${state}`);
    };
    const { idle: idleSec, logFile, logFormat } = args as { idle?: number; logFile?: string; logFormat?: LogFormat };
    const log = {
      level: io.logLevel,
      file: logFile,
      format: logFormat ?? (args.foreground && !logFile ? 'text' : 'json'),
    };
    if (!args.foreground) {
      await startDaemon({ idleSec, log });
      ready(await runningDaemon());
      return;
    }
    becomeDaemonProcess();
    const [{ serveDaemon }, { openLog }] = await Promise.all([
      import('../../daemon/serve-daemon.ts'),
      import('../../daemon/log.ts'),
    ]);
    await serveDaemon({ version: version(), log: openLog(log), idleSec, signal: io.signal, onReady: ready });
  },
});
