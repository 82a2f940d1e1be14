// A page of this project's documentation out of reports: every figure and every verdict on it is from their runs. Pure.
import { commandText, imageText, limitText, linkText, machineText, reportName } from './figures-text.ts';
import { type ColdstartReport, TARGET_KINDS } from './report-model.ts';
import { costTable, phasesTable, readyTable, stallLines, type TextTable } from './report-text.ts';
import { missedLines, readyCells, summarySentences, TARGET_HEADS, targetRows, verdictText } from './verdicts.ts';

/** Files beside the page that it links to. */
export interface ResultsLinks {
  readonly data?: string | undefined;
  readonly html?: string | undefined;
}

/** Markdown. */
export function resultsPage(reports: readonly ColdstartReport[], { data, html }: ResultsLinks): string {
  const machines = [...new Set(reports.map(machineText))];
  const links = [
    ...(html === undefined ? [] : [`[The same with plots](${html}).`]),
    ...(data === undefined ? [] : [`[Every run as JSON](${data}).`]),
  ];
  const lines = [
    '# Cold starts: results',
    '',
    'Made by `naiad bench report` out of what `naiad bench coldstart` wrote; [how to read it](coldstart.md). Medians of all rounds.',
    ...links,
    '',
    ...machines.map((machine) => `- ${machine}`),
    '',
    ...summarySentences(reports).map((sentence) => `- ${sentence}`),
    '',
    '## Time to ready',
    '',
    ...markdown(overview(reports)),
    '',
    '## Targets',
    '',
    'A dash where it is not promised: three times as fast as a full pull is of images over 300 MB on links up to 100 Mbit/s.',
    '',
    ...markdown(targetsTable(reports)),
    '',
    '## Targets missed, and by what',
    '',
    ...listed(missedLines(reports)),
    ...reports.flatMap(section),
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}

function overview(reports: readonly ColdstartReport[]): TextTable {
  const keys = [...new Set(reports.flatMap(({ ways }) => ways.map(({ key }) => key)))];
  return {
    head: ['image, link', 'rounds', ...keys, 'limit'],
    rows: reports.map((report) => [reportName(report), String(report.rounds), ...readyCells(report, keys)]),
  };
}

function targetsTable(reports: readonly ColdstartReport[]): TextTable {
  return {
    head: ['image, link', ...TARGET_KINDS.map((kind) => TARGET_HEADS[kind])],
    rows: targetRows(reports).map(({ report, cells }) => [
      reportName(report),
      ...cells.map((verdict) => {
        const text = verdict ? verdictText(verdict) : '–';
        return verdict?.met === false ? `**${text}**` : text;
      }),
    ]),
  };
}

function listed(lines: readonly string[]): string[] {
  return lines.length === 0 ? ['- none'] : lines.map((line) => `- ${line}`);
}

function section(report: ColdstartReport): string[] {
  const { created, rounds, containers, ready, refused } = report;
  const stalls = stallLines(report);
  return [
    '',
    `## ${reportName(report)}`,
    '',
    `${imageText(report)}. Link: ${linkText(report.link)}. ${rounds} rounds, ${containers} at once, ready: \`${ready}\`, ${created}.`,
    `Limit: ${limitText(report)}.`,
    `Command: \`${commandText(report)}\`.`,
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
