// `naiad run`: an image mounted read-write in a directory of its own, a bundle written for it, and runc or crun on top.
// Whatever way it ends, nothing stays: what this process cannot clean up, the next run does.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deferred, throwIfAborted } from '../base/concurrency.ts';
import { hasCode, NaiadError } from '../base/errors.ts';
import { isAlive, type ProcessIdentity, thisProcess } from '../base/process-identity.ts';
import { systemError } from '../base/system-error.ts';
import { containerConfig, type Volume } from '../container/container-config.ts';
import { deleteContainer, findRuntime, type RuntimeName } from '../container/runtime.ts';
import { runDir, runsDir } from '../store/paths.ts';
import type { DriverName } from './driver.ts';
import type { FetchRequest } from './fetch-request.ts';
import type { ContainerFacts, MountStatus } from './mount-api.ts';
import type { MountRequest } from './mount-request.ts';
import { endMount, mountStatus } from './mounts.ts';
import { removeTree } from './remove-tree.ts';
import { askDaemon, startMount } from './start.ts';
import { stateRoot } from './state-root.ts';
import { supervise } from './supervise.ts';

export interface RunRequest {
  readonly image: string;
  /** Instead of the image's Cmd. */
  readonly command: readonly string[];
  readonly runtime: RuntimeName | 'auto';
  /** `NAME=VALUE`. */
  readonly env: readonly string[];
  readonly workdir?: string | undefined;
  /** Instead of the image's User. */
  readonly user?: string | undefined;
  readonly volumes: readonly Volume[];
  readonly net: 'host' | 'none';
  readonly readOnly: boolean;
  readonly tty: boolean;
  readonly driver: DriverName | 'auto';
  readonly fetch: FetchRequest;
  readonly platform?: string | undefined;
  readonly registry?: MountRequest['registry'];
  /** Records every first touch, also where that costs; to a file, when the container has ended. */
  readonly record?: boolean | undefined;
  readonly recordTo?: string | undefined;
  readonly watch?: RunWatch | undefined;
}

/** Whoever looks at a run while it lasts, and ends it. */
export interface RunWatch {
  /** Gets what the container prints, which is shown nowhere else then. */
  output(bytes: Uint8Array): void;
  /** Runs beside the container, which is killed when this is done; `ended` gives its exit code. The image is mounted until
   *  this is done as well. */
  watch(run: { readonly state: string; readonly mountId: string; readonly ended: Promise<number> }): Promise<void>;
}

export interface RunOutcome {
  readonly exitCode: number;
  /** Milliseconds from the start of this process until the image was mounted, and until the container ran. */
  readonly mountedMs: number;
  readonly startedMs: number | undefined;
  readonly totalMs: number;
  readonly status: MountStatus;
}

/** Written beside the bundle, so that the daemon can clean up after this one. */
interface RunRecord {
  readonly process: ProcessIdentity;
  readonly runtime: string;
}

/** What shells and docker say of a command that could not be started. */
const EXIT_NOT_STARTED = 127;

/** Runs a container to its end. @throws NaiadError when it could not be started. */
export async function runContainer(request: RunRequest, signal: AbortSignal): Promise<RunOutcome> {
  const runtime = findRuntime(request.runtime);
  if (process.geteuid?.() !== 0) {
    throw new NaiadError('PERMISSION', 'naiad run mounts an overlay and needs root', { hint: 'Run it with sudo.' });
  }
  for (const { source } of request.volumes) {
    if (!existsSync(source))
      throw new NaiadError('USAGE', `volume ${source} does not exist`, { hint: `mkdir ${source}` });
  }
  const state = stateRoot();
  const id = `naiad-${randomBytes(6).toString('hex')}`;
  const directory = createRunDir(state, id, { process: thisProcess(), runtime });
  const runtimeRoot = join(directory, 'runtime');
  const mountpoint = join(directory, 'rootfs');
  let mounted = false;
  try {
    const { image, driver, fetch, platform, registry, record, recordTo } = request;
    const owner = thisProcess();
    const asked = { image, mountpoint, driver, readWrite: true, platform, registry, record, recordTo, owner, ...fetch };
    const atStart = await startMount(asked, signal);
    const { mount } = atStart;
    mounted = true;
    const mountedMs = performance.now();
    await writeBundle(request, state, mount.id, { id, directory });
    throwIfAborted(signal);
    let startedMs: number | undefined;
    const pidFile = join(directory, 'pid');
    const stop = new AbortController();
    const ended = deferred<number>();
    ended.promise.catch(() => undefined); // It is thrown here as well.
    const watching = request.watch?.watch({ state, mountId: mount.id, ended: ended.promise });
    const watched = watching?.finally(() => stop.abort()) ?? Promise.resolve();
    watched.catch(() => undefined);
    const running = supervise({
      runtime,
      args: ['--root', runtimeRoot, 'run', '--bundle', directory, '--pid-file', pidFile, id],
      pidFile,
      tty: request.tty,
      output: request.watch && ((bytes) => request.watch?.output(bytes)),
      stop: stop.signal,
      onStarted: () => {
        startedMs = performance.now();
      },
    });
    running.then(ended.resolve, ended.reject);
    const exitCode = await running;
    await watched;
    // The runtime names the first process only once the command runs; without it the code is the runtime's own.
    const code = exitCode !== 0 && !existsSync(pidFile) ? EXIT_NOT_STARTED : exitCode;
    const status = (await mountStatus(state, mount.id)) ?? atStart; // The daemon may have died meanwhile.
    return { exitCode: code, mountedMs, startedMs, totalMs: performance.now(), status };
  } finally {
    if (existsSync(runtimeRoot)) await deleteContainer(runtime, runtimeRoot, id);
    if (mounted) await endAnyhow(mountpoint);
    removeTree(directory);
  }
}

/** Unmounts, if need be from under what the container left running outside. */
async function endAnyhow(mountpoint: string): Promise<void> {
  try {
    await endMount(mountpoint, { lazy: false });
  } catch (error) {
    if (hasCode(error, 'NOT_MOUNTED')) return;
    if (!hasCode(error, 'MOUNTPOINT_BUSY')) throw error;
    await endMount(mountpoint, { lazy: true });
  }
}

/**
 * Ends what runs that were killed have left: container, mounts, bundle. The daemon's alone: of two at once, the runtime of one
 * would make directories anew in what the other removes.
 */
export async function cleanStaleRuns(state: string): Promise<void> {
  for (const id of existsSync(runsDir(state)) ? readdirSync(runsDir(state)) : []) {
    const directory = runDir(state, id);
    let record: RunRecord;
    try {
      record = JSON.parse(readFileSync(join(directory, 'run.json'), 'utf8')) as RunRecord;
    } catch {
      continue; // Just being made, or not ours.
    }
    if (isAlive(record.process)) continue;
    try {
      await deleteContainer(record.runtime, join(directory, 'runtime'), id);
      await endAnyhow(join(directory, 'rootfs'));
      removeTree(directory);
    } catch (error) {
      if (!(error instanceof NaiadError)) throw error; // It is tried again; others are not held up by it.
    }
  }
}

function createRunDir(state: string, id: string, record: RunRecord): string {
  const directory = runDir(state, id);
  try {
    mkdirSync(join(directory, 'rootfs'), { recursive: true, mode: 0o700 });
    writeFileSync(join(directory, 'run.json'), JSON.stringify(record));
    return directory;
  } catch (error) {
    throw systemError(error, directory);
  }
}

async function writeBundle(
  request: RunRequest,
  state: string,
  mountId: string,
  place: { readonly id: string; readonly directory: string },
): Promise<void> {
  const { config = {}, user } = await askDaemon<ContainerFacts>(state, {
    method: 'POST',
    path: `/v1/mounts/${mountId}/container`,
    body: request.user === undefined ? {} : { user: request.user },
  });
  const document = containerConfig({
    config,
    command: request.command,
    env: request.env,
    workdir: request.workdir,
    user,
    volumes: [...(request.net === 'host' ? hostNetworkFiles() : []), ...request.volumes],
    net: request.net,
    readOnly: request.readOnly,
    tty: request.tty,
    hostname: place.id.slice(0, 12),
    rootfs: join(place.directory, 'rootfs'),
  });
  writeFileSync(join(place.directory, 'config.json'), JSON.stringify(document));
}

/** With the host's network come the host's names. */
function hostNetworkFiles(): Volume[] {
  return ['/etc/resolv.conf', '/etc/hosts'].flatMap((path) => {
    try {
      return [{ source: realpathSync(path), destination: path, readOnly: true }];
    } catch {
      return []; // This host has none.
    }
  });
}
