// Writing all of some bytes: the system may take fewer at once than it is given.
import { writeSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';

/**
 * Writes all of `bytes` from byte `position` of the file on, or, where it is `null`, from where the file stands. What was written
 * before a failure stays. @throws the system's error, as it came
 */
export async function writeFully(file: FileHandle, bytes: Uint8Array, position: number | null): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const place = position === null ? null : position + done;
    done += (await file.write(bytes, done, bytes.length - done, place)).bytesWritten;
  }
}

/** As `writeFully`, of a descriptor and without leaving the thread. */
export function writeFullySync(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(fd, bytes, done, bytes.length - done, position + done);
  }
}
