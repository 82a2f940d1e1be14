// Every record of the product, in the order the documentation shows them. docs/format/records.md is made from this list.
import { batchContext, blobHeader, chunkInfoV1, chunkInfoV2, sectionHeader, tocEntry } from './blob/records.ts';
import { chunkMapHeader, claim, claimBatch } from './cache/chunk-map.ts';
import {
  chunkAddress,
  compactInode,
  deviceSlot,
  dirent,
  extendedInode,
  superblock,
  xattrEntry,
  xattrHeader,
} from './erofs/records.ts';
import { keeperEvent, keeperJournalHeader, keeperMessage } from './keeper/records.ts';
import { blobEntry, chunkRecord, extSuperblock, rafsV5Head } from './rafs/records.ts';
import type { Field } from './record.ts';
import { tarGnuTail, tarHeader, tarSparseExtension, tarSparseExtent } from './tar/header.ts';

interface DocumentedRecord {
  readonly name: string;
  readonly size: number;
  // biome-ignore lint/suspicious/noExplicitAny: only names, places and sentences of fields are read
  readonly fields: Readonly<Record<string, Field<any>>>;
}

export const ALL_RECORDS: readonly { readonly title: string; readonly records: readonly DocumentedRecord[] }[] = [
  {
    title: 'Bootstrap: EROFS',
    records: [superblock, deviceSlot, extendedInode, compactInode, dirent, xattrHeader, xattrEntry, chunkAddress],
  },
  { title: 'Bootstrap: RAFS', records: [extSuperblock, blobEntry, chunkRecord, rafsV5Head] },
  { title: 'Blob', records: [blobHeader, chunkInfoV1, chunkInfoV2, batchContext, tocEntry, sectionHeader] },
  { title: 'Cache', records: [chunkMapHeader, claimBatch, claim] },
  { title: 'Keeper', records: [keeperMessage, keeperJournalHeader, keeperEvent] },
  { title: 'Tar', records: [tarHeader, tarGnuTail, tarSparseExtension, tarSparseExtent] },
];

/** The text of docs/format/records.md. */
export function recordsPage(): string {
  const lines = [
    '# Records',
    '',
    'Made from the field tables in `src/format` by `npm run docs`; do not edit. All integers are little-endian, except in',
    'tar headers. Offsets are in bytes from the start of the record.',
  ];
  for (const { title, records } of ALL_RECORDS) {
    lines.push('', `## ${title}`);
    for (const { name, size, fields } of records) {
      lines.push(
        '',
        `### ${name} (${size} bytes)`,
        '',
        '| offset | size | type | field | meaning |',
        '|---|---|---|---|---|',
      );
      for (const [field, { offset, size: bytes, type, doc }] of Object.entries(fields)) {
        lines.push(`| ${offset} | ${bytes} | ${type} | ${type === 'reserved' ? '' : `\`${field}\``} | ${doc} |`);
      }
    }
  }
  return `${lines.join('\n')}\n`;
}
