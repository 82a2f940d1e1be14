// Where a registry's requests go, and with which certificates, as containerd is told: `certs.d/HOST/hosts.toml`, or without
// that file the certificates in the directory, as docker has them. A file that is malformed is refused: what it asks for, a
// mirror or a check, must not silently not happen.
import { readdir, readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { NaiadError } from '../base/errors.ts';
import { HOSTS_FILE_SIZE_MAX } from '../base/limits.ts';

export type Capability = 'pull' | 'resolve' | 'push' | 'referrers';

const CAPABILITIES: readonly Capability[] = ['pull', 'resolve', 'push', 'referrers'];

/** One place to send a registry's requests to. */
export interface HostConfig {
  /** With the path that stands for `/v2`, without a slash behind it. Undefined: the registry's own address. */
  readonly url: URL | undefined;
  readonly capabilities: readonly Capability[];
  /** Paths of PEM files. */
  readonly ca: readonly string[];
  /** A key may lie in the same file as its certificate. */
  readonly client: readonly { readonly cert: string; readonly key: string }[];
  readonly skipVerify: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly dialTimeoutMs: number | undefined;
}

export interface HostsOptions {
  /** The only directory to look in. */
  readonly certsDir?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Directories with one directory a registry, in the order they are searched. */
function certsDirs({ certsDir, env = process.env }: HostsOptions = {}): string[] {
  const only = certsDir ?? env.NAIAD_CERTS_DIR;
  if (only !== undefined && only !== '') return [only];
  const own = join(env.XDG_CONFIG_HOME ?? join(env.HOME ?? homedir(), '.config'), 'containers', 'certs.d');
  return ['/etc/containerd/certs.d', own, '/etc/containers/certs.d', '/etc/docker/certs.d'];
}

/**
 * What is configured for a registry: mirrors in their order, the registry itself last. Undefined when nothing is.
 * @throws NaiadError CONFIG_INVALID
 */
export async function readHosts(host: string, options: HostsOptions = {}): Promise<HostConfig[] | undefined> {
  for (const root of certsDirs(options)) {
    for (const name of directoryNames(host)) {
      const directory = join(root, name);
      if (!(await stat(directory).catch(() => undefined))?.isDirectory()) continue;
      const text = await readText(join(directory, 'hosts.toml'));
      if (text !== undefined) return parseHosts(text, join(directory, 'hosts.toml'));
      const config = await certificatesIn(directory);
      if (config) return [config];
    }
  }
  return undefined;
}

/** `host_5000_` where a file system has no colons, else as it is; then what counts for all. */
function directoryNames(host: string): string[] {
  const port = /^(.*):(\d+)$/.exec(host);
  return [...(port ? [`${port[1]}_${port[2]}_`] : []), host, '_default'];
}

async function readText(path: string): Promise<string | undefined> {
  try {
    const { size } = await stat(path);
    if (size > HOSTS_FILE_SIZE_MAX) throw invalid(path, `${size} bytes, at most ${HOSTS_FILE_SIZE_MAX} are read`);
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof NaiadError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw invalid(path, String(code), error);
  }
}

function invalid(where: string, why: string, cause?: unknown): NaiadError {
  return new NaiadError('CONFIG_INVALID', `${where}: ${why}`, cause === undefined ? {} : { cause });
}

const NOTHING_SPECIAL = { ca: [], client: [], skipVerify: false, headers: {}, dialTimeoutMs: undefined };

/** `*.crt` are authorities, `x.cert` and `x.key` a client certificate. */
async function certificatesIn(directory: string): Promise<HostConfig | undefined> {
  const names = (await readdir(directory)).sort();
  const ca = names.filter((name) => name.endsWith('.crt')).map((name) => join(directory, name));
  const client = names
    .filter((name) => name.endsWith('.cert'))
    .map((name) => {
      const key = name.replace(/cert$/, 'key');
      if (!names.includes(key)) throw invalid(join(directory, name), `its key ${key} is missing`);
      return { cert: join(directory, name), key: join(directory, key) };
    });
  if (ca.length === 0 && client.length === 0) return undefined;
  return { ...NOTHING_SPECIAL, url: undefined, capabilities: CAPABILITIES, ca, client };
}

/** @throws NaiadError CONFIG_INVALID with the line */
export function parseHosts(text: string, path: string): HostConfig[] {
  let document: Record<string, unknown>;
  try {
    document = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [why = ''] = error.message.split('\n');
    throw invalid(`${path}:${error.line}`, why);
  }
  const table = document.host ?? {};
  if (!isTable(table)) throw invalid(`${path}:${lineOf(text, /^\s*host\b/)}`, '"host" is no table');
  const mirrors = Object.entries(table).map(([url, settings]) => {
    const header = new RegExp(`\\bhost\\b.*${url.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`);
    const from = lineOf(text, header);
    if (!isTable(settings)) throw invalid(`${path}:${from}`, `host ${JSON.stringify(url)} is no table`);
    return new Settings(settings, text, path, from).config(url);
  });
  const { server } = document;
  if (server !== undefined && typeof server !== 'string') {
    throw invalid(`${path}:${lineOf(text, /^\s*server\b/)}`, '"server" is no text');
  }
  return [...mirrors, new Settings(document, text, path, 1).config(server || undefined)];
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The first line that matches, from `from` on; `from` itself when none does. */
function lineOf(text: string, pattern: RegExp, from = 1): number {
  const lines = text.split('\n').slice(from - 1);
  const at = lines.findIndex((line) => pattern.test(line));
  return at === -1 ? from : from + at;
}

/** The settings of one host, checked; what is wrong is said with its line. */
class Settings {
  readonly #values: Record<string, unknown>;
  readonly #text: string;
  readonly #path: string;
  readonly #from: number;

  constructor(values: Record<string, unknown>, text: string, path: string, from: number) {
    this.#values = values;
    this.#text = text;
    this.#path = path;
    this.#from = from;
  }

  config(address: string | undefined): HostConfig {
    const override = this.#boolean('override_path');
    return {
      url: address === undefined ? undefined : this.#url(address, override),
      capabilities: this.#capabilities(),
      ca: this.#texts('ca').map((file) => this.#file(file)),
      client: this.#client(),
      skipVerify: this.#boolean('skip_verify'),
      headers: this.#headers(),
      dialTimeoutMs: this.#duration('dial_timeout'),
    };
  }

  #wrong(key: string, why: string): NaiadError {
    const line = lineOf(this.#text, new RegExp(`\\b${key}\\b`), this.#from);
    return invalid(`${this.#path}:${line}`, why);
  }

  #boolean(key: string): boolean {
    const value = this.#values[key] ?? false;
    if (typeof value !== 'boolean') throw this.#wrong(key, `"${key}" is neither true nor false`);
    return value;
  }

  #texts(key: string): string[] {
    const value = this.#values[key] ?? [];
    const list = Array.isArray(value) ? value : [value];
    if (!list.every((one) => typeof one === 'string'))
      throw this.#wrong(key, `"${key}" is neither a text nor a list of them`);
    return list;
  }

  /** Relative ones lie beside the file. */
  #file(path: string): string {
    return resolve(this.#path, '..', path);
  }

  #url(address: string, override: boolean): URL {
    let url: URL | undefined;
    try {
      url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(address) ? address : `https://${address}`);
    } catch {
      // Falls through.
    }
    if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.search !== '') {
      throw invalid(`${this.#path}:${this.#from}`, `${JSON.stringify(address)} is no address of a registry`);
    }
    if (url.username !== '' || url.password !== '') {
      throw invalid(
        `${this.#path}:${this.#from}`,
        `the address of ${url.host} holds a user name or password: naiad login ${url.host} keeps them`,
      );
    }
    const path = url.pathname.replace(/\/+$/, '');
    url.pathname = override ? path : `${path.replace(/\/v2$/, '')}/v2`;
    url.hash = '';
    return url;
  }

  #capabilities(): readonly Capability[] {
    if (this.#values.capabilities === undefined) return CAPABILITIES;
    const names = this.#texts('capabilities');
    const unknown = names.find((name) => !CAPABILITIES.includes(name as Capability));
    if (unknown === undefined) return names as Capability[];
    throw this.#wrong('capabilities', `${JSON.stringify(unknown)} is none of ${CAPABILITIES.join(', ')}`);
  }

  #client(): HostConfig['client'] {
    const { client = [] } = this.#values;
    return (Array.isArray(client) ? client : [client]).map((entry) => {
      const [cert, key = cert, ...more] = Array.isArray(entry) ? entry : [entry];
      if (typeof cert !== 'string' || typeof key !== 'string' || more.length > 0) {
        throw this.#wrong('client', '"client" is no file, no list of files and no list of pairs of them');
      }
      return { cert: this.#file(cert), key: this.#file(key || cert) };
    });
  }

  #headers(): Record<string, string> {
    const { header = {} } = this.#values;
    if (!isTable(header)) throw this.#wrong('header', '"header" is no table');
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(header)) {
      const list = Array.isArray(value) ? value : [value];
      const fits = list.every((one) => typeof one === 'string' && /^[\t\x20-\x7e\x80-\xff]*$/.test(one));
      if (!fits || !/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name))
        throw this.#wrong('header', `header ${name} cannot be sent`);
      headers[name.toLowerCase()] = list.join(', ');
    }
    return headers;
  }

  #duration(key: string): number | undefined {
    const value = this.#values[key];
    if (value === undefined) return undefined;
    const [, count, unit] = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(String(value)) ?? [];
    if (count === undefined) throw this.#wrong(key, `"${key}" is no duration such as "3s"`);
    return Number(count) * { ms: 1, s: 1000, m: 60_000 }[unit as 'ms' | 's' | 'm'];
  }
}
