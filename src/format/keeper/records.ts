// What passes between the keeper process and its daemon: one message for every call and its answer, and the journal of events.
// native/src/keeper/protocol.h declares the same bytes; docs/format/keeper.md explains them.
import { ascii, bytes, type RecordOf, record, reserved, u32, u53, u64 } from '../record.ts';

/** Raised with every change of these records; keeper and daemon of different versions refuse each other. */
export const KEEPER_VERSION = 1;
export const KEEPER_JOURNAL_MAGIC = 'naiadkpr';
/** A name of a device or descriptor, with its closing zero. */
const KEEPER_NAME_SIZE = 64;
/** What can be kept with a descriptor. */
export const KEEPER_STATE_SIZE = 144;
/** Or-ed to the start of a chunk of which nothing is known: it never counts as ready. */
export const KEEPER_ABSENT_CHUNK = 1n << 63n;

/** Calls of a daemon, in `kind`. */
export const KEEPER_CALLS = {
  hello: 1,
  addDevice: 2,
  probeBegin: 3,
  probeEnd: 4,
  removeDevice: 5,
  answer: 6,
  hold: 7,
  drop: 8,
  listDevices: 9,
  listHeld: 10,
  sweep: 11,
  stop: 12,
  watch: 13,
  report: 14,
  command: 15,
} as const;
export type KeeperCall = keyof typeof KEEPER_CALLS;

export const keeperMessage = record('keeper.message', 256, {
  kind: u32(
    0,
    'the call: hello 1, add device 2, probe begin 3 and end 4, remove device 5, answer 6, hold 7, drop 8, …',
  ),
  status: u32(4, 'in the answer: 0 or the errno'),
  id: u32(8, 'of a device; of a record in the journal; where a list goes on'),
  error: u32(
    12,
    'errno for the reader, 0 to let it read; for stop: 1 whatever is registered; for remove: 1 once its path is gone',
  ),
  sequence: u53(16, 'of the event that is answered'),
  deviceSize: u53(24, 'bytes of the device'),
  bitsOffset: u53(32, 'where the ready bits start in the chunk map'),
  chunkCount: u32(40, 'chunks of the device'),
  version: u32(44, 'version of these records, 1; in hello'),
  name: ascii(48, KEEPER_NAME_SIZE, 'of a device or a held descriptor'),
  state: bytes(
    112,
    KEEPER_STATE_SIZE,
    'kept with a held descriptor; for watch: a path, which exists as long as the device may be read',
  ),
});
export type KeeperMessage = RecordOf<typeof keeperMessage>;

export const keeperReport = record('keeper.report', 40, {
  pid: u32(0, 'of the keeper'),
  daemon: u32(4, '1: a daemon has said hello and is connected'),
  restarts: u32(8, '1: should there be no daemon, the keeper starts one'),
  devices: u32(12, 'devices it watches'),
  held: u32(16, 'descriptors it holds'),
  waiting: u32(20, 'readers that wait'),
  daemons: u53(24, 'daemons that said hello, of all keepers that had this journal'),
  keepers: u53(32, 'keepers that had this journal'),
});
export type KeeperReport = RecordOf<typeof keeperReport>;

export const keeperJournalHeader = record('keeper.journal_header', 4096, {
  magic: ascii(0, 8, 'naiadkpr'),
  version: u32(8, 'version of these records, 1'),
  recordCount: u32(12, 'records behind this header'),
  recordEnd: u32(16, 'records from here on are free'),
  reading: u32(20, '1 from before events are read until all of them are recorded'),
  unrecorded: u32(24, '1 while events may exist that an earlier keeper read and did not record'),
  numberEnd: u32(28, 'no unanswered event has this descriptor number or a higher one'),
  sequence: u53(32, 'of the last event'),
  events: u53(40, 'events read'),
  answeredReady: u53(48, 'of these answered by a keeper, because the range was ready'),
  answeredDenied: u53(56, 'of these answered with an errno'),
  keepers: u53(64, 'keepers that had this journal'),
  daemons: u53(72, 'daemons that said hello'),
  reserved: reserved(80, 4016),
});
export type KeeperJournalHeader = RecordOf<typeof keeperJournalHeader>;

/** `state` of a record that stands for a waiting reader. */
export const KEEPER_EVENT_PENDING = 1;

export const keeperEvent = record('keeper.event', 64, {
  state: u32(0, '1: read and not answered; 0: free'),
  number: u32(4, 'of the event descriptor, which names the event'),
  pid: u32(8, 'process that waits'),
  inherited: u32(12, '1: read by an earlier keeper'),
  fileDevice: u64(16, 'the file: st_dev'),
  fileInode: u64(24, 'and st_ino'),
  offset: u53(32, 'first byte that is about to be read'),
  count: u64(40, 'bytes; all ones for the whole file'),
  sequence: u53(48, 'counts events'),
  receivedNs: u53(56, 'CLOCK_MONOTONIC when it was read'),
});
export type KeeperEvent = RecordOf<typeof keeperEvent>;
