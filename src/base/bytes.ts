// File names, link targets and xattr names are bytes, not text. They travel as *byte strings*: JavaScript strings in
// which every code unit is one byte (latin1). V8 stores them in one byte a character, `<` compares them as the format
// sorts them, and they work as map keys; Buffers would cost 100 bytes each and do none of that.
import { endianness } from 'node:os';
import { assert } from './assert.ts';

declare const byteString: unique symbol;
export type ByteString = string & { readonly [byteString]?: true };

/** The bytes of `buffer` as a byte string. */
export function bytesToString(buffer: Uint8Array): ByteString {
  return Buffer.from(buffer.buffer, buffer.byteOffset, buffer.byteLength).toString('latin1');
}

/** The bytes behind a byte string; a fresh buffer that the caller owns. */
export function stringToBytes(text: ByteString): Buffer {
  return Buffer.from(text, 'latin1');
}

/** Ordinary text (from a command line or JSON) as the bytes of its UTF-8 form. */
export function utf8ToByteString(text: string): ByteString {
  return Buffer.from(text, 'utf8').toString('latin1');
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of a byte string, or undefined when it is not UTF-8. */
export function byteStringToUtf8(text: ByteString): string | undefined {
  try {
    return strictUtf8.decode(stringToBytes(text));
  } catch {
    return undefined;
  }
}

/** For people: UTF-8 where it is UTF-8; other bytes, control characters and backslashes as `\xNN`. */
export function displayBytes(text: ByteString): string {
  const utf8 = byteStringToUtf8(text);
  const hexOf = (unit: string) => `\\x${unit.charCodeAt(0).toString(16).padStart(2, '0')}`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is escaped
  if (utf8 !== undefined) return utf8.replace(/[\u0000-\u001f\u007f-\u009f\\]/g, hexOf);
  return text.replace(/[^\x20-\x5b\x5d-\x7e]/g, hexOf);
}

/** Byte order, as the format sorts names. */
export function compareBytes(a: ByteString, b: ByteString): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The first 12 characters of a digest or id, for messages. */
export function short(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}

/**
 * The 32-bit words of `bytes`, to be read or copied: a view where they are aligned, else a copy. Reading one takes a tenth of a field of
 * a record in code that is not compiled for speed yet, which for what a mount goes through first is always.
 */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  assert(endianness() === 'LE', 'words on disk are in the order of this machine');
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  return new Uint32Array(aligned.buffer, aligned.byteOffset, Math.floor(aligned.length / 4));
}

/** The 64-bit number whose low word is at `at`; above 2^53 inexact, but above every limit. */
export function u53At(words: Uint32Array, at: number): number {
  const high = words[at + 1] as number;
  const low = words[at] as number;
  return high === 0 ? low : low + high * 2 ** 32; // Almost none pays for numbers that are no integers to V8.
}
