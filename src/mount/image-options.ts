// How the daemon opens an image for somebody: with their credentials, over the connections that all share.

import type { Bootstrap } from '../image/bootstrap-reader.ts';
import { type Connections, identityOf } from '../registry/connections.ts';
import { findCredentialsIn } from '../registry/credentials.ts';
import { metadataDir } from '../store/paths.ts';
import type { OpenImageOptions } from '../transport/image.ts';
import type { MountRequest } from './mount-request.ts';

/** Who asks, and what is said of the registry. */
export type ImageRequest = Pick<MountRequest, 'platform' | 'environment' | 'registry'>;

/** What all share who open images in one process. */
export interface OpenImages {
  readonly connections: Connections;
  readonly bootstraps: Map<string, WeakRef<Bootstrap>>;
}

export function imageOptions(
  { platform, environment, registry }: ImageRequest,
  cache: string,
  { bootstraps, connections }: OpenImages,
): OpenImageOptions {
  const credentials = environment && findCredentialsIn({ env: environment, authFile: registry?.authFile });
  return {
    metadataDir: metadataDir(cache),
    bootstraps,
    registry: {
      ...registry,
      shared: { connections, identity: identityOf(environment ?? process.env) },
      ...(credentials && { credentials }),
    },
    ...(platform !== undefined && { platform }),
  };
}
