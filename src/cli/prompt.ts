// Questions to whoever sits at the terminal, on the terminal itself: stdin may be a pipe and stdout belongs to results.
import { openSync } from 'node:fs';
import { ReadStream, WriteStream } from 'node:tty';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';

/** No user name or password is longer. */
const LINE_LENGTH_MAX = 64 * 1024;

/** What typed characters make of a line. `ended` once Enter came; `canceled` after Ctrl-C, or Ctrl-D at its start. */
class LineInput {
  text = '';
  ended = false;
  canceled = false;

  /** Takes what was typed, and returns what a terminal should show of it when nothing is secret. */
  type(typed: string): string {
    let shown = '';
    for (const character of typed) {
      if (this.ended || this.canceled) break;
      if (character === '\r' || character === '\n') this.ended = true;
      else if (character === '\u0003' || (character === '\u0004' && this.text === '')) this.canceled = true;
      else if (character === '\u007f' || character === '\b') {
        if (this.text !== '') shown += '\b \b';
        this.text = [...this.text].slice(0, -1).join('');
      } else if (character >= ' ' && this.text.length < LINE_LENGTH_MAX) {
        this.text += character;
        shown += character;
      }
    }
    return shown;
  }
}

/**
 * Asks on the terminal of this process. A secret answer is not shown, not even its length.
 * @throws NaiadError USAGE without a terminal, CANCELED on Ctrl-C
 */
export async function ask(
  question: string,
  options: { readonly secret: boolean; readonly signal?: AbortSignal; readonly without: string },
): Promise<string> {
  throwIfAborted(options.signal);
  let fd: number;
  try {
    fd = openSync('/dev/tty', 'r+');
  } catch {
    throw new NaiadError('USAGE', 'there is no terminal to ask on', { hint: options.without });
  }
  const input = new ReadStream(fd);
  const output = new WriteStream(openSync('/dev/tty', 'w'));
  try {
    input.setRawMode(true);
    output.write(question);
    return await readLine(input, output, options);
  } finally {
    input.setRawMode(false);
    output.write('\r\n');
    input.destroy();
    output.end();
  }
}

async function readLine(
  input: ReadStream,
  output: WriteStream,
  { secret, signal }: { readonly secret: boolean; readonly signal?: AbortSignal },
): Promise<string> {
  const line = new LineInput();
  return await new Promise((resolve, reject) => {
    const cancel = () => reject(new NaiadError('CANCELED', 'interrupted'));
    signal?.addEventListener('abort', cancel, { once: true });
    input.setEncoding('utf8').on('error', reject);
    input.on('end', cancel);
    input.on('data', (typed) => {
      const shown = line.type(String(typed));
      if (!secret) output.write(shown);
      if (line.canceled) cancel();
      else if (line.ended) resolve(line.text);
    });
  });
}

/** All of stdin, without the line end behind it. @throws NaiadError LIMIT_EXCEEDED */
export async function readSecretFromStdin(): Promise<string> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of process.stdin) {
    size += (piece as Buffer).length;
    if (size > LINE_LENGTH_MAX) throw new NaiadError('LIMIT_EXCEEDED', `stdin: more than ${LINE_LENGTH_MAX} bytes`);
    pieces.push(piece as Buffer);
  }
  return Buffer.concat(pieces, size)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}
