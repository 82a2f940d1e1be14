// Pax extended headers: records `LENGTH KEY=VALUE\n` in the body of a member of type `x` (for the next member) or `g`
// (for all that follow). LENGTH counts itself. Values may be any bytes; xattr values are.
import { type ByteString, bytesToString, stringToBytes } from '../../base/bytes.ts';
import { NaiadError } from '../../base/errors.ts';

export interface PaxRecord {
  readonly key: ByteString;
  readonly value: ByteString;
}

/**
 * The records of a pax header, in order, repeated keys kept (sparse maps of version 0.0 repeat theirs).
 * @throws NaiadError ARCHIVE_INVALID
 */
export function parsePaxRecords(body: Uint8Array): PaxRecord[] {
  const text = bytesToString(body);
  const records: PaxRecord[] = [];
  for (let at = 0; at < text.length; ) {
    const space = text.indexOf(' ', at);
    const digits = space < 0 ? '' : text.slice(at, space);
    const end = /^[1-9][0-9]{0,9}$/.test(digits) ? at + Number(digits) : 0;
    const equals = text.indexOf('=', space);
    const wellFormed = end > space + 2 && end <= text.length && text[end - 1] === '\n';
    if (!wellFormed || equals <= space + 1 || equals >= end) {
      throw new NaiadError('ARCHIVE_INVALID', `pax header: malformed record at byte ${at} of ${text.length}`);
    }
    records.push({ key: text.slice(space + 1, equals), value: text.slice(equals + 1, end - 1) });
    at = end;
  }
  return records;
}

/** A non-negative decimal number of a pax record, or undefined. */
export function parsePaxNumber(value: ByteString): number | undefined {
  if (!/^[0-9]{1,16}$/.test(value)) return undefined;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : undefined;
}

/**
 * Seconds and nanoseconds of a pax time such as `-1.25` (which is 2 s before 1970 plus 0.75 s). Digits below the
 * nanosecond are cut off towards the past. Undefined when it is no time.
 */
export function parsePaxTime(value: ByteString): { sec: number; nsec: number } | undefined {
  const match = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(value);
  if (!match) return undefined;
  const fraction = match[3] ?? '';
  const whole = Number(match[2]);
  const nsec = Number(fraction.slice(0, 9).padEnd(9, '0'));
  if (match[1] === '') return { sec: whole, nsec };
  const below = /[1-9]/.test(fraction.slice(9)) ? 1 : 0;
  const back = nsec + below;
  return back === 0 ? { sec: 0 - whole, nsec: 0 } : { sec: -whole - 1, nsec: 1_000_000_000 - back };
}

/** The body of a pax header. Neither key nor value is changed: whoever reads it gets these bytes. */
export function formatPaxRecords(records: readonly PaxRecord[]): Uint8Array {
  return stringToBytes(records.map(formatRecord).join(''));
}

function formatRecord({ key, value }: PaxRecord): ByteString {
  const rest = ` ${key}=${value}\n`;
  let size = rest.length;
  while (String(size).length + rest.length !== size) size = String(size).length + rest.length;
  return `${size}${rest}`;
}

/** What `parsePaxTime` reads as these. */
export function formatPaxTime(sec: number, nsec: number): ByteString {
  if (nsec === 0) return String(sec);
  const isBefore = sec < 0;
  const whole = isBefore ? -1 - sec : sec;
  const fraction = String(isBefore ? 1_000_000_000 - nsec : nsec).padStart(9, '0');
  return `${isBefore ? '-' : ''}${whole}.${fraction.replace(/0+$/, '')}`;
}
