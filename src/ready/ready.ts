// When an application counts as started: a line of its log, an answer over HTTP, an open port, or its end.

import { get as getHttp } from 'node:http';
import { get as getHttps } from 'node:https';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { withoutBrackets } from '../base/brackets.ts';
import { abortReason, deferred } from '../base/concurrency.ts';
import { NaiadError, printable } from '../base/errors.ts';

export type ReadyWhen =
  | { readonly kind: 'log'; readonly text: string; readonly pattern: RegExp }
  | { readonly kind: 'http'; readonly text: string; readonly url: URL }
  | { readonly kind: 'tcp'; readonly text: string; readonly host: string; readonly port: number }
  | { readonly kind: 'exit'; readonly text: string };

/** What can be asked from outside, by whoever shares the network. */
export type ProbedReady = Extract<ReadyWhen, { readonly kind: 'http' | 'tcp' }>;

/** Between two questions: a measured time is late by half of it on average. */
const PROBE_INTERVAL_MS = 4;
/** An application that accepts and then says nothing is asked again. */
const PROBE_TIMEOUT_MS = 2000;
/** Of the output, so much is kept to look for the pattern in one line, and to tell what went wrong. */
const OUTPUT_KEPT_MAX = 64 * 1024;
const LAST_WORDS_MAX = 600;

/**
 * `log:REGEX` (a line of stdout or stderr matches), `http://…` or `https://…` (answers with 2xx or 3xx), `tcp:[HOST:]PORT`
 * (accepts), `exit` (ends with code 0). @throws NaiadError USAGE
 */
export function parseReady(text: string): ReadyWhen {
  if (text === 'exit') return { kind: 'exit', text };
  if (text.startsWith('log:') && text.length > 4) {
    try {
      return { kind: 'log', text, pattern: new RegExp(text.slice(4)) };
    } catch (cause) {
      throw new NaiadError('USAGE', `readiness "${text}": ${(cause as Error).message}`, { cause });
    }
  }
  if (/^https?:\/\//.test(text) && URL.canParse(text)) return { kind: 'http', text, url: new URL(text) };
  const [, host = '127.0.0.1', port] = /^tcp:(?:(\[[^\]]+\]|[^:]+):)?(\d{1,5})$/.exec(text) ?? [];
  if (Number(port) >= 1 && Number(port) <= 65535) {
    return { kind: 'tcp', text, host: withoutBrackets(host), port: Number(port) };
  }
  throw new NaiadError('USAGE', `readiness "${text}"`, {
    hint: "Write 'log:REGEX', 'http://127.0.0.1:8080/', 'tcp:5432' or 'exit'.",
  });
}

/** Asks until the answer is right. Returns when that was, on the clock of performance.now(). @throws NaiadError CANCELED */
export async function probeUntilReady(when: ProbedReady, signal: AbortSignal): Promise<number> {
  for (;;) {
    if (signal.aborted) throw abortReason(signal);
    if (await (when.kind === 'tcp' ? accepts(when) : answers(when.url))) return performance.now();
    await sleep(PROBE_INTERVAL_MS, undefined, { signal }).catch(() => undefined);
  }
}

function accepts({ host, port }: { readonly host: string; readonly port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: PROBE_TIMEOUT_MS });
    const end = (yes: boolean) => {
      socket.destroy();
      resolve(yes);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
    socket.once('timeout', () => end(false));
  });
}

function answers(url: URL): Promise<boolean> {
  return new Promise((resolve) => {
    const options = { agent: false, timeout: PROBE_TIMEOUT_MS };
    const request = (url.protocol === 'https:' ? getHttps : getHttp)(url, options, (response) => {
      const { statusCode = 0 } = response;
      response.resume();
      response.once('end', () => resolve(statusCode >= 200 && statusCode < 400));
      response.once('error', () => resolve(false));
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(false));
  });
}

/** Waits for one application, whose output and end it is told. */
export class ReadyWaiter {
  readonly #when: ReadyWhen;
  readonly #seen = deferred<number>();
  #line = '';
  #output = '';

  constructor(when: ReadyWhen) {
    this.#when = when;
    this.#seen.promise.catch(() => undefined); // Whoever waits gets it.
  }

  /** Bytes of stdout or stderr, in the order they arrived. */
  output(bytes: Uint8Array): void {
    const text = Buffer.from(bytes).toString('utf8');
    this.#output = (this.#output + text).slice(-OUTPUT_KEPT_MAX);
    if (this.#when.kind !== 'log') return;
    const lines = (this.#line + text).split('\n');
    // The last one may not be complete, and may match all the same.
    if (lines.some((line) => this.#matches(line))) this.#seen.resolve(performance.now());
    this.#line = (lines.at(-1) ?? '').slice(-OUTPUT_KEPT_MAX);
  }

  #matches(line: string): boolean {
    return this.#when.kind === 'log' && this.#when.pattern.test(line);
  }

  /** The end of its output. */
  get said(): string {
    return printable(this.#output.trim().slice(-LAST_WORDS_MAX)) || '(nothing was said)';
  }

  /** The application ended. */
  exited(code: number): void {
    if (this.#when.kind === 'exit' && code === 0) this.#seen.resolve(performance.now());
    const what = this.#when.kind === 'exit' ? '' : ' before it was ready';
    this.#seen.reject(
      new NaiadError('COMMAND_FAILED', `the application ended with ${code}${what} (${this.#when.text}): ${this.said}`),
    );
  }

  /**
   * When it was ready, on the clock of performance.now().
   * @throws NaiadError COMMAND_FAILED when it ended otherwise, CANCELED after `signal`
   */
  async until(signal: AbortSignal): Promise<number> {
    const over = new AbortController();
    const canceled = deferred<never>();
    const onAbort = () => canceled.reject(abortReason(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      const waits = [this.#seen.promise, canceled.promise];
      if (this.#when.kind === 'http' || this.#when.kind === 'tcp') {
        const probed = probeUntilReady(this.#when, AbortSignal.any([signal, over.signal]));
        probed.catch(() => undefined);
        waits.push(probed as Promise<never>);
      }
      return await Promise.race(waits);
    } finally {
      over.abort();
      signal.removeEventListener('abort', onAbort);
    }
  }
}
