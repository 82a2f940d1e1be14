// A page of this project's documentation out of reports: every figure on it is from their raw runs. Pure.
import { imageText, linkText, machineText, shown } from './figures-text.ts';
import { nameOf } from './page.ts';
import type { ColdstartReport } from './report.ts';
import { costTable, phasesTable, readyTable, stallLines, type TextTable } from './report-text.ts';

/** Markdown. `files` are where the reports are kept, as the page links to them. */
export function resultsPage(reports: readonly { readonly file: string; readonly report: ColdstartReport }[]): string {
  const [first] = reports;
  if (!first) return '# Cold starts: results\n';
  const machines = [...new Set(reports.map(({ report }) => machineText(report)))];
  const lines = [
    '# Cold starts: results',
    '',
    'Made by `naiad bench report` out of what `naiad bench coldstart` wrote; [how to read it](coldstart.md). Medians of all rounds.',
    '',
    ...machines.map((machine) => `- ${machine}`),
    '',
    ...markdown(overview(reports.map(({ report }) => report))),
    ...missed(reports.map(({ report }) => report)),
    ...reports.flatMap(({ file, report }) => section(file, report)),
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}

function overview(reports: readonly ColdstartReport[]): TextTable {
  const keys = [...new Set(reports.flatMap(({ ways }) => ways.map(({ key }) => key)))];
  return {
    head: ['image, link', ...keys, 'limit'],
    rows: reports.map((report) => [
      `${nameOf(report)}, ${report.link.text}`,
      ...keys.map((key) => shown(report.ways.find((way) => way.key === key)?.figures.ready.p50, 'seconds')),
      shown(report.limit.seconds, 'seconds'),
    ]),
  };
}

/** Losses first. */
function missed(reports: readonly ColdstartReport[]): string[] {
  const lines = reports.flatMap((report) =>
    report.targets
      .filter(({ met }) => !met)
      .map(({ text, got }) => `- ${nameOf(report)}, ${report.link.text}: ${text}: no, ${got}`),
  );
  const kept = reports.reduce((sum, { targets }) => sum + targets.filter(({ met }) => met).length, 0);
  return ['', '## Targets missed', '', ...(lines.length > 0 ? lines : ['- none']), '', `${kept} others were met.`];
}

function section(file: string, report: ColdstartReport): string[] {
  const { created, rounds, containers, ready, command, refused } = report;
  const stalls = stallLines(report);
  return [
    '',
    `## ${nameOf(report)} over ${report.link.text}`,
    '',
    `${imageText(report)}. Link: ${linkText(report.link)}. ${rounds} rounds, ${containers} at once, ready: \`${ready}\`, ${created}.`,
    `Raw data: [${file}](${file}). Command: \`naiad ${command.join(' ')}\`.`,
    '',
    ...[readyTable, phasesTable, costTable].flatMap((tableOf) => [...markdown(tableOf(report)), '']),
    ...(stalls.length > 0 ? ['```', ...stalls, '```'] : []),
    ...refused.map(({ key, why }) => `Not measured: ${key}: ${why}`),
  ];
}

function markdown({ head, rows }: TextTable): string[] {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line)];
}
