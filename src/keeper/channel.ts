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
import { closeDescriptors, connectPackets, receiveDescriptors, sendDescriptors } from '../native/descriptors.ts';

/** A keeper answers within microseconds; one that takes so long is stopped or gone. */
const CALL_TIMEOUT_MS = 10_000;

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

  private constructor(socket: number) {
    this.#socket = socket;
  }

  /** Undefined when no keeper listens at `path`. @throws NaiadError PERMISSION, IO */
  static connect(socketPath: string): KeeperChannel | undefined {
    using short = shortPath(socketPath);
    if (!short) return undefined;
    const { path } = short;
    const socket = connectPackets(path, CALL_TIMEOUT_MS);
    return socket === undefined ? undefined : new KeeperChannel(socket);
  }

  /**
   * Calls the keeper and waits for what it answers, whatever that is. Copies of `descriptors` are sent.
   * @throws NaiadError KEEPER_LOST when it is gone or does not answer.
   */
  async call(kind: KeeperCall, fields: Partial<KeeperMessage> = {}, descriptors: readonly number[] = []) {
    const turn = this.#last.then(() => this.#exchange(kind, fields, descriptors));
    this.#last = turn.catch(() => undefined);
    return await turn;
  }

  /** As `call`. @throws NaiadError KEEPER_REFUSED when it answers with an errno. */
  async demand(kind: KeeperCall, fields: Partial<KeeperMessage> = {}, descriptors: readonly number[] = []) {
    const answer = await this.call(kind, fields, descriptors);
    if (answer.errno === undefined) return answer;
    closeDescriptors(answer.descriptors);
    throw new NaiadError('KEEPER_REFUSED', `the keeper refused "${kind}": ${answer.errno}`);
  }

  /** Sends without waiting: the keeper answers nothing. @throws NaiadError KEEPER_LOST */
  send(kind: KeeperCall, fields: Partial<KeeperMessage>, descriptors: readonly number[] = []): void {
    if (this.#closed) throw keeperLost(undefined);
    const message = { ...EMPTY, ...fields, kind: KEEPER_CALLS[kind] };
    try {
      sendDescriptors(this.#socket, Buffer.from(keeperMessage.encode(message)), descriptors);
    } catch (error) {
      throw keeperLost(error);
    }
  }

  /** Calls that are under way end with KEEPER_LOST. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    // Not while a worker waits on it: the number could be another file's by then.
    this.#last.finally(() => closeSync(this.#socket)).catch(() => undefined);
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
      throw keeperLost(error);
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

/** What calls end with when the keeper is gone. */
export function keeperLost(cause: unknown): NaiadError {
  return new NaiadError('KEEPER_LOST', 'the keeper is gone', cause === undefined ? {} : { cause });
}
