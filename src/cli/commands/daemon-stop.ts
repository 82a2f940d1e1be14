import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'daemon stop',
  summary: 'Unmount every image and end the daemon',
  examples: [['naiad daemon stop', 'Returns when the daemon is gone; processes that use a mount lose it']],
  options: (parser) => parser,
  async run(_args, io) {
    const { stopDaemon } = await import('../../mount/start.ts');
    const stopped = await stopDaemon();
    io.result({ stopped }, () => (stopped ? '' : 'no daemon runs'));
  },
});
