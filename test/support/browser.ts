// A headless Chromium, over the pipe of its DevTools protocol.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { findProgram, type Requirement, requirement } from './requires.ts';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

export function chromium(): Requirement {
  return requirement('chromium', () =>
    NAMES.some((name) => findProgram(name)) ? undefined : `none of ${NAMES.join(', ')} is on PATH`,
  );
}

export interface Page {
  /** Messages of level error or warning, and exceptions. */
  readonly complaints: readonly string[];
  /** Addresses that were asked for, the page's own first. */
  readonly requested: readonly string[];
  /** The value of an expression. */
  evaluate<T>(expression: string): Promise<T>;
  /** As if the reader had chosen it. */
  emulate(media: { readonly type?: 'screen' | 'print'; readonly dark?: boolean }): Promise<void>;
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

/** Opens `url`, waits until it is loaded, and hands it to `use`. */
export async function withPage<T>(url: string, use: (page: Page) => Promise<T>): Promise<T> {
  const profile = mkdtempSync(join(tmpdir(), 'naiad-browser-'));
  const program = NAMES.map((name) => findProgram(name)).find((path) => path !== undefined) as string;
  const flags = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--no-first-run',
    '--disable-background-networking',
  ];
  const child = spawn(program, [...flags, '--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  try {
    return await use(await openPage(new Protocol(child), url));
  } finally {
    // The whole group: its helpers would go on to write into the profile.
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    await exited;
    rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

async function openPage(protocol: Protocol, url: string): Promise<Page> {
  const complaints: string[] = [];
  const requested: string[] = [];
  const { targetId } = await protocol.call('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await protocol.call('Target.attachToTarget', { targetId, flatten: true });
  const call = (method: string, params: object = {}) => protocol.call(method, params, sessionId as string);
  protocol.on('Runtime.exceptionThrown', (params) => complaints.push(JSON.stringify(params)));
  protocol.on('Runtime.consoleAPICalled', (params) => {
    if (params.type === 'error' || params.type === 'warning') complaints.push(JSON.stringify(params.args));
  });
  protocol.on('Log.entryAdded', (params) => complaints.push(JSON.stringify(params.entry)));
  protocol.on('Network.requestWillBeSent', (params) => {
    requested.push((params.request as { url: string }).url);
  });
  for (const domain of ['Runtime', 'Log', 'Network', 'Page']) await call(`${domain}.enable`);
  const loaded = new Promise<void>((resolve) => protocol.on('Page.loadEventFired', () => resolve()));
  await call('Page.navigate', { url });
  await loaded;
  return {
    complaints,
    requested,
    async evaluate<T>(expression: string) {
      const { result, exceptionDetails } = await call('Runtime.evaluate', { expression, returnByValue: true });
      if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
      return (result as { value: T }).value;
    },
    async emulate({ type = 'screen', dark = false }) {
      const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }];
      await call('Emulation.setEmulatedMedia', { media: type, features });
    },
  };
}

class Protocol {
  readonly #input: Writable;
  readonly #waiting = new Map<number, (message: Message) => void>();
  readonly #listeners = new Map<string, (params: Record<string, unknown>) => void>();
  #next = 1;

  constructor(child: ChildProcess) {
    this.#input = child.stdio[3] as Writable;
    let text = '';
    (child.stdio[4] as Readable).setEncoding('utf8').on('data', (piece: string) => {
      const messages = (text + piece).split('\0');
      text = messages.pop() ?? '';
      for (const message of messages) this.#received(JSON.parse(message) as Message);
    });
  }

  on(method: string, listener: (params: Record<string, unknown>) => void): void {
    this.#listeners.set(method, listener);
  }

  async call(method: string, params: object, sessionId?: string): Promise<Record<string, unknown>> {
    const id = this.#next++;
    const answered = new Promise<Message>((resolve) => this.#waiting.set(id, resolve));
    this.#input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    const { result, error } = await answered;
    if (error) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }

  #received(message: Message): void {
    if (message.id !== undefined) this.#waiting.get(message.id)?.(message);
    else if (message.method !== undefined) this.#listeners.get(message.method)?.(message.params ?? {});
  }
}
