// Which proxy a request goes through: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in either case, as curl and Go read
// them. Loopback addresses never go through one.

import { BlockList, isIP } from 'node:net';
import { withoutBrackets } from '../base/brackets.ts';
import { NaiadError } from '../base/errors.ts';
import { isLoopback } from './redirect.ts';

export type ProxyEnvironment = Readonly<Record<string, string | undefined>>;

/** @throws NaiadError CONFIG_INVALID when a variable holds no address */
export function proxyFor(url: URL, env: ProxyEnvironment = process.env): URL | undefined {
  const scheme = url.protocol === 'https:' ? 'https' : 'http';
  const name = [`${scheme}_proxy`, `${scheme.toUpperCase()}_PROXY`, 'all_proxy', 'ALL_PROXY'].find((key) => env[key]);
  if (name === undefined || isLoopback(url.hostname)) return undefined;
  if (isExempt(url, env.no_proxy ?? env.NO_PROXY ?? '')) return undefined;
  const text = env[name] as string;
  try {
    const proxy = new URL(text.includes('://') ? text : `http://${text}`);
    if (proxy.protocol === 'http:' || proxy.protocol === 'https:') return proxy;
  } catch {
    // Not quoted: it may hold a password.
  }
  throw new NaiadError('CONFIG_INVALID', `$${name} is no address of an HTTP proxy`, {
    hint: 'For example: http://proxy.example:3128',
  });
}

/** `*`, a name and all below it, a name with a port, an address, a network as 10.0.0.0/8. */
function isExempt(url: URL, list: string): boolean {
  const host = withoutBrackets(url.hostname).toLowerCase();
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return list.split(/[\s,]+/).some((entry) => {
    if (entry === '*') return true;
    const [, network, bits] = /^([0-9a-f.:]+)\/(\d{1,3})$/i.exec(entry) ?? [];
    if (network !== undefined) return isWithin(host, network, Number(bits));
    const [, name = entry, only] = /^(\[[^\]]+\]|[^:]+):(\d+)$/.exec(entry) ?? [];
    if (only !== undefined && only !== port) return false;
    const bare = withoutBrackets(name.toLowerCase().replace(/^\*?\./, ''));
    return bare !== '' && (host === bare || host.endsWith(`.${bare}`));
  });
}

function isWithin(host: string, network: string, bits: number): boolean {
  const [kind, own] = [isIP(network), isIP(host)];
  if (kind === 0 || kind !== own || bits > (kind === 4 ? 32 : 128)) return false;
  const type = kind === 4 ? 'ipv4' : 'ipv6';
  const block = new BlockList();
  block.addSubnet(network, bits, type);
  return block.check(host, type);
}
