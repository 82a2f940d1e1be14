// How the daemon opens an image for somebody: with their credentials, over the connections that all share.

import { identityOf } from '../registry/connections.ts';
import { findCredentialsIn } from '../registry/credentials.ts';
import { metadataDir } from '../store/paths.ts';
import type { OpenImageOptions } from '../transport/image.ts';
import type { MountRequest } from './mount-request.ts';
import type { MountContext } from './serve.ts';

/** Who asks, and what is said of the registry. */
export type ImageRequest = Pick<MountRequest, 'platform' | 'environment' | 'registry'>;

export function imageOptions(
  { platform, environment, registry }: ImageRequest,
  cache: string,
  { bootstraps, connections }: Pick<MountContext, 'bootstraps' | 'connections'>,
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
