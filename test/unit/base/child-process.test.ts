import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const MODULE = fileURLToPath(new URL('../../../src/base/child-process.js', import.meta.url));

test('a program that does not exist is signalled without harm to ourselves', async () => {
  const script = `
    const { spawn } = require('node:child_process');
    import(${JSON.stringify(MODULE)}).then(({ signalChild }) => {
      const child = spawn('/nonexistent/program');
      child.on('error', () => process.exit(7));
      signalChild(child, 'SIGKILL');
    });`;
  // In a group of its own, so that only it would die.
  const child = spawn(process.execPath, ['-e', script], { detached: true, stdio: 'ignore' });
  const [code, signal] = await once(child, 'exit');
  assert.deepEqual([code, signal], [7, null]);
});

test('a program that runs is signalled', async () => {
  const { signalChild } = await import('../../../src/base/child-process.ts');
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  await once(child, 'spawn');
  signalChild(child, 'SIGKILL');
  assert.deepEqual(await once(child, 'exit'), [null, 'SIGKILL']);
});

test('a process that has ended is signalled without a word', async () => {
  const { signalProcess } = await import('../../../src/base/child-process.ts');
  const child = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' });
  const { pid } = child;
  await once(child, 'exit');
  signalProcess(pid as number, 'SIGCONT'); // Harmless, should its number be another's by now.
});
