import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NaiadError } from '../../../src/base/errors.ts';
import { causesOf, exitCodeOf, reportOf, toNaiadError } from '../../../src/cli/exit.ts';

function systemCallError(code: string): Error {
  return Object.assign(new Error(`${code}: words, open '/x'`), { code, syscall: 'open', path: '/x' });
}

const abort = Object.assign(new Error('This operation was aborted'), { name: 'AbortError', code: 'ABORT_ERR' });

for (const { name, thrown, stop, code, message, exit } of [
  { name: 'our own error', thrown: new NaiadError('USAGE', 'no'), code: 'USAGE', message: 'no', exit: 2 },
  {
    name: 'a missing file',
    thrown: systemCallError('ENOENT'),
    code: 'PATH_NOT_FOUND',
    message: 'open /x: no such file or directory (ENOENT)',
    exit: 10,
  },
  {
    name: 'a full disk',
    thrown: systemCallError('ENOSPC'),
    code: 'NO_SPACE',
    message: 'open /x: no space left on device (ENOSPC)',
    exit: 16,
  },
  {
    name: 'no permission',
    thrown: systemCallError('EACCES'),
    code: 'PERMISSION',
    message: 'open /x: permission denied (EACCES)',
    exit: 11,
  },
  {
    name: 'a disk that fails',
    thrown: systemCallError('EIO'),
    code: 'IO',
    message: 'open /x: i/o error (EIO)',
    exit: 1,
  },
  { name: 'a type error', thrown: new TypeError('x is not'), code: 'BUG', message: 'TypeError: x is not', exit: 70 },
  { name: 'a string', thrown: 'oops', code: 'BUG', message: 'oops', exit: 70 },
  { name: 'an abort without a signal', thrown: abort, code: 'BUG', message: `AbortError: ${abort.message}`, exit: 70 },
  {
    name: 'an abort by SIGINT',
    thrown: abort,
    stop: 'SIGINT' as const,
    code: 'CANCELED',
    message: 'interrupted by SIGINT',
    exit: 130,
  },
  {
    name: 'a program that the same SIGINT ended',
    thrown: new NaiadError('COMMAND_FAILED', 'tar: '),
    stop: 'SIGINT' as const,
    code: 'CANCELED',
    message: 'interrupted by SIGINT',
    exit: 130,
  },
  {
    name: 'a cancellation by SIGTERM',
    thrown: new NaiadError('CANCELED', 'interrupted'),
    stop: 'SIGTERM' as const,
    code: 'CANCELED',
    message: 'interrupted',
    exit: 143,
  },
  {
    name: 'another failure while a signal came',
    thrown: new NaiadError('IO', 'bad'),
    stop: 'SIGINT' as const,
    code: 'IO',
    message: 'bad',
    exit: 1,
  },
]) {
  test(`exit: ${name} ends with ${exit}`, () => {
    const error = toNaiadError(thrown, stop);
    assert.equal(error.code, code);
    assert.equal(error.message, message);
    assert.equal(exitCodeOf(error, stop), exit);
  });
}

test('exit: causes come outermost first, without what was said already', () => {
  const error = new NaiadError('IO', 'writing /x: no space left on device (ENOSPC)', {
    cause: Object.assign(new Error('ENOSPC: words'), {
      code: 'ENOSPC',
      cause: new AggregateError([new Error('one'), new Error('two'), new Error('one')], 'several'),
    }),
  });
  assert.deepEqual(causesOf(error), ['several', 'one', 'two']);
});

test('exit: a chain of causes that never ends is cut', () => {
  const loop = new Error('around');
  loop.cause = loop;
  assert.deepEqual(causesOf(new NaiadError('IO', 'x', { cause: loop })), ['around']);
});

test('exit: the report of an error is what --json prints', () => {
  const error = new NaiadError('IMAGE_NOT_FOUND', 'no tag', { hint: 'look', cause: new Error('404') });
  assert.deepEqual(reportOf(error), {
    level: 'error',
    code: 'IMAGE_NOT_FOUND',
    message: 'no tag',
    hint: 'look',
    causes: ['404'],
    exit: 10,
  });
});
