// Names of an image where only text can pass, as through the fuse-native package. A name that is UTF-8 passes as it is.
// Any other shows with the bytes escaped, `caf\xe9`, and that text leads back to it: nothing of an image is hidden.
import { type ByteString, byteStringToUtf8, displayBytes, utf8ToByteString } from '../base/bytes.ts';

/** True when the name cannot pass as it is. */
function needsEscape(name: ByteString): boolean {
  return byteStringToUtf8(name) === undefined;
}

export function nameToText(name: ByteString): string {
  return byteStringToUtf8(name) ?? displayBytes(name);
}

/** The names that `text` can stand for, most likely first. */
export function textToNames(text: string): ByteString[] {
  const plain = utf8ToByteString(text);
  if (!text.includes('\\x')) return [plain];
  const unescaped = plain.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return needsEscape(unescaped) && nameToText(unescaped) === text ? [plain, unescaped] : [plain];
}
