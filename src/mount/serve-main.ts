// The process behind a mount: `serveMount` of the request in argv[2], with the outcome told to the parent that waits.
import { NaiadError } from '../base/errors.ts';
import type { MountStatus } from './mount-api.ts';
import type { MountRequest } from './serve.ts';
import { serveMount } from './serve.ts';
import { encodeError, type WireError } from './wire-error.ts';

/** What the parent is told, once. */
export type MountOutcome = { readonly ready: MountStatus } | { readonly error: WireError };

function tell(outcome: MountOutcome): Promise<void> {
  return new Promise((resolve) => {
    if (!process.connected || !process.send) return resolve();
    process.send(outcome, () => {
      // The parent may be gone already; the mount serves on.
      if (process.connected) process.disconnect();
      resolve();
    });
  });
}

const request = JSON.parse(process.argv[2] ?? '') as MountRequest;
process.title = `naiad mount ${request.image} ${request.mountpoint}`;
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => stop.abort(new NaiadError('CANCELED', `interrupted by ${signal}`)));
}
let told: Promise<void> | undefined;
try {
  await serveMount(request, {
    signal: stop.signal,
    onReady: (status) => {
      told = tell({ ready: status });
    },
  });
  await told;
  process.exit(0);
} catch (error) {
  console.error(error);
  await (told ?? tell({ error: encodeError(error) }));
  process.exit(1);
}
