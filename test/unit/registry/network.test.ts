// The innermost exchange: its three timeouts, and whom an abort reaches.
import assert from 'node:assert/strict';
import { getEventListeners, once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { Agent } from 'undici';
import { NaiadError } from '../../../src/base/errors.ts';
import { TransientFailure } from '../../../src/base/transient.ts';
import type { HttpRequest } from '../../../src/registry/exchange.ts';
import { throughNetwork } from '../../../src/registry/network.ts';
import { startDouble } from '../../support/http-double.ts';

const get = (url: string, more: Partial<HttpRequest> = {}): HttpRequest => ({
  method: 'GET',
  url: new URL(url),
  headers: {},
  ...more,
});

/** undici's timers tick twice a second. */
const IDLE_MS = 600;

async function failureOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => assert.fail('it succeeded'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof TransientFailure, String(error));
  assert.equal(error.failure.code, 'REGISTRY_UNAVAILABLE');
  return error.failure.message;
}

test('network: a connection that is not made in time', async () => {
  // It takes connections, and never says a word of TLS.
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  await using agent = disposable(new Agent({ connect: { timeout: 300 } }));
  const { port } = silent.address() as AddressInfo;
  const began = performance.now();
  const message = await failureOf(throughNetwork(agent.agent)(get(`https://127.0.0.1:${port}/a`)));
  assert.match(message, /no connection in time$/);
  assert.ok(performance.now() - began < 10_000);
  silent.close();
});

test('network: an answer that does not begin, and one that stops coming', async () => {
  await using double = await startDouble((asked, response) => {
    if (asked.path === '/never') return;
    response.writeHead(200, { 'content-length': '100' }).write('begun');
  });
  await using agent = disposable(new Agent());
  const send = throughNetwork(agent.agent, { idleMs: IDLE_MS });
  assert.match(await failureOf(send(get(`${double.url}/never`))), /no answer in time$/);
  const response = await send(get(`${double.url}/stops`));
  await assert.rejects(
    async () => {
      for await (const piece of response.body) assert.equal(Buffer.from(piece).toString(), 'begun');
    },
    { code: 'UND_ERR_BODY_TIMEOUT' },
  );
  assert.equal(response.body.isOver, true);
});

test('network: a request may have longer to be answered than others', async () => {
  await using double = await startDouble(
    (_, response) => void setTimeout(() => response.end('late'), 2 * IDLE_MS + 1000),
  );
  await using agent = disposable(new Agent());
  const send = throughNetwork(agent.agent, { idleMs: IDLE_MS });
  assert.equal((await send(get(double.url, { headersTimeoutMs: 20_000 }))).status, 200);
});

test('network: an abort ends a request that waits for a connection, for an answer, or for its body', async () => {
  await using double = await startDouble((asked, response) => {
    if (asked.path !== '/body') return;
    response.writeHead(200).write('begun');
  });
  await using agent = disposable(new Agent({ connections: 1 }));
  const send = throughNetwork(agent.agent);
  const reason = new NaiadError('CANCELED', 'enough');
  const ask = (path: string) => {
    const stop = new AbortController();
    return { stop, work: send(get(`${double.url}${path}`, { signal: stop.signal })) };
  };
  const first = ask('/answer');
  const second = ask('/queued');
  second.stop.abort(reason);
  await assert.rejects(second.work, reason);
  first.stop.abort(reason);
  await assert.rejects(first.work, reason);
  const third = ask('/body');
  const { body } = await third.work;
  assert.equal(Buffer.from((await body[Symbol.asyncIterator]().next()).value).toString(), 'begun');
  third.stop.abort(reason);
  await assert.rejects(body[Symbol.asyncIterator]().next(), reason);
  for (const { stop } of [first, second, third]) assert.equal(getEventListeners(stop.signal, 'abort').length, 0);
});

function disposable(agent: Agent): AsyncDisposable & { readonly agent: Agent } {
  return { agent, [Symbol.asyncDispose]: () => agent.destroy() };
}
