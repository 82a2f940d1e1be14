// The process that holds a network namespace for containers and asks in it whether the application answers. Started by
// `unshare --net` with a channel.
import { parseReady, probeUntilReady } from '../../ready/ready.ts';
import { nowMs } from './link-proxy.ts';
import { answerRequests } from './worker-process.ts';

let current: AbortController | undefined;

answerRequests({
  /** Milliseconds since the epoch. */
  async ready(text: string): Promise<number> {
    const when = parseReady(text);
    if (when.kind !== 'http' && when.kind !== 'tcp') throw new Error(`${text} cannot be asked over a network`);
    current = new AbortController();
    await probeUntilReady(when, current.signal);
    return nowMs();
  },
  stop: () => current?.abort(),
});
