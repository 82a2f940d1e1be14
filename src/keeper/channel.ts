// One connection to a keeper: calls with an answer, one after another, and answers to events, which have none.
import { closeSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { NaiadError } from '../base/errors.ts';
import { type SocketPath, shortSocketPath } from '../base/socket-path.ts';
import { isSystemError, systemError } from '../base/system-error.ts';
import {
  KEEPER_CALLS,
  KEEPER_STATE_SIZE,
  KEEPER_VERSION,
  type KeeperCall,
  type KeeperMessage,
  keeperMessage,
} from '../format/keeper/records.ts';
import { viewOf } from '../format/record.ts';
import {
  closeDescriptors,
  connectPackets,
  peerPid,
  receiveDescriptors,
  sendDescriptors,
} from '../native/descriptors.ts';

/** A keeper answers within microseconds; one that takes so long is stopped. */
const CALL_TIMEOUT_MS = 5000;

const EMPTY: KeeperMessage = {
  kind: 0,
  status: 0,
  id: 0,
  error: 0,
  sequence: 0,
  deviceSize: 0,
  bitsOffset: 0,
  chunkCount: 0,
  version: KEEPER_VERSION,
  name: '',
  state: new Uint8Array(KEEPER_STATE_SIZE),
};

export interface KeeperAnswer extends KeeperMessage {
  /** The name of the errno in `status`; undefined when the call succeeded. */
  readonly errno: string | undefined;
  /** The caller's to close. */
  readonly descriptors: readonly number[];
}

export class KeeperChannel implements Disposable {
  readonly #socket: number;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;
  #hung = false;

  private constructor(socket: number) {
    this.#socket = socket;
  }

  /** Undefined when no keeper listens at `path`. @throws NaiadError PERMISSION, IO; KEEPER_HUNG when many wait for it */
  static connect(socketPath: string): KeeperChannel | undefined {
    using short = shortPath(socketPath);
    if (!short) return undefined;
    try {
      const socket = connectPackets(short.path, CALL_TIMEOUT_MS);
      return socket === undefined ? undefined : new KeeperChannel(socket);
    } catch (error) {
      throw causedBy(error, 'EAGAIN') ? hung('the keeper', error) : error;
    }
  }

  /** The keeper's process. */
  get pid(): number {
    return peerPid(this.#socket);
  }

  /**
   * Calls the keeper and waits for what it answers, whatever that is. Copies of `descriptors` are sent.
   * @throws NaiadError KEEPER_LOST when it is gone; KEEPER_HUNG when it does not answer, and then it is not asked again here.
   */
  async call(kind: KeeperCall, fields: Partial<KeeperMessage> = {}, descriptors: readonly number[] = []) {
    const turn = this.#last.then(() => this.#exchange(kind, fields, descriptors));
    this.#last = turn.catch(() => undefined);
    return await turn;
  }

  /** As `call`. @throws NaiadError KEEPER_REFUSED when it answers with an errno. */
  async demand(kind: KeeperCall, fields: Partial<KeeperMessage> = {}, descriptors: readonly number[] = []) {
    return granted(kind, await this.call(kind, fields, descriptors));
  }

  /** Sends without waiting: the keeper answers nothing. @throws NaiadError KEEPER_LOST, KEEPER_HUNG */
  send(kind: KeeperCall, fields: Partial<KeeperMessage>, descriptors: readonly number[] = []): void {
    if (this.#closed) throw keeperLost(undefined);
    if (this.#hung) throw hung(`the keeper (process ${this.pid})`, undefined);
    const message = { ...EMPTY, ...fields, kind: KEEPER_CALLS[kind] };
    try {
      sendDescriptors(this.#socket, Buffer.from(keeperMessage.encode(message)), descriptors);
    } catch (error) {
      throw this.#problem(error);
    }
  }

  /** Calls that are under way end with KEEPER_LOST. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    // Not while a worker waits on it: the number could be another file's by then.
    this.#last.finally(() => closeSync(this.#socket)).catch(() => undefined);
  }

  /** A late answer would be taken for that of the next call. */
  #problem(error: unknown): NaiadError {
    if (!causedBy(error, 'ETIMEDOUT') && !causedBy(error, 'EAGAIN')) return keeperLost(error);
    this.#hung = true;
    return hung(`the keeper (process ${this.pid})`, error);
  }

  async #exchange(
    kind: KeeperCall,
    fields: Partial<KeeperMessage>,
    descriptors: readonly number[],
  ): Promise<KeeperAnswer> {
    this.send(kind, fields, descriptors);
    const received = await receiveDescriptors(this.#socket, {
      sizeMax: keeperMessage.size,
      timeoutMs: CALL_TIMEOUT_MS,
    }).catch((error) => {
      throw this.#problem(error);
    });
    if (received.bytes.length !== keeperMessage.size) {
      closeDescriptors(received.descriptors);
      throw keeperLost(undefined);
    }
    const message = keeperMessage.read(viewOf(received.bytes), 0);
    const errno = message.status === 0 ? undefined : (getSystemErrorMap().get(-message.status)?.[0] ?? 'EIO');
    return { ...message, errno, descriptors: received.descriptors };
  }
}

function shortPath(path: string): SocketPath | undefined {
  try {
    return shortSocketPath(path);
  } catch (error) {
    if (isSystemError(error) && error.code === 'ENOENT') return undefined;
    throw systemError(error, path);
  }
}

/** The answer to a call that succeeded. @throws NaiadError KEEPER_REFUSED when it is an errno. */
export function granted(kind: KeeperCall, answer: KeeperAnswer): KeeperAnswer {
  if (answer.errno === undefined) return answer;
  closeDescriptors(answer.descriptors);
  throw new NaiadError('KEEPER_REFUSED', `the keeper refused "${kind}": ${answer.errno}`);
}

/** What calls end with when the keeper is gone. */
export function keeperLost(cause: unknown): NaiadError {
  return new NaiadError('KEEPER_LOST', 'the keeper is gone', cause === undefined ? {} : { cause });
}

function hung(who: string, cause: unknown): NaiadError {
  return new NaiadError('KEEPER_HUNG', `${who} does not answer: readers of what is not cached wait for it`, {
    hint: 'Processes that were stopped go on with kill -CONT; docs/operations/troubleshooting.md has the rest.',
    ...(cause !== undefined && { cause }),
  });
}

function causedBy(error: unknown, code: string): boolean {
  return error instanceof NaiadError && isSystemError(error.cause) && error.cause.code === code;
}
