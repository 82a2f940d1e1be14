// What a user asks for, in words that mean the same in any process and working directory.
import { resolve } from 'node:path';
import type { ProcessIdentity } from '../base/process-identity.ts';
import { parseSizeMax } from '../cache/size-max.ts';
import type { RegistryOptions } from '../registry/transport.ts';
import { cacheDir } from '../store/paths.ts';
import { formatPlace, locate } from '../transport/locate.ts';
import type { DriverName } from './driver.ts';
import type { FetchRequest } from './fetch-request.ts';
import { resolveMountpoint } from './mountpoint.ts';

export interface MountRequest extends FetchRequest {
  /** Reference of a converted image. */
  readonly image: string;
  readonly mountpoint: string;
  readonly driver: DriverName | 'auto';
  readonly readWrite: boolean;
  /** Keeps what is written below this directory. Only with `readWrite`. */
  readonly upper?: string | undefined;
  readonly platform?: string | undefined;
  /** How to reach registries; without credentials. */
  readonly registry?: Omit<RegistryOptions, 'credentials'> | undefined;
  /** Has every first touch recorded, also where that slows the mount down. */
  readonly record?: boolean | undefined;
  /** File that gets the trace of the mount when it ends. */
  readonly recordTo?: string | undefined;
  /** Made for each request, so that whoever gives up can see that it is gone. */
  readonly requestId?: string | undefined;
  /** The mount is for this process alone: a container's, which cannot go on after a crash. */
  readonly owner?: ProcessIdentity | undefined;
  /** Of the one who asks, for credentials: the daemon may have been started with another. Never written down whole. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
}

/** Variables that say where credential files are, and are none themselves. */
const PLACES = ['HOME', 'PATH', 'DOCKER_CONFIG', 'REGISTRY_AUTH_FILE', 'XDG_RUNTIME_DIR', 'XDG_CONFIG_HOME'];

/** `request` as it may be written down: with no variable that could be a secret. */
export function withoutSecrets(request: MountRequest): MountRequest {
  const { environment = {} } = request;
  const kept = Object.entries(environment).filter(([name]) => PLACES.includes(name));
  return { ...request, environment: Object.fromEntries(kept) };
}

/** `request` with absolute paths and this process' environment. @throws NaiadError REFERENCE_INVALID, MOUNTPOINT_INVALID. */
export function absoluteRequest(request: MountRequest): MountRequest {
  const size = process.env.NAIAD_CACHE_SIZE;
  return {
    ...request,
    image: absoluteImage(request.image),
    mountpoint: resolveMountpoint(request.mountpoint),
    upper: request.upper === undefined ? undefined : resolve(request.upper),
    recordTo: request.recordTo === undefined ? undefined : resolve(request.recordTo),
    registry: absoluteRegistry(request.registry),
    prefetchTrace: request.prefetchTrace === undefined ? undefined : resolve(request.prefetchTrace),
    cache: cacheDir(request.cache),
    cacheSizeMax: request.cacheSizeMax ?? (size ? parseSizeMax(size) : undefined),
    environment: { ...process.env } as Record<string, string>,
  };
}

/** A reference in which paths are absolute. @throws NaiadError REFERENCE_INVALID */
export function absoluteImage(image: string): string {
  const place = locate(image);
  if ('directory' in place) return formatPlace({ ...place, directory: resolve(place.directory) });
  return formatPlace('file' in place ? { ...place, file: resolve(place.file) } : place);
}

export function absoluteRegistry(options: MountRequest['registry']): MountRequest['registry'] {
  if (!options) return undefined;
  const { authFile, certsDir } = options;
  return {
    ...options,
    ...(authFile !== undefined && { authFile: resolve(authFile) }),
    ...(certsDir !== undefined && { certsDir: resolve(certsDir) }),
  };
}

/** The reference of exactly the image that is mounted: a tag may name another one by now. */
export function pinnedReference({
  image,
  manifestDigest,
}: {
  image: string;
  manifestDigest?: string | undefined;
}): string {
  const place = locate(image);
  if (place.transport !== 'docker' || manifestDigest === undefined) return image;
  return formatPlace({ ...place, reference: { ...place.reference, digest: manifestDigest } });
}
