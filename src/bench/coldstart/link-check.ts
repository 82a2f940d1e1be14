// What a link really gives, measured over it: a claim about a shaped link is worth what was measured.
import { Agent, get, type IncomingMessage } from 'node:http';
import { spreadOf } from '../statistics.ts';

export interface LinkCheck {
  /** Of the body of one large answer. */
  readonly bytesPerSecond: number;
  /** The same with two connections at once, together. */
  readonly bytesPerSecondOfTwo: number;
  /** Median of one small exchange on an open connection. */
  readonly rttMs: number;
}

const EXCHANGES = 15;
/** So much of the large answer is enough. */
const SIZE_MAX = 24e6;
/** What a connection has in its buffers at first is no bandwidth. */
const SKIPPED = 0.1;

/** `url` of the registry behind the link; `large` is the path of a blob there. */
export async function checkLink(url: string, large: string): Promise<LinkCheck> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const exchange = async () => {
    const began = performance.now();
    await drain(await open(`${url}/v2/`, agent), Number.POSITIVE_INFINITY);
    return performance.now() - began;
  };
  await exchange();
  const times: number[] = [];
  for (let index = 0; index < EXCHANGES; index++) times.push(await exchange());
  agent.destroy();
  const one = await rateOf([`${url}${large}`]);
  const two = await rateOf([`${url}${large}`, `${url}${large}`]);
  return { bytesPerSecond: one, bytesPerSecondOfTwo: two, rttMs: spreadOf(times).median };
}

async function rateOf(urls: readonly string[]): Promise<number> {
  const agent = new Agent({ keepAlive: false });
  const answers = await Promise.all(urls.map((url) => open(url, agent)));
  let received = 0;
  let first: { at: number; bytes: number } | undefined;
  const sizeMax = SIZE_MAX / urls.length;
  await Promise.all(
    answers.map((answer) =>
      drain(answer, sizeMax, (bytes) => {
        received += bytes;
        const total = Math.min(sizeMax, Number(answer.headers['content-length'] ?? 0)) * urls.length;
        if (!first && received > total * SKIPPED) first = { at: performance.now(), bytes: received };
      }),
    ),
  );
  const { at, bytes } = first ?? { at: 0, bytes: 0 };
  return ((received - bytes) / (performance.now() - at)) * 1000;
}

function open(url: string, agent: Agent): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => get(url, { agent }, resolve).once('error', reject));
}

async function drain(answer: IncomingMessage, sizeMax: number, onBytes: (size: number) => void = () => {}) {
  let size = 0;
  for await (const bytes of answer as AsyncIterable<Buffer>) {
    size += bytes.length;
    onBytes(bytes.length);
    if (size >= sizeMax) break; // Ends the connection.
  }
}
