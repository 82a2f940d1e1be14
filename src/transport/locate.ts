// What a user names on a command line, told apart: `docker://ref` (or just `ref`), `oci:DIR[:TAG]`,
// `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:REF]`, `dir:ROOT`, and a plain path, which begins with `/`, `./` or `../`.
import { resolve } from 'node:path';
import { NaiadError } from '../base/errors.ts';
import { formatReference, parseReference, type Reference } from '../format/oci/reference.ts';

export type Place =
  | { readonly transport: 'docker'; readonly reference: Reference }
  /** Without a tag: the only image there is, or a new one without a name. */
  | { readonly transport: 'oci'; readonly directory: string; readonly tag?: string }
  | { readonly transport: 'oci-archive'; readonly file: string; readonly tag?: string }
  /** `reference` as `docker save` recorded it, normalised. */
  | { readonly transport: 'docker-archive'; readonly file: string; readonly reference?: Reference }
  /** A root directory; only a conversion reads one. */
  | { readonly transport: 'dir'; readonly root: string }
  /** A file that is no image by itself: a bootstrap. */
  | { readonly transport: 'file'; readonly file: string };

const LAYOUT_TAG = /^[A-Za-z0-9](?:[A-Za-z0-9._:@/+-]*[A-Za-z0-9])?$/;
const LAYOUT_TAG_LENGTH_MAX = 255;
const PATH_TRANSPORTS = ['oci', 'oci-archive', 'docker-archive', 'dir'];

/** @throws NaiadError REFERENCE_INVALID */
export function locate(text: string): Place {
  if (text.startsWith('docker://')) {
    return { transport: 'docker', reference: parseReference(text.slice('docker://'.length)) };
  }
  if (/^(?:\/|\.\.?\/|\.\.?$)/.test(text)) return { transport: 'file', file: text };
  const [, transport, rest = ''] = /^([a-z-]+):(.*)$/s.exec(text) ?? [];
  if (transport === undefined || !PATH_TRANSPORTS.includes(transport)) {
    return { transport: 'docker', reference: parseReference(text) };
  }
  // As skopeo splits: the path ends at the first colon, the rest may hold more.
  const colon = transport === 'dir' ? -1 : rest.indexOf(':');
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const name = colon < 0 ? undefined : rest.slice(colon + 1);
  if (path === '' || path.includes('\0')) throw invalid(text, `${transport}: needs a path`);
  switch (transport) {
    case 'oci':
      return { transport, directory: path, ...layoutTag(text, name) };
    case 'oci-archive':
      return { transport, file: path, ...layoutTag(text, name) };
    case 'docker-archive':
      return { transport, file: path, ...(name === undefined ? {} : { reference: parseReference(name) }) };
    default:
      return { transport: 'dir', root: path };
  }
}

function layoutTag(text: string, tag: string | undefined): { tag?: string } {
  if (tag === undefined) return {};
  if (tag.length > LAYOUT_TAG_LENGTH_MAX || !LAYOUT_TAG.test(tag)) {
    throw invalid(text, `${JSON.stringify(tag.slice(0, 80))} is no name of an image in a layout`);
  }
  return { tag };
}

function invalid(text: string, why: string): NaiadError {
  return new NaiadError('REFERENCE_INVALID', `${JSON.stringify(text.slice(0, 200))}: ${why}`, {
    hint: 'Write docker://host/repository:tag, oci:DIR:TAG, oci-archive:FILE, docker-archive:FILE or dir:ROOT.',
  });
}

/** True where what is written to one of them takes the place of the other, however paths are written. @throws NaiadError REFERENCE_INVALID */
export function isOnePlace(a: string, b: string): boolean {
  return formatPlace(overwritten(locate(a))) === formatPlace(overwritten(locate(b)));
}

/** @throws NaiadError USAGE with `hint` when an image would be written over itself; REFERENCE_INVALID */
export function refuseOnePlace(from: string, to: string, hint: string): void {
  if (isOnePlace(from, to)) throw new NaiadError('USAGE', `${from} is source and target`, { hint });
}

/** What a target there replaces: in a layout the image of that name, an archive as a whole. */
function overwritten(place: Place): Place {
  if (place.transport === 'oci') return { ...place, directory: resolve(place.directory) };
  return place.transport === 'oci-archive' ? { transport: 'oci-archive', file: resolve(place.file) } : place;
}

/** The place in full; `locate` of it gives the same. */
export function formatPlace(place: Place): string {
  switch (place.transport) {
    case 'docker':
      return `docker://${formatReference(place.reference)}`;
    case 'oci':
      return `oci:${place.directory}${place.tag === undefined ? '' : `:${place.tag}`}`;
    case 'oci-archive':
      return `oci-archive:${place.file}${place.tag === undefined ? '' : `:${place.tag}`}`;
    case 'docker-archive':
      return `docker-archive:${place.file}${place.reference ? `:${formatReference(place.reference)}` : ''}`;
    case 'dir':
      return `dir:${place.root}`;
    case 'file':
      return place.file;
  }
}
