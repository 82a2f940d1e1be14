// Requests counted in what a client sends, by their first lines. Pure.

/** Longer heads are not a registry client's. */
const HEAD_SIZE_MAX = 64 * 1024;

/** Finds the requests in one connection's bytes. */
export class RequestLines {
  #text = '';
  #bodyLeft = 0;

  /** The first lines of the requests that are complete, up to their bodies, with these bytes. */
  push(bytes: Uint8Array): string[] {
    const found: string[] = [];
    this.#text += Buffer.from(bytes).toString('latin1');
    for (;;) {
      const skipped = Math.min(this.#bodyLeft, this.#text.length);
      this.#text = this.#text.slice(skipped);
      this.#bodyLeft -= skipped;
      const end = this.#text.indexOf('\r\n\r\n');
      if (end === -1) break;
      const head = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 4);
      this.#bodyLeft = Number(/\r\ncontent-length: *(\d{1,15})/i.exec(head)?.[1] ?? 0);
      found.push(head.split('\r\n', 1)[0] as string);
    }
    if (this.#text.length > HEAD_SIZE_MAX) this.#text = '';
    return found;
  }
}
