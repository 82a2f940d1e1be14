// Which chunks of a mount were read first, in which order, and who waited: what a trace is made of. Always kept, up to a
// bound; a chunk that was touched before costs a reader a look at one bit.
import { TRACE_TOUCHES_MAX } from '../base/limits.ts';
import type { Extent } from '../image/bootstrap-reader.ts';
import type { Device } from '../image/device.ts';

export interface FirstTouch {
  /** Where the chunk begins on its device, and in the file that was read; no nid where the kernel reads devices. */
  readonly device: number;
  readonly deviceOffset: number;
  readonly nid?: number | undefined;
  readonly fileOffset?: number | undefined;
  /** Of the system's monotonic clock. */
  readonly atMs: number;
  /** 0 when the bytes were there; undefined while somebody waits for them. */
  readonly waitMs: number | undefined;
}

export interface RecordedTouches {
  readonly touches: readonly FirstTouch[];
  /** True when there were more than are kept. */
  readonly cut: boolean;
}

/** The clock that touches are timed with, the same in all processes. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

/** Touches of reads that come to JavaScript. */
export class FirstTouches {
  readonly #devices: readonly Device[];
  /** A bit a chunk; none for devices that nobody touched. */
  readonly #seen: Uint8Array[] = [];
  readonly #touches: { -readonly [K in keyof FirstTouch]: FirstTouch[K] }[] = [];
  readonly #max: number;
  #cut = false;

  constructor(devices: readonly Device[], max = TRACE_TOUCHES_MAX) {
    this.#devices = devices;
    this.#max = max;
  }

  /** Extents of a file from `offset` were read. `arrived` settles when their bytes are there; none when they were. */
  ofFile(
    file: { readonly nid: number; readonly offset: number },
    extents: readonly Extent[],
    arrived?: Promise<void>,
  ): void {
    let { offset } = file;
    for (const extent of extents) {
      const range = { offset: extent.deviceOffset, size: extent.size };
      this.#add(extent.blobIndex, range, { nid: file.nid, shift: offset - extent.deviceOffset }, arrived);
      offset += extent.size;
    }
  }

  /** A range of a device was read by the kernel. */
  ofDevice(device: number, range: { readonly offset: number; readonly size: number }, arrived?: Promise<void>): void {
    this.#add(device, range, undefined, arrived);
  }

  get recorded(): RecordedTouches {
    return { touches: this.#touches, cut: this.#cut };
  }

  #add(
    device: number,
    { offset, size }: { readonly offset: number; readonly size: number },
    file: { readonly nid: number; readonly shift: number } | undefined,
    arrived: Promise<void> | undefined,
  ): void {
    const table = this.#devices[device]?.chunks;
    if (!table) return;
    this.#seen[device] ??= new Uint8Array(Math.ceil(table.count / 8));
    const bits = this.#seen[device];
    for (let chunk = table.indexAt(offset) ?? table.count; chunk < table.count; chunk++) {
      const deviceOffset = table.uncompressedOffset(chunk);
      if (deviceOffset >= offset + size) return;
      const [byte, bit] = [chunk >>> 3, 1 << (chunk & 7)];
      if (((bits[byte] as number) & bit) !== 0 || !table.present(chunk)) continue;
      bits[byte] = (bits[byte] as number) | bit;
      if (this.#touches.length >= this.#max) {
        this.#cut = true;
        return;
      }
      const touch: FirstTouch & { waitMs: number | undefined } = {
        ...{ device, deviceOffset, atMs: monotonicMs(), waitMs: arrived === undefined ? 0 : undefined },
        ...(file && { nid: file.nid, fileOffset: deviceOffset + file.shift }),
      };
      this.#touches.push(touch);
      const done = () => {
        touch.waitMs = monotonicMs() - touch.atMs;
      };
      arrived?.then(done, done);
    }
  }
}
