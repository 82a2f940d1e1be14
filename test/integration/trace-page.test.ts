// The page of a trace in a real browser.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { timelinePage } from '../../src/trace/timeline.ts';
import { chromium, withPage } from '../support/browser.ts';
import { temporaryDir } from '../support/temporary.ts';

test('timeline: the page opens without a complaint, asks for nothing, and shows every file', {
  ...chromium(),
}, async () => {
  using scratch = temporaryDir('page');
  const file = join(scratch.path, 'trace.html');
  const touches = ['/a', '/<b>', '/c'].map((path, index) => {
    return { path, offset: 0, size: 4096, atMs: index * 10, waitMs: index, runs: 1 };
  });
  writeFileSync(file, timelinePage({ runs: 1, readyMs: 25, touches }));
  await withPage(`file://${file}`, async (page) => {
    const texts = (selector: string) => `[...document.querySelectorAll('${selector}')].map((one) => one.textContent)`;
    assert.deepEqual(await page.evaluate(texts('td.path')), ['/a', '/<b>', '/c']);
    assert.deepEqual(await page.evaluate(texts('svg g title')), ['/a', '/<b>', '/c']);
    const paper = 'getComputedStyle(document.body).backgroundColor';
    const light = await page.evaluate(paper);
    await page.emulate({ dark: true });
    assert.notEqual(await page.evaluate(paper), light);
    assert.deepEqual(page.complaints, []);
    assert.deepEqual(page.requested, [`file://${file}`]);
  });
});
