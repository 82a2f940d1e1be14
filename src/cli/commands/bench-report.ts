// `naiad bench report`: pages out of the reports of several cold starts.
import { readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { NaiadError } from '../../base/errors.ts';
import { systemError } from '../../base/system-error.ts';
import type { ColdstartReport } from '../../bench/coldstart/report.ts';
import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'bench report <reports..>',
  summary: 'Put what bench coldstart found into one page',
  examples: [
    ['naiad bench report --html all.html --markdown results.md *.json', 'A page with plots, and one in Markdown'],
  ],
  options: (parser) =>
    parser
      .positional('reports', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'Files that bench coldstart wrote with --output',
      })
      .option('html', { type: 'string', requiresArg: true, describe: 'Write a page with plots here' })
      .option('markdown', {
        type: 'string',
        requiresArg: true,
        describe: 'Write a page in Markdown here; it links to the reports as beside it',
      }),
  async run(args, io) {
    if (args.html === undefined && args.markdown === undefined) {
      throw new NaiadError('USAGE', 'no page is asked for', { hint: 'Give --html or --markdown, or both.' });
    }
    const reports = args.reports.map((path) => ({ file: basename(path), report: readReport(path) }));
    if (args.html !== undefined) {
      const { coldstartPage } = await import('../../bench/coldstart/page.ts');
      write(args.html, coldstartPage(reports.map(({ report }) => report)));
    }
    if (args.markdown !== undefined) {
      const { resultsPage } = await import('../../bench/coldstart/results-page.ts');
      write(args.markdown, resultsPage(reports));
    }
    const written = [args.html, args.markdown].filter((path) => path !== undefined);
    io.result(
      { reports: reports.length, written },
      () => `wrote ${written.join(' and ')} of ${reports.length} reports`,
    );
  },
});

function readReport(path: string): ColdstartReport {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw systemError(error, path);
  }
  try {
    const report = JSON.parse(text) as ColdstartReport;
    if (report.version === 1 && Array.isArray(report.ways) && Array.isArray(report.runs)) return report;
  } catch {
    // Said below.
  }
  throw new NaiadError('USAGE', `${path} is no report of naiad bench coldstart`, {
    hint: 'Write one with naiad bench coldstart --output FILE.',
  });
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw systemError(error, path);
  }
}
