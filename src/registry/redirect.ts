// Redirects, followed by ourselves: credentials stay with the host they are for, and nobody is led inside.

import { isIP } from 'node:net';
import { withoutBrackets } from '../base/brackets.ts';
import { NaiadError } from '../base/errors.ts';
import { REDIRECTS_MAX } from '../base/limits.ts';
import { discard, displayUrl, type Exchange, type HttpRequest, headerOf } from './exchange.ts';

const STATUSES = new Set([301, 302, 303, 307, 308]);
/** Never sent to another scheme, host or port. Signed storage URLs even refuse requests that carry one. */
const PRIVATE_HEADERS = ['authorization', 'cookie', 'proxy-authorization'];

/** Follows redirects of `next`, at most REDIRECTS_MAX. Bodies are sent again on 307 and 308. */
export function followRedirects(next: Exchange): Exchange {
  return async (first) => {
    let request: HttpRequest = first;
    for (let count = 0; ; count++) {
      const response = await next(request);
      if (first.redirect === 'manual' || !STATUSES.has(response.status)) return response;
      const location = headerOf(response, 'location');
      if (location === undefined) return response;
      discard(response);
      if (count === REDIRECTS_MAX) {
        throw new NaiadError('REGISTRY_PROTOCOL', `${displayUrl(first.url)}: more than ${REDIRECTS_MAX} redirects`);
      }
      const target = resolveTarget(request.url, location, 'a redirect');
      request = redirected(request, response.status, target);
    }
  };
}

function redirected(request: HttpRequest, status: number, url: URL): HttpRequest {
  const sameOrigin = url.origin === request.url.origin;
  const headers = Object.entries(request.headers).filter(([name]) => sameOrigin || !PRIVATE_HEADERS.includes(name));
  const { body, ...rest } = request;
  // 303, and by old custom 301 and 302 for POST, mean "look there", without the body.
  const keepsBody = status === 307 || status === 308;
  const method = keepsBody || request.method === 'HEAD' ? request.method : 'GET';
  return { ...rest, method, url, headers: Object.fromEntries(headers), ...(keepsBody && body ? { body } : {}) };
}

/**
 * An address that the server at `base` sent us to (`what`: a redirect, an upload, a token service).
 * @throws NaiadError REGISTRY_PROTOCOL when it is no address, gives up TLS, or points from outside into this machine's
 *   own networks.
 */
export function resolveTarget(base: URL, location: string, what: string): URL {
  let url: URL;
  try {
    url = new URL(location, base);
  } catch {
    throw new NaiadError('REGISTRY_PROTOCOL', `${displayUrl(base)}: ${what} to something that is no address`);
  }
  const refuse = (why: string) =>
    new NaiadError('REGISTRY_PROTOCOL', `${displayUrl(base)}: ${what} to ${displayUrl(url)}, ${why}`);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw refuse('which is not http');
  // A proxy in front that ends TLS and does not tell: the same host, so the same scheme.
  if (base.protocol === 'https:' && url.protocol === 'http:' && url.hostname === base.hostname) {
    if (url.port === '' || url.port === base.port) url.protocol = 'https:';
  }
  if (base.protocol === 'https:' && url.protocol !== 'https:') throw refuse('which gives up encryption');
  if (url.hostname !== base.hostname && isInside(url.hostname) && !isInside(base.hostname)) {
    throw refuse('an address inside this network');
  }
  url.username = '';
  url.password = '';
  url.hash = '';
  return url;
}

/** True for `localhost`, 127.0.0.0/8 and ::1, as a URL spells them. */
export function isLoopback(hostname: string): boolean {
  const address = bareAddress(hostname);
  if (isIP(address) === 4) return address.startsWith('127.');
  return address === '::1' || address === 'localhost' || address.endsWith('.localhost');
}

/** Loopback, link-local and private addresses, written as addresses. Names are not looked up. */
function isInside(hostname: string): boolean {
  if (isLoopback(hostname)) return true;
  const address = bareAddress(hostname);
  if (isIP(address) === 4) return /^(0|10|169\.254|172\.(1[6-9]|2\d|3[01])|192\.168)\./.test(address);
  return isIP(address) === 6 && /^(fe[89ab]|f[cd]|::)/i.test(address);
}

function bareAddress(hostname: string): string {
  return withoutBrackets(hostname).toLowerCase();
}
