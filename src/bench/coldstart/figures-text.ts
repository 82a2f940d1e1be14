// Numbers of a report as people read them, the same on a terminal and on a page. Pure.
import { formatSize } from '../../base/units.ts';
import type { Link } from './link.ts';
import type { ColdstartReport, Unit, WayReport } from './report-model.ts';

/** `1.234 s`, `20.1 MB`, `12`; a dash for what there is none of. */
export function shown(value: number | undefined, unit: Unit | 'ratio'): string {
  if (value === undefined || !Number.isFinite(value)) return '–';
  if (unit === 'seconds') return `${value.toFixed(value < 10 ? 3 : 2)} s`;
  if (unit === 'bytes') return formatSize(Math.round(value));
  return unit === 'ratio' ? `${value.toFixed(2)} ×` : `${Math.round(value * 10) / 10}`;
}

/** Short, for headings: the last part of a path. */
export function imageName({ image }: Pick<ColdstartReport, 'image'>): string {
  return image.reference.replace(/^oci:(.*\/)?/, '');
}

/** What tells a report from others: `app-node, 1gbit,1ms`. */
export function reportName(report: Pick<ColdstartReport, 'image' | 'link' | 'containers'>): string {
  const many = report.containers > 1 ? `, ${report.containers} at once` : '';
  return `${imageName(report)}, ${report.link.text}${many}`;
}

/** A line on the link: what was asked for and what it gave. */
export function linkText({
  text,
  measured,
}: Link & { readonly measured: ColdstartReport['link']['measured'] }): string {
  const rate = (bytes: number) => `${((bytes * 8) / 1e6).toFixed(1)} Mbit/s`;
  return `${text}; measured ${rate(measured.bytesPerSecond)} (${rate(measured.bytesPerSecondOfTwo)} over two connections), ${measured.rttMs.toFixed(1)} ms a round trip`;
}

export function imageText({ image }: Pick<ColdstartReport, 'image'>): string {
  const { layers, storedSize, unpackedSize, convertedSize } = image;
  return `${layers} layers, ${formatSize(storedSize)} in a registry, ${formatSize(unpackedSize)} unpacked; converted ${formatSize(convertedSize)}`;
}

export function machineText({ machine, registry, naiad }: ColdstartReport): string {
  const { cores, cpu, memory, kernel, node, runtime } = machine;
  return `naiad ${naiad}; ${cores} cores (${cpu}), ${memory}, Linux ${kernel}, Node ${node}, ${runtime}, ${registry}`;
}

/** As a shell takes it. */
export function commandText({ command }: Pick<ColdstartReport, 'command'>): string {
  const quoted = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
  return ['naiad', ...command.map(quoted)].join(' ');
}

/** How the limit comes about. */
export function limitText({ limit, link }: Pick<ColdstartReport, 'limit' | 'link'>): string {
  const { metadataSeconds, hotBytes, hotSeconds, localSeconds } = limit;
  const hot =
    hotBytes === undefined
      ? 'the bytes that a start touches are not known'
      : `${shown(hotBytes, 'bytes')} that a start touches at ${link.text} (${shown(hotSeconds, 'seconds')})`;
  const local =
    localSeconds === undefined ? 'no local start was measured' : `a local start (${shown(localSeconds, 'seconds')})`;
  return `${shown(limit.seconds, 'seconds')} = two round trips and the metadata (${shown(metadataSeconds, 'seconds')}) + the longer of: ${hot}; ${local}`;
}

/** `lazy (fuse)`: with the driver where `auto` chose it. */
export function wayText({ key, chosen }: Pick<WayReport, 'key' | 'chosen'>): string {
  return chosen === undefined || key.includes('/') ? key : `${key} (${chosen})`;
}
