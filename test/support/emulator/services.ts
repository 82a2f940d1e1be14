// What is documented of each service, as data: status codes, headers, limits. It proves our behaviour against that, and says
// nothing of the service itself.
import { MiB } from '../../../src/base/units.ts';

export interface Service {
  readonly name: string;
  readonly auth: Authentication;
  readonly blobs: BlobDelivery;
  readonly uploads: UploadRules;
  /** How a mount is answered; undefined: 201. */
  readonly mount?: number;
  /** How a list of referrers is answered; undefined: with the list. Without one there is no OCI-Subject either. */
  readonly referrers?: number;
  /** Statuses of deletion; undefined: it works. */
  readonly deletion?: { readonly tag?: number; readonly manifest?: number };
  readonly manifests?: ManifestRules;
  /** Sent with every manifest. */
  readonly manifestHeaders?: Readonly<Record<string, string>>;
  /** Sets a cookie, and refuses who shows it: browsers alone are meant to (Harbor). */
  readonly cookie?: string;
  /** Only these exist; others are not made by pushing to them. */
  readonly repositories?: readonly string[];
  /** How a tag called `frozen` is refused. */
  readonly frozen?: { readonly status: number; readonly code: string };
  readonly tags?: { readonly shuffled?: boolean; readonly extra?: readonly unknown[] };
}

export type Authentication =
  | { readonly kind: 'none' }
  | { readonly kind: 'basic' }
  | {
      readonly kind: 'bearer';
      /** Status of the token service for POST; undefined: it answers. */
      readonly post?: number;
      readonly tokenKey?: 'token' | 'access_token';
      /** Seconds; undefined: it does not say. */
      readonly expiresIn?: number;
      /** Only a ping is told how to authenticate. */
      readonly bareRefusals?: boolean;
      /** The scope in the challenge of a ping, which is an example. */
      readonly pingScope?: string;
      /** Credentials that are refused are answered with this Basic realm (Harbor). */
      readonly staleBasicRealm?: string;
    };

export type BlobDelivery =
  | { readonly kind: 'direct' }
  /** The whole blob, whatever range is asked for, the first time or always. */
  | { readonly kind: 'whole'; readonly times: number }
  | {
      readonly kind: 'redirect';
      readonly status: 302 | 307;
      readonly lifetimeMs: number;
      /** Of HEAD at the storage, whose signatures are for GET. */
      readonly head?: number;
      readonly multipleRanges?: number;
    };

export interface UploadRules {
  /** Bodies of a PUT; more is answered 413. */
  readonly putMax?: number;
  /** Bodies of a PATCH; more is answered 416. */
  readonly patchMax?: number;
  /** PATCH with a Content-Range is refused with this. */
  readonly chunks?: number;
  /** PUT with a body is refused with this. */
  readonly put?: number;
  readonly patchStatus?: number;
  /** The Range of an upload stays where its first chunk ended. */
  readonly frozenRange?: boolean;
  /** Status of asking how far an upload is. */
  readonly status?: number;
  /** What an empty upload has as Range. */
  readonly emptyRange?: string;
}

export interface ManifestRules {
  readonly mediaTypeRequired?: boolean;
  readonly noOsFeatures?: boolean;
  readonly noSubjectPlatform?: boolean;
  readonly ociOnly?: boolean;
}

const SIGNED = { kind: 'redirect', status: 307, lifetimeMs: 20 * 60_000, head: 403 } as const;
const DIRECT = { kind: 'direct' } as const;

export const SERVICES: readonly Service[] = [
  {
    name: 'Docker Hub',
    auth: { kind: 'bearer', expiresIn: 300 },
    blobs: SIGNED,
    uploads: {},
    referrers: 404,
    deletion: { manifest: 405, tag: 405 },
    manifestHeaders: { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '76;w=21600' },
  },
  {
    name: 'Distribution 2.8',
    auth: { kind: 'none' },
    blobs: DIRECT,
    uploads: { status: 404 },
    referrers: 404,
    deletion: { tag: 400 },
    tags: { shuffled: true },
  },
  { name: 'Distribution 3', auth: { kind: 'none' }, blobs: DIRECT, uploads: {}, referrers: 404 },
  {
    name: 'Harbor',
    auth: { kind: 'bearer', expiresIn: 1800, staleBasicRealm: 'harbor' },
    blobs: DIRECT,
    uploads: {},
    deletion: { tag: 405 },
    cookie: 'sid',
    frozen: { status: 412, code: 'PRECONDITION' },
  },
  {
    name: 'Harbor proxy project',
    auth: { kind: 'bearer', staleBasicRealm: 'harbor' },
    blobs: { kind: 'whole', times: 1 },
    uploads: {},
    deletion: { tag: 405 },
  },
  {
    name: 'Quay',
    auth: { kind: 'bearer', expiresIn: 300 },
    blobs: { kind: 'redirect', status: 302, lifetimeMs: 60_000, multipleRanges: 400 },
    frozen: { status: 409, code: 'TAG_IMMUTABLE' },
    uploads: { emptyRange: '0--1' },
    mount: 202,
  },
  {
    name: 'Quay with local storage',
    auth: { kind: 'bearer' },
    blobs: { kind: 'whole', times: Number.POSITIVE_INFINITY },
    uploads: { emptyRange: '0--1' },
  },
  {
    name: 'GHCR',
    auth: { kind: 'bearer', pingScope: 'repository:user/image:pull' },
    blobs: SIGNED,
    uploads: { patchMax: 4 * MiB },
    referrers: 404,
    deletion: { manifest: 405, tag: 405 },
  },
  {
    name: 'Google Artifact Registry',
    auth: { kind: 'bearer', post: 404, bareRefusals: true },
    blobs: { ...SIGNED, status: 302, multipleRanges: 400 },
    uploads: { chunks: 405 },
    referrers: 302,
    tags: { extra: [] },
  },
  {
    name: 'ECR',
    auth: { kind: 'basic' },
    blobs: SIGNED,
    uploads: { patchStatus: 201, frozenRange: true },
    mount: 202,
    manifests: { mediaTypeRequired: true, noOsFeatures: true, noSubjectPlatform: true },
    repositories: ['team/app', 'team/copy'],
    frozen: { status: 400, code: 'TAG_INVALID' },
  },
  {
    name: 'ECR Public',
    auth: { kind: 'bearer', tokenKey: 'token' },
    blobs: SIGNED,
    uploads: { patchStatus: 201, frozenRange: true, status: 404 },
    mount: 405,
  },
  {
    name: 'ACR',
    auth: { kind: 'bearer', post: 400, tokenKey: 'access_token' },
    blobs: SIGNED,
    uploads: { putMax: 20_000_000 },
  },
  { name: 'GitLab', auth: { kind: 'bearer', expiresIn: 300 }, blobs: SIGNED, uploads: {}, referrers: 404 },
  {
    name: 'Artifactory',
    auth: { kind: 'bearer', post: 401, tokenKey: 'token' },
    blobs: { ...SIGNED, status: 302 },
    uploads: {},
    referrers: 404,
    tags: { extra: [`sha256:${'0'.repeat(64)}`] },
  },
  {
    name: 'Artifactory of 2019',
    auth: { kind: 'basic' },
    blobs: DIRECT,
    uploads: { put: 404 },
    mount: 404,
    referrers: 404,
  },
  { name: 'zot', auth: { kind: 'basic' }, blobs: DIRECT, uploads: {}, manifests: { ociOnly: true } },
  { name: 'Nexus', auth: { kind: 'basic' }, blobs: DIRECT, uploads: {}, referrers: 400, tags: { extra: [null] } },
  { name: 'Swarm’s registry service', auth: { kind: 'none' }, blobs: DIRECT, uploads: { status: 404 }, referrers: 404 },
];
