// Requests of the distribution specification, told apart by method and path. Names are checked here, once.
import { isRepositoryName, isTag } from '../format/oci/reference.ts';
import type { Answer } from './answer.ts';
import * as blobs from './blob-routes.ts';
import type { Context } from './context.ts';
import * as manifests from './manifest-routes.ts';
import { checkedDigest, Refusal } from './refusal.ts';

/** What kind of traffic a request is, for the counters. */
export type TrafficKind = 'manifest' | 'blob' | 'upload' | 'other';

export interface Route {
  readonly kind: TrafficKind;
  run(context: Context): Promise<Answer>;
}

const PATH = /^\/v2\/(.+)\/(blobs\/uploads|blobs|manifests|tags|referrers)\/([^/]*)$/;

/** The route of a request and the repository in its path. @throws Refusal */
export function findRoute(method: string, pathname: string): { readonly route: Route; readonly repository: string } {
  if (pathname === '/v2/' || pathname === '/v2')
    return { route: route('other', manifests.root, method, 'GET'), repository: '' };
  const [, repository, family, name] = PATH.exec(decodePath(pathname)) ?? [];
  if (repository === undefined || name === undefined) throw new Refusal('NAME_UNKNOWN', 'no such path');
  if (!isRepositoryName(repository)) throw new Refusal('NAME_INVALID', 'this is no repository name');
  return { route: routeOf(method, String(family), name), repository };
}

function decodePath(pathname: string): string {
  try {
    return decodeURIComponent(pathname);
  } catch {
    throw new Refusal('NAME_INVALID', 'the path is not percent-encoded UTF-8');
  }
}

function routeOf(method: string, family: string, name: string): Route {
  switch (family) {
    case 'blobs/uploads':
      if (name === '') return route('upload', blobs.beginUpload, method, 'POST');
      if (method === 'PATCH') return route('upload', (context) => blobs.appendUpload(context, name));
      if (method === 'PUT') return route('upload', (context) => blobs.finishUpload(context, name));
      if (method === 'DELETE') return route('upload', (context) => blobs.cancelUpload(context, name));
      return route('upload', (context) => blobs.uploadStatus(context, name), method, 'GET');
    case 'blobs': {
      const digest = checkedDigest(name);
      if (method === 'DELETE') return route('blob', (context) => blobs.deleteBlob(context, digest));
      return route('blob', (context) => blobs.getBlob(context, digest), method, 'GET', 'HEAD');
    }
    case 'manifests': {
      const selector = checkedSelector(name);
      if (method === 'PUT') return route('manifest', (context) => manifests.putManifest(context, selector));
      if (method === 'DELETE') return route('manifest', (context) => manifests.deleteManifest(context, selector));
      return route('manifest', (context) => manifests.getManifest(context, selector), method, 'GET', 'HEAD');
    }
    case 'tags':
      if (name !== 'list') throw new Refusal('NAME_UNKNOWN', 'no such path');
      return route('other', manifests.listTags, method, 'GET');
    default: {
      const digest = checkedDigest(name);
      return route('other', (context) => manifests.listReferrers(context, digest), method, 'GET');
    }
  }
}

function route(kind: TrafficKind, run: Route['run'], method = '', ...allowed: string[]): Route {
  if (allowed.length > 0 && !allowed.includes(method)) {
    throw new Refusal('UNSUPPORTED', `${method} is not for this path`, { allow: allowed.join(', ') });
  }
  return { kind, run };
}

function checkedSelector(text: string): string {
  if (text.includes(':')) return checkedDigest(text);
  if (!isTag(text)) throw new Refusal('MANIFEST_UNKNOWN', 'this is neither a tag nor a digest');
  return text;
}
