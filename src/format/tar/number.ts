// Numbers as tar headers write them.

/**
 * A numeric field: octal digits after spaces and NULs, ended by either or by the field; or nothing, which is 0; or GNU's
 * base-256 (two's complement, marked by the top bit). Undefined when it is neither, or no safe integer.
 */
export function parseTarNumber(field: Uint8Array): number | undefined {
  const first = field[0] as number;
  return first & 0x80 ? parseBase256(field) : parseOctal(field);
}

const SPACE = 0x20;

function parseOctal(field: Uint8Array): number | undefined {
  let at = 0;
  while (at < field.length && field[at] === SPACE) at++;
  while (at < field.length && field[at] === 0) at++;
  let value = 0;
  for (; at < field.length; at++) {
    const digit = (field[at] as number) - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  if (at < field.length && field[at] !== SPACE && field[at] !== 0) return undefined;
  return value; // 12 digits of 3 bits stay below 2^53
}

function parseBase256(field: Uint8Array): number | undefined {
  const negative = ((field[0] as number) & 0x40) !== 0;
  let magnitude = 0; // of a negative number: of its complement
  for (let i = 0; i < field.length; i++) {
    const byte = i === 0 ? (field[0] as number) & 0x3f : (field[i] as number);
    magnitude = magnitude * 256 + (negative ? (i === 0 ? 0x3f : 0xff) - byte : byte);
    if (magnitude > Number.MAX_SAFE_INTEGER) return undefined;
  }
  return negative ? -magnitude - 1 : magnitude;
}
