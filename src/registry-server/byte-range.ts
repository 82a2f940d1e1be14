// `Range` of a request against an object of a known size (RFC 9110): one range; what is malformed, or several, is as if
// nothing had been asked for.

export type RangeAnswer =
  /** The whole object, status 200. */
  | { readonly kind: 'whole' }
  /** Status 206. */
  | { readonly kind: 'part'; readonly offset: number; readonly size: number }
  /** Status 416. */
  | { readonly kind: 'unsatisfiable' };

/** What to answer to the header as it came, for an object of `size` bytes. */
export function answerRange(header: string | undefined, size: number): RangeAnswer {
  const match = /^bytes=\s*(\d{0,15})-(\d{0,15})\s*$/i.exec(header?.trim() ?? '');
  const [, first = '', last = ''] = match ?? [];
  if (first === '' && last === '') return { kind: 'whole' };
  if (first === '') {
    const suffix = Math.min(Number(last), size);
    return suffix === 0 ? { kind: 'unsatisfiable' } : { kind: 'part', offset: size - suffix, size: suffix };
  }
  const offset = Number(first);
  if (last !== '' && Number(last) < offset) return { kind: 'whole' };
  if (offset >= size) return { kind: 'unsatisfiable' };
  const end = last === '' ? size : Math.min(Number(last) + 1, size);
  return { kind: 'part', offset, size: end - offset };
}
