// A line for every request that leaves: what was asked of whom, what came, how long it took. No header and no query is in it.
import { appendFileSync, writeSync } from 'node:fs';
import { TransientFailure } from '../base/transient.ts';
import { displayUrl, type Exchange, type HttpRequest } from './exchange.ts';

export type Say = (line: string) => void;

/** Says a line of each request of `next`, once its body is over. */
export function tracing(next: Exchange, say: Say): Exchange {
  return async (request) => {
    const began = performance.now();
    const took = () => `${(performance.now() - began).toFixed(1)} ms`;
    const asked = askedOf(request);
    try {
      const response = await next(request);
      const { body, status } = response;
      body.onOver(() => say(`${asked} ${status} ${body.received} B ${took()}`));
      return response;
    } catch (error) {
      const why = error instanceof TransientFailure ? error.failure : (error as Error);
      say(`${asked} failed ${took()}: ${why.message}`);
      throw error;
    }
  };
}

function askedOf({ method, url, headers, body }: HttpRequest): string {
  const range = headers.range === undefined ? '' : ` ${headers.range}`;
  const sent = body === undefined || body.size === 0 ? '' : ` sent ${body.size} B`;
  return `http ${method} ${displayUrl(url)}${range}${sent}`;
}

const STDERR = 2;

/**
 * NAIAD_TRACE_HTTP: `1` writes to standard error, `json` too, as objects; anything else is a file to append to. Undefined
 * where nobody asked.
 */
export function traceTo(destination = process.env.NAIAD_TRACE_HTTP): Say | undefined {
  if (destination === undefined || destination === '' || destination === '0') return undefined;
  if (destination === '1') return (line) => void writeSync(STDERR, `${line}\n`);
  if (destination === 'json') {
    return (message) => void writeSync(STDERR, `${JSON.stringify({ level: 'trace', message })}\n`);
  }
  return (line) => appendFileSync(destination, `${new Date().toISOString()} ${line}\n`, { mode: 0o600 });
}
