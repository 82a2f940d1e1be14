// Having the daemon bring all of an image into the cache: it is the one that writes there while images are mounted.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { daemonPaths } from '../store/paths.ts';
import type { FillProgress, FillRequest, FillResult } from './fill-image.ts';
import { callDaemon } from './mount-api.ts';
import { askDaemon } from './start.ts';
import { stateRoot } from './state-root.ts';

const POLL_MS = 250;

/** What `GET /v1/fills` tells of each. */
export interface ListedFill extends FillProgress {
  readonly requestId: string;
  readonly image: string;
}

/** Returns when all is there. @throws what the daemon throws; CANCELED */
export async function askFill(
  request: Omit<FillRequest, 'requestId'>,
  { signal, onProgress }: { readonly signal: AbortSignal; readonly onProgress: (progress: FillProgress) => void },
): Promise<FillResult> {
  const state = stateRoot();
  const body: FillRequest = { ...request, requestId: randomUUID() };
  const over = new AbortController();
  const asked = askDaemon<FillResult>(state, { method: 'POST', path: '/v1/fills', body, signal }).finally(() =>
    over.abort(),
  );
  const watched = watch(state, body.requestId, onProgress, over.signal);
  try {
    return await asked;
  } finally {
    await watched;
  }
}

async function watch(
  state: string,
  id: string,
  onProgress: (progress: FillProgress) => void,
  over: AbortSignal,
): Promise<void> {
  while (!over.aborted) {
    await sleep(POLL_MS, undefined, { signal: over }).catch(() => undefined);
    const call = { method: 'GET', path: '/v1/fills', signal: over } as const;
    const fills = await callDaemon<ListedFill[]>(daemonPaths(state).socket, call).catch(() => undefined);
    const own = fills?.find(({ requestId }) => requestId === id);
    if (own) onProgress(own);
  }
}
