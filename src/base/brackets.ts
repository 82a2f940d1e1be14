/** An address or name as sockets take it: URLs and `HOST:PORT` have those of IPv6 in brackets. */
export function withoutBrackets(host: string): string {
  return host.replace(/^\[|\]$/g, '');
}
