// An errno from the addon as the error that Node's own calls would have thrown.
import { getSystemErrorMap } from 'node:util';

/** `errno` is positive, as the addon answers. */
export function errnoError(errno: number, operation: string, path: Uint8Array): NodeJS.ErrnoException {
  const [code, text] = getSystemErrorMap().get(-errno) ?? [`E${errno}`, 'unknown error'];
  const place = Buffer.from(path).toString();
  const error = new Error(`${code}: ${text}, ${operation} '${place}'`);
  return Object.assign(error, { errno: -errno, code, syscall: operation, path: place });
}
