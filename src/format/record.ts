// Every on-disk record is declared once, as a table of fields. From the table come reading, writing, single-field access
// in loops, and the format's documentation. A table that has a gap, an overlap or a wrong total fails when it is loaded.
import { assert } from '../base/assert.ts';
import { type ByteString, bytesToString } from '../base/bytes.ts';

/** One field: where it lies, how it reads and writes. `T` is `never` for reserved bytes, which have no value. */
export interface Field<T> {
  readonly offset: number;
  readonly size: number;
  /** As the documentation names it: `u32`, `ascii`, `reserved`. */
  readonly type: string;
  readonly doc: string;
  read(view: DataView, at: number): T;
  write(view: DataView, at: number, value: T): void;
}

// biome-ignore lint/suspicious/noExplicitAny: a table mixes field types; RecordOf recovers each
type Fields = Record<string, Field<any>>;
type ValueOf<F> = F extends Field<infer T> ? T : never;

/** The value of a record: a property per field, reserved bytes left out. */
export type ValuesOf<F extends Fields> = {
  [K in keyof F as [ValueOf<F[K]>] extends [never] ? never : K]: ValueOf<F[K]>;
};
export type RecordOf<R> = R extends RecordTable<infer F> ? ValuesOf<F> : never;

export interface RecordTable<F extends Fields> {
  readonly name: string;
  /** Bytes of one record. */
  readonly size: number;
  readonly fields: F;
  /** The record at `at`. The caller has checked that `size` bytes are there. */
  read(view: DataView, at: number): ValuesOf<F>;
  /** Writes all bytes of the record, zeros where reserved. Values out of a field's range are bugs. */
  write(view: DataView, at: number, value: ValuesOf<F>): void;
  /** The record alone, in a fresh buffer. */
  encode(value: ValuesOf<F>): Uint8Array;
}

/** Declares a record of `size` bytes. Fields come in order of offset and cover every byte. */
export function record<F extends Fields>(name: string, size: number, fields: F): RecordTable<F> {
  let end = 0;
  for (const [key, field] of Object.entries(fields)) {
    assert(field.offset === end, `${name}.${key} starts at ${field.offset}, the field before it ends at ${end}`);
    end += field.size;
  }
  assert(end === size, `${name} has ${end} bytes of fields, declared are ${size}`);
  const valued = Object.entries(fields).filter(([, field]) => field.type !== 'reserved');
  const table: RecordTable<F> = {
    name,
    size,
    fields,
    read(view, at) {
      const value: Record<string, unknown> = {};
      for (const [key, field] of valued) value[key] = field.read(view, at);
      return value as ValuesOf<F>;
    },
    write(view, at, value) {
      new Uint8Array(view.buffer, view.byteOffset + at, size).fill(0);
      for (const [key, field] of valued) field.write(view, at, (value as Record<string, unknown>)[key]);
    },
    encode(value) {
      const bytes = new Uint8Array(size);
      table.write(new DataView(bytes.buffer), 0, value);
      return bytes;
    },
  };
  return table;
}

/** The fields of a record of words, by the 32-bit word in which each starts. */
export function wordsIn<F extends Fields>({ fields }: RecordTable<F>): { readonly [Name in keyof F]: number } {
  const places = Object.entries(fields).map(([name, { offset }]) => [name, offset / 4]);
  return Object.fromEntries(places) as { readonly [Name in keyof F]: number };
}

/** A DataView over exactly the bytes of `bytes`. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function checkedRange(value: number, max: number, what: string): number {
  // The message is not made for values that are right: this is called for millions of them.
  if (!(Number.isInteger(value) && value >= 0 && value <= max)) assert(false, `${what} is ${value}, must be 0…${max}`);
  return value;
}

export function u8(offset: number, doc: string): Field<number> {
  return {
    offset,
    size: 1,
    type: 'u8',
    doc,
    read: (view, at) => view.getUint8(at + offset),
    write: (view, at, value) => view.setUint8(at + offset, checkedRange(value, 0xff, doc)),
  };
}

export function u16(offset: number, doc: string): Field<number> {
  return {
    offset,
    size: 2,
    type: 'u16',
    doc,
    read: (view, at) => view.getUint16(at + offset, true),
    write: (view, at, value) => view.setUint16(at + offset, checkedRange(value, 0xffff, doc), true),
  };
}

export function u32(offset: number, doc: string): Field<number> {
  return {
    offset,
    size: 4,
    type: 'u32',
    doc,
    read: (view, at) => view.getUint32(at + offset, true),
    write: (view, at, value) => view.setUint32(at + offset, checkedRange(value, 0xffff_ffff, doc), true),
  };
}

/**
 * A 64-bit count, size or offset as a number. Values above 2^53 read inexactly but still above every limit, so that a
 * bounds check refuses them; they are never written.
 */
export function u53(offset: number, doc: string): Field<number> {
  return {
    offset,
    size: 8,
    type: 'u64',
    doc,
    read: (view, at) => view.getUint32(at + offset, true) + view.getUint32(at + offset + 4, true) * 2 ** 32,
    write: (view, at, value) => {
      checkedRange(value, Number.MAX_SAFE_INTEGER, doc);
      view.setUint32(at + offset, value % 2 ** 32, true);
      view.setUint32(at + offset + 4, Math.floor(value / 2 ** 32), true);
    },
  };
}

/** A signed 64-bit number, for seconds before 1970. Beyond ±2^53 it reads inexactly and is never written. */
export function i53(offset: number, doc: string): Field<number> {
  return {
    offset,
    size: 8,
    type: 'i64',
    doc,
    read: (view, at) => view.getUint32(at + offset, true) + view.getInt32(at + offset + 4, true) * 2 ** 32,
    write: (view, at, value) => {
      assert(Number.isSafeInteger(value), `${doc} is ${value}`);
      view.setBigInt64(at + offset, BigInt(value), true);
    },
  };
}

/** A full 64-bit mask. */
export function u64(offset: number, doc: string): Field<bigint> {
  return {
    offset,
    size: 8,
    type: 'u64',
    doc,
    read: (view, at) => view.getBigUint64(at + offset, true),
    write: (view, at, value) => view.setBigUint64(at + offset, value, true),
  };
}

/** Raw bytes; reading gives a view into the source. */
export function bytes(offset: number, size: number, doc: string): Field<Uint8Array> {
  return {
    offset,
    size,
    type: `bytes[${size}]`,
    doc,
    read: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at + offset, size),
    write: (view, at, value) => {
      assert(value.length === size, `${doc} has ${value.length} bytes, must be ${size}`);
      new Uint8Array(view.buffer, view.byteOffset + at + offset, size).set(value);
    },
  };
}

/** A name padded with NULs; reads up to the first NUL, as a byte string. */
export function ascii(offset: number, size: number, doc: string): Field<ByteString> {
  return {
    offset,
    size,
    type: `ascii[${size}]`,
    doc,
    read: (view, at) => {
      const all = new Uint8Array(view.buffer, view.byteOffset + at + offset, size);
      const end = all.indexOf(0);
      return bytesToString(end < 0 ? all : all.subarray(0, end));
    },
    write: (view, at, value) => {
      assert(value.length <= size, `${doc} "${value}" is longer than ${size}`);
      for (let i = 0; i < value.length; i++) view.setUint8(at + offset + i, value.charCodeAt(i));
    },
  };
}

/** Bytes with no meaning: written as zeros, passed over when read. */
export function reserved(offset: number, size: number, doc = 'zero'): Field<never> {
  return {
    offset,
    size,
    type: 'reserved',
    doc,
    read: () => {
      throw new Error('reserved bytes have no value');
    },
    write: () => undefined,
  };
}
