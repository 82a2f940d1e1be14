import { formatSize } from '../../base/units.ts';
import type { ListedMount } from '../../mount/mounts.ts';
import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'status',
  summary: 'Show what is mounted and what was fetched',
  examples: [
    ['naiad status', 'Every mount, what it has fetched, and why it is as it is'],
    ['naiad status --json', 'The same for programs'],
  ],
  options: (parser) => parser,
  async run(_args, io) {
    const { listMounts } = await import('../../mount/mounts.ts');
    io.result(await listMounts(), (mounts) => {
      return mounts.length === 0 ? 'nothing is mounted' : mounts.map(renderMount).join('\n\n');
    });
  },
});

function renderMount(listed: ListedMount): string {
  const { mount } = listed;
  const lines = [
    `${mount.mountpoint}`,
    `  image    ${mount.image}`,
    ...(mount.manifestDigest ? [`  digest   ${mount.manifestDigest}`] : []),
    `  state    ${listed.state}, process ${mount.process.pid}, since ${mount.since}`,
  ];
  if (listed.state !== 'serving') return [...lines, `  hint     ${listed.hint}`].join('\n');
  const { devices, counters, metadataBytes } = listed;
  const sum = (of: (device: (typeof devices)[number]) => number) => devices.reduce((total, one) => total + of(one), 0);
  const [bytes, bytesTotal] = [sum((device) => device.bytes), sum((device) => device.bytesTotal)];
  const share = bytesTotal === 0 ? 100 : Math.floor((bytes / bytesTotal) * 100);
  const { backend, cache } = counters;
  lines.push(
    `  driver   ${mount.driver}${mount.readWrite ? `, writes in ${mount.readWrite.upper}` : ', read-only'}`,
    `  cached   ${formatSize(bytes)} of ${formatSize(bytesTotal)} (${share}%) in ${devices.length} blobs`,
    `  fetched  ${formatSize(backend.bytes + metadataBytes)} in ${backend.requests} requests, metadata included`,
    `  reads    ${counters.reads}, of which ${counters.waits} waited for a fetch`,
  );
  if (counters.errors > 0) lines.push(`  errors   ${counters.errors}, last: ${counters.lastError ?? '?'}`);
  if (cache.badChunks > 0) lines.push(`  corrupt  ${cache.badChunks} chunks arrived wrong`);
  lines.push(...mount.why.map((line, index) => `${index === 0 ? '  why      ' : '           '}${line}`));
  return lines.join('\n');
}
