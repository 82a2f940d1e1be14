// A registry's refusal as one of our errors: what was asked, of which host, what it said, what to do about it.
import { type Code, NaiadError } from '../base/errors.ts';
import { ERROR_BODY_SIZE_MAX } from '../base/limits.ts';
import { TransientFailure } from '../base/transient.ts';
import { displayUrl, type HttpResponse, readBody, retryAfterMs } from './exchange.ts';
import type { Secrets } from './redact.ts';

export interface RefusalContext {
  /** What was asked for, in words: `manifest of library/debian:12`. */
  readonly what: string;
  /** As references name it. */
  readonly host: string;
  /** Of the registry's API; an answer from elsewhere is of a host it redirected to. */
  readonly origin: URL;
  /** The code of a 404. */
  readonly notFound: Code;
  readonly secrets: Secrets;
  /** What the authenticator did. */
  readonly authentication: () => { readonly sent: string; readonly hint: string };
}

/** Busy or broken for the moment; everything else is an answer. */
const TRANSIENT_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504]);

/** In the words of Go and of Apache; nginx says it in HTML. */
const MEANS_TLS = /\bHTTP (request|to)\b.*\b(HTTPS|SSL)\b/i;

/**
 * The error of an answer that was not the one expected. Reads at most ERROR_BODY_SIZE_MAX of its body, and none of a
 * 416's: distribution announces a length there that never comes.
 */
export async function refusal(response: HttpResponse, context: RefusalContext): Promise<Error> {
  const said = response.status === 416 ? skipBody(response) : await diagnostics(response, context.secrets);
  const elsewhere = response.url.origin === context.origin.origin ? '' : `, redirected to ${displayUrl(response.url)}`;
  const message = `${context.what} at ${context.host}${elsewhere}: status ${response.status}${said && ` (${said})`}`;
  const { status } = response;
  if (TRANSIENT_STATUSES.has(status)) {
    const hint = status === 429 ? { hint: 'The registry limits requests; try later or log in.' } : {};
    return new TransientFailure(new NaiadError('REGISTRY_UNAVAILABLE', message, hint), retryAfterMs(response));
  }
  if (status === 404) return new NaiadError(context.notFound, message, { hint: notFoundHint(context.notFound) });
  if (status === 401 || status === 403) {
    if (elsewhere) {
      // A signed address that has run out; the registry gives a new one.
      const hint = 'The storage behind the registry refused; the registry should have sent a valid address.';
      return new TransientFailure(new NaiadError('ACCESS_DENIED', message, { hint }));
    }
    const { sent, hint } = context.authentication();
    return new NaiadError('ACCESS_DENIED', `${message}; ${sent}`, { hint });
  }
  if (status === 405) {
    const hint = 'The registry does not allow this: is it read-only or a pull-through cache?';
    return new NaiadError('REGISTRY_PROTOCOL', message, { hint });
  }
  if (status === 400 && context.origin.protocol === 'http:' && (said === '' || MEANS_TLS.test(said))) {
    const hint = `Does it speak TLS? Leave out --plain-http; for a loopback address, put a ca.crt or https:// into certs.d/${context.host}.`;
    return new NaiadError('REGISTRY_PROTOCOL', message, { hint });
  }
  return new NaiadError('REGISTRY_PROTOCOL', message);
}

function notFoundHint(code: Code): string {
  if (code === 'REGISTRY_PROTOCOL')
    return 'Is it a registry, and does the repository exist? Some (ECR) make none for a push.';
  return code === 'IMAGE_NOT_FOUND'
    ? 'Check the name and the tag; some registries also say this to those who may not see an image.'
    : 'The image may be incomplete in the registry; push it again.';
}

function skipBody(response: HttpResponse): string {
  response.body.destroy();
  return '';
}

/** What the registry says in its JSON, else the beginning of whatever text it sent; empty when nothing useful. */
async function diagnostics(response: HttpResponse, secrets: Secrets): Promise<string> {
  let text: string;
  try {
    text = Buffer.from(await readBody(response, ERROR_BODY_SIZE_MAX, 'error')).toString('utf8');
  } catch {
    // The status is what counts; a body that breaks off adds nothing.
    return '';
  }
  try {
    const document = JSON.parse(text);
    // One alone without a list: zot, where a password is wrong.
    const errors: unknown = document?.errors ?? (isText(document?.code) ? [document] : undefined);
    if (Array.isArray(errors)) {
      const parts = errors.slice(0, 3).map((error) => [error?.code, error?.message].filter(isText).join(': '));
      return secrets.clean(parts.filter((part) => part !== '').join('; '));
    }
  } catch {
    // No JSON: load balancers and storage answer in HTML, XML and plain text.
  }
  return /^\s*</.test(text) ? '' : secrets.clean(text.slice(0, 200));
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
