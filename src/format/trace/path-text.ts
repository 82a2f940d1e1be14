// Paths in text: a path of an image is bytes, a line of JSON is UTF-8. What is no printable UTF-8, and the backslash, is
// written `\xNN`, a byte each, so that every path has one text and the way back is exact.
import { type ByteString, byteStringToUtf8, utf8ToByteString } from '../../base/bytes.ts';

/** The one text of a path. */
export function pathText(path: ByteString): string {
  const utf8 = byteStringToUtf8(path);
  const escaped = (text: string) =>
    [...Buffer.from(text, utf8 === undefined ? 'latin1' : 'utf8')]
      .map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`)
      .join('');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is escaped
  if (utf8 !== undefined) return utf8.replace(/[\u0000-\u001f\u007f-\u009f\\\u2028\u2029]/g, escaped);
  return path.replace(/[^\x20-\x5b\x5d-\x7e]/g, escaped);
}

/** The path behind its text; undefined when that is no absolute path made of names. */
export function parsePathText(text: string): ByteString | undefined {
  const bytes = utf8ToByteString(text).replace(/\\x([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return isCleanPath(bytes) ? bytes : undefined;
}

/** True for `/` and for absolute paths of names: none of them empty, `.` or `..`, none with a NUL. */
export function isCleanPath(path: ByteString): boolean {
  if (path === '/') return true;
  if (!path.startsWith('/') || path.includes('\0')) return false;
  return path
    .slice(1)
    .split('/')
    .every((name) => name !== '' && name !== '.' && name !== '..');
}
