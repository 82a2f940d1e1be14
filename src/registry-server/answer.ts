// What a route returns; the server puts it on the wire, at the rate of the link.

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Left out where there is none, and for HEAD. `size` is exact. */
  readonly body?: { readonly size: number; open(): AsyncIterable<Uint8Array> };
}

/** An answer of bytes in memory, with its length; HEAD gets the length alone. */
export function bytesAnswer(
  status: number,
  headers: Readonly<Record<string, string>>,
  bytes: Uint8Array,
  method = 'GET',
): Answer {
  const sized = { ...headers, 'content-length': String(bytes.length) };
  if (method === 'HEAD') return { status, headers: sized };
  return {
    status,
    headers: sized,
    body: {
      size: bytes.length,
      open: async function* () {
        yield bytes;
      },
    },
  };
}

/** Status 200. */
export function jsonAnswer(value: unknown, headers: Readonly<Record<string, string>> = {}): Answer {
  return bytesAnswer(200, { 'content-type': 'application/json', ...headers }, Buffer.from(JSON.stringify(value)));
}

/** With `content-length: 0`, but for a 204, which has none. */
export function emptyAnswer(status: number, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status, headers: status === 204 ? headers : { 'content-length': '0', ...headers } };
}
