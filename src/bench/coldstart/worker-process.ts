// Helpers of a benchmark that are processes of their own, asked over Node's channel: their work is measured apart, and is
// not held up by anything else that the benchmark does.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { signalChild } from '../../base/child-process.ts';
import { deferred } from '../../base/concurrency.ts';
import { NaiadError } from '../../base/errors.ts';

interface Question {
  readonly id: number;
  readonly name: string;
  readonly value: unknown;
}

type Answer = { readonly id: number; readonly value: unknown } | { readonly id: number; readonly error: string };

/** What a child answers, by the name of the question. */
export type Answers = Readonly<Record<string, (value: never) => unknown>>;

/** In the child: answers what the parent asks, and ends with it. */
export function answerRequests(answers: Answers): void {
  process.on('disconnect', () => process.exit(0));
  // Ctrl-C on a terminal reaches the whole group; the parent ends its children itself.
  process.on('SIGINT', () => {});
  process.on('message', (message) => {
    const { id, name, value } = message as Question;
    Promise.resolve()
      .then(() => answers[name]?.(value as never))
      .then(
        (result) => process.send?.({ id, value: result } satisfies Answer),
        (error: Error) => process.send?.({ id, error: error.message } satisfies Answer),
      );
  });
}

export class WorkerProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, ReturnType<typeof deferred<unknown>>>();
  #next = 0;
  #said = '';

  /** `main` is a file beside this one; `prefix` a program with arguments that runs it. */
  constructor(main: string, args: readonly string[] = [], prefix: readonly string[] = [], env = process.env) {
    const path = fileURLToPath(new URL(main.replace(/\.ts$/, '.js'), import.meta.url));
    const [program, ...rest] = [...prefix, process.execPath, path, ...args] as [string, ...string[]];
    this.#child = spawn(program, rest, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], env });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-2000);
    });
    this.#child.on('message', (message) => this.#answered(message as Answer));
    this.#child.on('error', (error) => this.#ended(error.message));
    this.#child.on('close', (code, signal) => this.#ended(`ended with ${code ?? signal}: ${this.#said.trim()}`));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** @throws NaiadError COMMAND_FAILED with what the child threw or said last */
  async ask<T>(name: string, value?: unknown): Promise<T> {
    const id = this.#next++;
    const answer = deferred<unknown>();
    this.#waiting.set(id, answer);
    this.#child.send({ id, name, value } satisfies Question, (error) => {
      if (error) this.#ended(error.message);
    });
    return (await answer.promise) as T;
  }

  #answered(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if ('error' in answer) waiting?.reject(new NaiadError('COMMAND_FAILED', answer.error));
    else waiting?.resolve(answer.value);
  }

  #ended(why: string): void {
    for (const { reject } of this.#waiting.values()) {
      reject(new NaiadError('COMMAND_FAILED', `a helper of the benchmark ${why}`));
    }
    this.#waiting.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return;
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    signalChild(this.#child, 'SIGKILL');
    await closed;
  }
}
