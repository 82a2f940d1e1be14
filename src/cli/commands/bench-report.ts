// `naiad bench report`: pages out of the reports of several cold starts.
import { readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { NaiadError } from '../../base/errors.ts';
import { systemError } from '../../base/system-error.ts';
import type { ColdstartReport } from '../../bench/coldstart/report-model.ts';
import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'bench report <reports..>',
  summary: 'Put what bench coldstart found into one page',
  examples: [
    ['naiad bench report --html all.html --markdown results.md *.json', 'A page with plots, and one in Markdown'],
    ['naiad bench report --data results.json --html all.html *.json', 'What the page shows as one small file'],
    ['naiad bench report --html all.html results.json', 'The page anew out of that file'],
  ],
  options: (parser) =>
    parser
      .positional('reports', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'Files that bench coldstart wrote with --output, or this command with --data',
      })
      .option('html', { type: 'string', requiresArg: true, describe: 'Write a page with plots here' })
      .option('markdown', {
        type: 'string',
        requiresArg: true,
        describe: 'Write a page in Markdown here; it links to the others as beside it',
      })
      .option('data', {
        type: 'string',
        requiresArg: true,
        describe: 'Write every run here: its figures, and the course of one run of each way',
      }),
  async run(args, io) {
    const { html, markdown, data } = args;
    const written = [data, html, markdown].filter((path) => path !== undefined);
    if (written.length === 0) {
      throw new NaiadError('USAGE', 'no page is asked for', { hint: 'Give --html, --markdown or --data.' });
    }
    const { condensed } = await import('../../bench/coldstart/condense.ts');
    const reports = args.reports.flatMap(readReports).map(condensed);
    if (data !== undefined) write(data, `[\n${reports.map((report) => JSON.stringify(report)).join(',\n')}\n]\n`);
    if (html !== undefined) {
      const { coldstartPage } = await import('../../bench/coldstart/page.ts');
      write(html, coldstartPage(reports));
    }
    if (markdown !== undefined) {
      const { resultsPage } = await import('../../bench/coldstart/results-page.ts');
      const [dataName, htmlName] = [data, html].map((path) => path && basename(path));
      write(markdown, resultsPage(reports, { data: dataName, html: htmlName }));
    }
    io.result(
      { reports: reports.length, written },
      () => `wrote ${written.join(' and ')} of ${reports.length} reports`,
    );
  },
});

function readReports(path: string): ColdstartReport[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw systemError(error, path);
  }
  try {
    const found = [JSON.parse(text)].flat() as ColdstartReport[];
    if (found.length > 0 && found.every(isReport)) return found;
  } catch {
    // Said below.
  }
  throw new NaiadError('USAGE', `${path} is no report of naiad bench coldstart`, {
    hint: 'Write one with naiad bench coldstart --output FILE.',
  });
}

function isReport({ version, ways, runs }: ColdstartReport): boolean {
  return version === 1 && Array.isArray(ways) && Array.isArray(runs);
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw systemError(error, path);
  }
}
