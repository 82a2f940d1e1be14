// Writes the pages and the header that are made from tables: node scripts/docs.mjs. With --check it writes nothing and fails when one is
// not what the tables say. Reads the built code.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { commandsPage } from '../dist/src/cli/commands-page.js';
import { errorsPage } from '../dist/src/cli/errors-page.js';
import { recordsPage } from '../dist/src/format/all-records.js';
import { layoutHeader } from '../dist/src/format/layout-header.js';

const pages = [
  { path: 'docs/reference/commands.md', text: await commandsPage() },
  { path: 'docs/reference/errors.md', text: errorsPage() },
  { path: 'docs/format/records.md', text: recordsPage() },
  { path: 'native/src/image/layout.h', text: layoutHeader() },
];
const check = process.argv.includes('--check');
for (const { path, text } of pages) {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
  if (check) {
    console.error(`${path} is not what its tables say; run "npm run docs"`);
    process.exitCode = 1;
  } else {
    writeFileSync(path, text);
    console.log(`wrote ${path}`);
  }
}
