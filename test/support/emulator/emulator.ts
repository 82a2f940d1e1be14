// A registry that behaves as a table says: in front of the embedded one, which keeps the images, stands what a service is
// known to do differently.
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request as forward, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startRegistry } from '../../../src/registry-server/start.ts';
import type { Service } from './services.ts';

export interface Account {
  readonly user: string;
  readonly password: string;
}

export interface Emulator extends AsyncDisposable {
  readonly host: string;
  /** Of what signed addresses point to. */
  readonly storageHost: string;
  /** Method, kind and status of each request, in order: `PUT upload 201`. */
  readonly log: string[];
  /** Ends every token that was given out. */
  revokeTokens(): void;
}

type Kind = 'ping' | 'manifest' | 'blob' | 'upload' | 'tags' | 'referrers' | 'token';

interface Asked {
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: string;
  readonly url: URL;
  readonly kind: Kind;
  readonly repository: string;
}

export async function startEmulator(service: Service, root: string, account: Account): Promise<Emulator> {
  const backing = await startRegistry({ root, host: '127.0.0.1', port: 0 });
  const running = new Running(service, new URL(backing.url), account);
  const front = await listening(createServer((message, response) => void running.serve(message, response)));
  const storage = await listening(createServer((message, response) => running.serveStorage(message, response)));
  running.host = front.host;
  running.storageHost = storage.host;
  return {
    host: front.host,
    storageHost: storage.host,
    log: running.log,
    revokeTokens: () => running.tokens.clear(),
    async [Symbol.asyncDispose]() {
      for (const { server } of [front, storage]) {
        server.close();
        server.closeAllConnections();
      }
      await backing.close();
    },
  };
}

async function listening(server: Server): Promise<{ readonly server: Server; readonly host: string }> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, host: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

class Running {
  host = '';
  storageHost = '';
  readonly log: string[] = [];
  readonly #service: Service;
  readonly #backing: URL;
  readonly #account: Account;
  readonly tokens = new Map<string, string[]>();
  readonly #secret = randomBytes(16);
  readonly #wholes = new Map<string, number>();

  constructor(service: Service, backing: URL, account: Account) {
    this.#service = service;
    this.#backing = backing;
    this.#account = account;
  }

  async serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(String(message.url), `http://${this.host}`);
    const method = String(message.method);
    const [, repository = '', family = ''] =
      /^\/v2\/(.+?)\/(blobs\/uploads|blobs|manifests|tags|referrers)\//.exec(url.pathname) ?? [];
    const kinds: Record<string, Kind> = { 'blobs/uploads': 'upload', blobs: 'blob', manifests: 'manifest' };
    const kind = url.pathname === '/token' ? 'token' : (kinds[family] ?? ((family || 'ping') as Kind));
    const asked: Asked = { message, response, method, url, kind, repository };
    message.on('error', () => {});
    response.on('finish', () => this.log.push(`${method} ${kind} ${response.statusCode}`));
    try {
      if (kind === 'token') return await this.#giveToken(asked);
      if (!this.#mayPass(asked)) return;
      if (!(await this.#refused(asked))) await this.#pass(asked);
    } catch {
      response.destroy();
    }
  }

  #basic(): string {
    return `Basic ${Buffer.from(`${this.#account.user}:${this.#account.password}`).toString('base64')}`;
  }

  #mayPass(asked: Asked): boolean {
    const { auth } = this.#service;
    const { authorization } = asked.message.headers;
    if (auth.kind === 'none') return true;
    if (auth.kind === 'basic') {
      if (authorization === this.#basic()) return true;
      return answer(asked, 401, { 'www-authenticate': 'Basic realm="registry"' });
    }
    const scopes = this.tokens.get(authorization?.replace(/^Bearer /, '') ?? '');
    const action = asked.method === 'GET' || asked.method === 'HEAD' ? 'pull' : 'push';
    const wanted =
      asked.kind === 'ping'
        ? undefined
        : `repository:${asked.repository}:${asked.method === 'DELETE' && asked.kind !== 'upload' ? 'delete' : action}`;
    if (scopes && (wanted === undefined || allows(scopes, wanted))) return true;
    if (auth.staleBasicRealm && authorization && !scopes) {
      return answer(asked, 401, { 'www-authenticate': `Basic realm="${auth.staleBasicRealm}"` });
    }
    const needed = action === 'push' && wanted?.endsWith('push') ? wanted.replace(/push$/, 'pull,push') : wanted;
    const scope = asked.kind === 'ping' ? auth.pingScope : needed;
    if (auth.bareRefusals && asked.kind !== 'ping') return answer(asked, 401);
    const error = scopes ? ',error="insufficient_scope"' : '';
    const challenge = `Bearer realm="http://${this.host}/token",service="${this.host}"${scope ? `,scope="${scope}"` : ''}${error}`;
    return answer(asked, 401, { 'www-authenticate': challenge });
  }

  async #giveToken(asked: Asked): Promise<void> {
    const { auth } = this.#service;
    if (auth.kind !== 'bearer') return void answer(asked, 404);
    if (asked.method === 'POST') return void answer(asked, auth.post ?? 405);
    if (asked.message.headers.authorization !== this.#basic()) return void answer(asked, 401);
    const value = randomBytes(12).toString('hex');
    this.tokens.set(value, asked.url.searchParams.getAll('scope'));
    const body = { [auth.tokenKey ?? 'token']: value, ...(auth.expiresIn ? { expires_in: auth.expiresIn } : {}) };
    answer(asked, 200, { 'content-type': 'application/json' }, JSON.stringify(body));
  }

  /** True when the service's own way of refusing has answered. */
  async #refused(asked: Asked): Promise<boolean> {
    const { uploads, mount, referrers, deletion = {}, blobs, cookie, frozen, repositories } = this.#service;
    const { method, kind, url, message, repository } = asked;
    const refuse = async (status: number, headers: Record<string, string> = {}, text = '') => {
      // The body is taken first, so that the answer meets a client that listens.
      for await (const _ of message);
      answer(asked, status, headers, text);
      return true;
    };
    if (cookie) asked.response.setHeader('set-cookie', `${cookie}=1; Path=/`);
    if (message.headers.cookie) return await refuse(403, {}, errorOf('FORBIDDEN', 'CSRF token not found'));
    if (repositories && repository && method !== 'GET' && method !== 'HEAD' && !repositories.includes(repository)) {
      return await refuse(404, {}, errorOf('NAME_UNKNOWN', 'no such repository'));
    }
    if (frozen && method === 'PUT' && url.pathname.endsWith('/manifests/frozen')) {
      return await refuse(frozen.status, {}, errorOf(frozen.code, 'the tag may not be changed'));
    }
    const size = Number(message.headers['content-length'] ?? 0);
    if (kind === 'upload') {
      if (method === 'PUT' && size > (uploads.putMax ?? Number.POSITIVE_INFINITY)) return await refuse(413);
      if (method === 'PUT' && size > 0 && uploads.put) return await refuse(uploads.put);
      if (method === 'PATCH' && size > (uploads.patchMax ?? Number.POSITIVE_INFINITY)) return await refuse(416);
      if (method === 'PATCH' && message.headers['content-range'] && uploads.chunks) return await refuse(uploads.chunks);
      if (method === 'GET' && uploads.status) return await refuse(uploads.status);
      if (url.searchParams.has('mount') && mount && mount !== 202) return await refuse(mount);
      if (url.searchParams.has('mount') && mount === 202) url.search = '';
    }
    if (kind === 'referrers' && referrers) {
      return await refuse(referrers, { location: 'http://127.0.0.1:9/login' }, '<html>not here</html>');
    }
    if (kind === 'manifest' && method === 'DELETE') {
      const status = url.pathname.includes('sha256:') ? deletion.manifest : deletion.tag;
      if (status) return await refuse(status);
    }
    if (kind === 'blob' && method !== 'DELETE' && blobs.kind === 'redirect') return await this.#redirect(asked, blobs);
    return false;
  }

  async #redirect(asked: Asked, delivery: { readonly status: number; readonly lifetimeMs: number }): Promise<boolean> {
    const found = await this.#ask(asked, 'HEAD');
    if (found !== 200) return answer(asked, found) || true;
    const until = String(Date.now() + delivery.lifetimeMs);
    const signature = this.#sign(asked.url.pathname, until);
    const location = `http://${this.storageHost}${asked.url.pathname}?until=${until}&signature=${signature}`;
    answer(asked, delivery.status, { location });
    return true;
  }

  #sign(path: string, until: string): string {
    return createHmac('sha256', this.#secret).update(`${path} ${until}`).digest('hex');
  }

  async #ask({ url }: Asked, method: string): Promise<number> {
    const asking = forward(new URL(url.pathname, this.#backing), { method }).end();
    const [response] = (await once(asking, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode ?? 500;
  }

  /** Storage as signed addresses reach it: for GET, for a while, and for nobody who shows other credentials. */
  serveStorage(message: IncomingMessage, response: ServerResponse): void {
    const url = new URL(String(message.url), `http://${this.storageHost}`);
    const until = String(url.searchParams.get('until'));
    const { blobs } = this.#service;
    const rules = blobs.kind === 'redirect' ? blobs : undefined;
    const isMine = url.searchParams.get('signature') === this.#sign(url.pathname, until);
    const wrong = !isMine || Date.now() > Number(until);
    const isMany = message.headers.range?.includes(',') ?? false;
    const status = wrong
      ? 403
      : message.headers.authorization
        ? 400
        : message.method === 'HEAD' && rules?.head
          ? rules.head
          : isMany && rules?.multipleRanges
            ? rules.multipleRanges
            : undefined;
    this.log.push(`${message.method} storage ${status ?? 200}`);
    if (status !== undefined) response.writeHead(status).end('<Error/>');
    else void pipe(message, response, new URL(url.pathname, this.#backing), (headers) => headers);
  }

  async #pass(asked: Asked): Promise<void> {
    const { message, response, method, kind, url } = asked;
    const { blobs, uploads, manifestHeaders, referrers, tags } = this.#service;
    if (kind === 'blob' && blobs.kind === 'whole' && message.headers.range) {
      const times = (this.#wholes.get(url.pathname) ?? 0) + 1;
      this.#wholes.set(url.pathname, times);
      if (times <= blobs.times) delete message.headers.range;
    }
    let body: Buffer | undefined;
    if (kind === 'manifest' && method === 'PUT') {
      body = Buffer.concat(await message.toArray());
      const complaint = this.#complaint(body, String(message.headers['content-type']));
      if (complaint)
        return void answer(asked, 405, {}, JSON.stringify({ errors: [{ code: 'UNSUPPORTED', message: complaint }] }));
    }
    const target = new URL(url.pathname + url.search, this.#backing);
    if (kind === 'tags' && tags) return await this.#listTags(asked, target);
    await pipe(
      message,
      response,
      target,
      (headers, status) => {
        const changed = { ...headers };
        if (kind === 'manifest') Object.assign(changed, manifestHeaders);
        if (kind === 'manifest' && referrers) delete changed['oci-subject'];
        if (kind === 'upload' && method === 'POST' && uploads.emptyRange) changed.range = uploads.emptyRange;
        if (kind === 'upload' && method === 'PATCH' && uploads.frozenRange) changed.range = '0-0';
        const patched = kind === 'upload' && method === 'PATCH' && status === 202;
        return { ...changed, ...(patched && uploads.patchStatus ? { ':status': String(uploads.patchStatus) } : {}) };
      },
      body,
    );
  }

  #complaint(bytes: Buffer, type: string): string | undefined {
    const rules = this.#service.manifests ?? {};
    const document = JSON.parse(bytes.toString('utf8'));
    if (rules.mediaTypeRequired && !document.mediaType) return 'Invalid JSON syntax';
    if (rules.ociOnly && !type.startsWith('application/vnd.oci.')) return 'only OCI media types';
    if (rules.noSubjectPlatform && document.subject?.platform) return 'subject has a platform';
    const named = (document.manifests ?? []) as { platform?: Record<string, unknown> }[];
    if (rules.noOsFeatures && named.some(({ platform }) => platform?.['os.features'])) return 'os.features';
    return undefined;
  }

  async #listTags(asked: Asked, target: URL): Promise<void> {
    const answered = await fetch(new URL(target.pathname, target));
    const list = (await answered.json()) as { tags?: unknown[] };
    if (answered.ok) list.tags = [...(list.tags ?? []).reverse(), ...(this.#service.tags?.extra ?? [])];
    answer(asked, answered.status, { 'content-type': 'application/json' }, JSON.stringify(list));
  }
}

function errorOf(code: string, message: string): string {
  return JSON.stringify({ errors: [{ code, message }] });
}

function allows(scopes: readonly string[], wanted: string): boolean {
  const at = wanted.lastIndexOf(':');
  const actions = scopes
    .filter((scope) => scope.slice(0, scope.lastIndexOf(':')) === wanted.slice(0, at))
    .flatMap((scope) => scope.slice(scope.lastIndexOf(':') + 1).split(','));
  return actions.includes(wanted.slice(at + 1));
}

/** Answers, and returns false for those who then stop. */
function answer(
  { response, message, method }: Asked,
  status: number,
  headers: Record<string, string> = {},
  text = '',
): false {
  message.resume();
  response.writeHead(status, headers).end(method === 'HEAD' ? '' : text);
  return false;
}

type Headers = IncomingMessage['headers'];

async function pipe(
  message: IncomingMessage,
  response: ServerResponse,
  target: URL,
  change: (headers: Headers, status: number) => Headers,
  body?: Buffer,
): Promise<void> {
  const { authorization: _, host: __, ...headers } = message.headers;
  const asking = forward(target, { method: message.method, headers });
  asking.on('error', () => response.destroy());
  if (body) asking.end(body);
  else message.pipe(asking);
  asking.on('response', (got) => {
    const { ':status': status, ...changed } = change(got.headers, got.statusCode ?? 500);
    response.writeHead(status === undefined ? (got.statusCode ?? 500) : Number(status), changed);
    got.pipe(response);
  });
  response.on('close', () => asking.destroy());
}
