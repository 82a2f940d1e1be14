// The records that native code reads, as constants of a C++ header. native/src/image/layout.h is made from this.
import {
  chunkAddress,
  compactInode,
  dirent,
  extendedInode,
  superblock,
  xattrEntry,
  xattrHeader,
} from './erofs/records.ts';
import { extSuperblock } from './rafs/records.ts';

const NATIVE_RECORDS = [
  superblock,
  extSuperblock,
  extendedInode,
  compactInode,
  dirent,
  xattrHeader,
  xattrEntry,
  chunkAddress,
];

const CPP_TYPES: ReadonlyMap<string, string> = new Map([
  ['u8', 'uint8_t'],
  ['u16', 'uint16_t'],
  ['u32', 'uint32_t'],
  ['u64', 'uint64_t'],
  ['i64', 'int64_t'],
]);

/** The text of native/src/image/layout.h: a namespace a record, a constant a number in it. */
export function layoutHeader(): string {
  const lines = [
    '// Made from the field tables in src/format by `npm run docs`; do not edit.',
    '#pragma once',
    '',
    '#include "image/bytes.h"',
    '',
    'namespace naiad::layout {',
  ];
  for (const { name, size, fields } of NATIVE_RECORDS) {
    const space = name.replace('.', '_');
    lines.push('', `namespace ${space} {`, `inline constexpr uint64_t kRecordSize = ${size};`);
    for (const [field, { offset, type }] of Object.entries(fields)) {
      const cpp = CPP_TYPES.get(type);
      const constant = `k${field.charAt(0).toUpperCase()}${field.slice(1)}`;
      if (cpp) lines.push(`inline constexpr Field<${cpp}> ${constant}{${offset}};`);
    }
    lines.push(`}  // namespace ${space}`);
  }
  lines.push('', '}  // namespace naiad::layout', '');
  return lines.join('\n');
}
