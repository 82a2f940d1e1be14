// Image references: `[host[:port]/]repository[:tag][@digest]` as people write them, with the defaults of Docker.
import { NaiadError } from '../../base/errors.ts';
import { digestComplaint } from './digest.ts';

/** A normalised reference. `host` is `docker.io` however Docker Hub was spelled. */
export interface Reference {
  /** Host name or address, with its port when one was written; lowercase. */
  readonly host: string;
  /** Without leading slash, `library/` added where Docker Hub wants it. */
  readonly repository: string;
  readonly tag?: string;
  /** When present, this is what is fetched, tag or not. */
  readonly digest?: string;
}

/** Clients and registries agree on this for `host/repository`. */
const NAME_LENGTH_MAX = 255;
/** Longer ones cannot be valid: name, tag and digest have bounds of their own. */
const REFERENCE_LENGTH_MAX = 600;

const HOST_LABEL = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9_-]*[a-zA-Z0-9])';
const HOST = new RegExp(`^(?:${HOST_LABEL}(?:\\.${HOST_LABEL})*\\.?|\\[[0-9a-fA-F:.]+\\])(?::([0-9]{1,5}))?$`);
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const DOCKER_HUB = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);

export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** True for `a/b/c` of lowercase components, as a registry names repositories. */
export function isRepositoryName(text: string): boolean {
  return text.length <= NAME_LENGTH_MAX && text.split('/').every((component) => COMPONENT.test(component));
}

/**
 * Parses a reference and fills in `docker.io`, `library/` and, when neither tag nor digest is given, `latest`.
 * @throws NaiadError REFERENCE_INVALID
 */
export function parseReference(text: string): Reference {
  const fail = (why: string, hint?: string): never => {
    throw new NaiadError('REFERENCE_INVALID', `image reference ${JSON.stringify(text.slice(0, 200))}: ${why}`, {
      hint: hint ?? 'Write it as host/repository:tag or host/repository@sha256:…',
    });
  };
  if (text === '') fail('it is empty');
  if (text.length > REFERENCE_LENGTH_MAX) fail(`it has ${text.length} characters, at most ${REFERENCE_LENGTH_MAX}`);
  if (text.includes('://')) fail('it holds "://"', 'Leave the scheme out: host/repository:tag');

  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined) {
    const complaint = digestComplaint(digest);
    if (complaint) fail(complaint);
  }
  const beforeDigest = at < 0 ? text : text.slice(0, at);
  const colon = beforeDigest.lastIndexOf(':');
  const hasTag = colon > beforeDigest.lastIndexOf('/');
  const tag = hasTag ? beforeDigest.slice(colon + 1) : undefined;
  if (tag !== undefined && !isTag(tag)) {
    fail(`tag ${JSON.stringify(tag.slice(0, 140))} is not 1 to 128 of A-Z a-z 0-9 . _ - (no . or - in front)`);
  }
  const { host, repository } = splitName(hasTag ? beforeDigest.slice(0, colon) : beforeDigest, fail);
  return {
    host,
    repository,
    ...(tag !== undefined ? { tag } : digest === undefined ? { tag: 'latest' } : {}),
    ...(digest !== undefined ? { digest } : {}),
  };
}

function splitName(name: string, fail: (why: string, hint?: string) => never): { host: string; repository: string } {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const named = slash >= 0 && (/[.:]/.test(first) || first === 'localhost' || first.startsWith('['));
  let host = 'docker.io';
  let repository = name;
  if (named) {
    const match = HOST.exec(first);
    if (!match) fail(`${JSON.stringify(first)} is no host name`);
    const port = match?.[1];
    if (port !== undefined && (Number(port) < 1 || Number(port) > 65535)) fail(`port ${port} is not in 1 to 65535`);
    host = first.toLowerCase();
    repository = name.slice(slash + 1);
  }
  if (DOCKER_HUB.has(host)) {
    host = 'docker.io';
    if (!repository.includes('/')) repository = `library/${repository}`;
  }
  checkRepository(repository, fail);
  if (host.length + 1 + repository.length > NAME_LENGTH_MAX) {
    fail(`host and repository have more than ${NAME_LENGTH_MAX} characters`);
  }
  return { host, repository };
}

function checkRepository(repository: string, fail: (why: string, hint?: string) => never): void {
  for (const component of repository.split('/')) {
    if (component === '') fail('a part of the repository name is empty');
    if (COMPONENT.test(component)) continue;
    if (COMPONENT.test(component.toLowerCase())) fail(`repository name ${JSON.stringify(component)} must be lowercase`);
    fail(`${JSON.stringify(component.slice(0, 140))} is no part of a repository name (a-z 0-9, joined by . _ __ -)`);
  }
}

/** The reference in full: `docker.io/library/debian:12`. Parsing it again gives the same. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`;
  return `${reference.host}/${reference.repository}${tag}${digest}`;
}

/** What names the manifest in a request: the digest when there is one. */
export function manifestSelector(reference: Reference): string {
  return reference.digest ?? reference.tag ?? 'latest';
}

/** The host that answers the API; Docker Hub's differs from its name. */
export function apiHost(host: string): string {
  return host === 'docker.io' ? 'registry-1.docker.io' : host;
}
