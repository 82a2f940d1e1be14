// The journal as the daemon reads it: which readers wait for which bytes. The keeper alone writes it.
import { readSync } from 'node:fs';
import { NaiadError } from '../base/errors.ts';
import {
  KEEPER_EVENT_PENDING,
  KEEPER_JOURNAL_MAGIC,
  KEEPER_VERSION,
  type KeeperEvent,
  type KeeperJournalHeader,
  keeperEvent,
  keeperJournalHeader,
} from '../format/keeper/records.ts';
import { viewOf } from '../format/record.ts';

/** An event that waits, and which record of the journal it is. */
export interface PendingEvent extends KeeperEvent {
  readonly index: number;
}

/** @throws NaiadError KEEPER_REFUSED when `fd` is no journal of this version. */
export function readJournalHeader(fd: number): KeeperJournalHeader {
  const bytes = new Uint8Array(keeperJournalHeader.size);
  readSync(fd, bytes, 0, bytes.length, 0);
  const header = keeperJournalHeader.read(viewOf(bytes), 0);
  if (header.magic === KEEPER_JOURNAL_MAGIC && header.version === KEEPER_VERSION) return header;
  throw new NaiadError('KEEPER_REFUSED', `the keeper's journal is of version ${header.version}, not ${KEEPER_VERSION}`);
}

/** Every event that waits now. One that is recorded while this reads may be missing. */
export function pendingEvents(fd: number): PendingEvent[] {
  const first = readRecords(fd);
  // A record that was given to another event in the middle of a read would mix both. What is read twice alike is one event.
  const second = readRecords(fd);
  const events: PendingEvent[] = [];
  for (let at = 0; at + keeperEvent.size <= Math.min(first.length, second.length); at += keeperEvent.size) {
    if (first.compare(second, at, at + keeperEvent.size, at, at + keeperEvent.size) !== 0) continue;
    const event = keeperEvent.read(viewOf(second), at);
    if (event.state === KEEPER_EVENT_PENDING) events.push({ ...event, index: at / keeperEvent.size });
  }
  return events;
}

function readRecords(fd: number): Buffer {
  const { recordEnd, recordCount } = readJournalHeader(fd);
  const bytes = Buffer.alloc(Math.min(recordEnd, recordCount) * keeperEvent.size);
  return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, keeperJournalHeader.size));
}
