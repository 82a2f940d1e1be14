import { formatSize } from '../../base/units.ts';
import { version } from '../../base/version.ts';
import type { DaemonStatus } from '../../mount/mount-api.ts';
import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'daemon status',
  summary: 'Tell which daemon serves the mounts',
  examples: [['naiad daemon status', 'Exit code 10 when none runs']],
  options: (parser) => parser,
  async run(_args, io) {
    const [{ runningDaemon }] = await Promise.all([import('../../mount/start.ts')]);
    const status = await runningDaemon();
    io.result(status, render);
    if (status.version !== version()) {
      io.warn(`the daemon is naiad ${status.version}, this command is ${version()}: restart it (naiad daemon stop)`);
    }
  },
});

function render(status: DaemonStatus): string {
  const { process: daemon, since, version: running, state, mounts, resuming, idleSec, rssBytes, keeper } = status;
  const watched =
    keeper &&
    `${keeper.devices} devices, ${keeper.held} descriptors, ${keeper.waiting} readers wait${keeper.hangs ? '; it does not answer' : ''}`;
  return [
    `daemon   process ${daemon.pid}, naiad ${running}, since ${since}`,
    `state    ${state}`,
    `mounts   ${mounts}${resuming > 0 ? `, of which ${resuming} are not taken over yet (naiad status)` : ''}`,
    ...(keeper ? [`keeper   process ${keeper.pid}: ${watched}`] : []),
    `memory   ${formatSize(rssBytes)}`,
    `ends     ${idleSec === undefined ? 'when it is stopped' : `${idleSec} s after its last mount`}`,
  ].join('\n');
}
