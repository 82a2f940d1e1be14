import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'daemon upgrade',
  summary: 'Put a new daemon in the place of the one that runs',
  examples: [['naiad daemon upgrade', 'After an update; mounts of erofs and fuse go on, others are mounted anew']],
  options: (parser) => parser,
  async run(_args, io) {
    const { upgradeDaemon } = await import('../../mount/start.ts');
    io.result(await upgradeDaemon(), ({ process: { pid }, version, state }) => {
      return `process ${pid}, naiad ${version}, serves ${state}`;
    });
  },
});
