// From what a user wrote to a source or target.
import { stat } from 'node:fs/promises';
import { NaiadError } from '../base/errors.ts';
import type { RegistryOptions } from '../registry/transport.ts';
import { ArchiveTarget } from './archive-target.ts';
import { DockerArchiveSource } from './docker-archive.ts';
import { LayoutSource } from './layout-source.ts';
import { LayoutTarget } from './layout-target.ts';
import { formatPlace, locate, type Place } from './locate.ts';
import { directoryMembers, tarMembers } from './members.ts';
import type { ImageSource, ImageTarget } from './transport.ts';

export interface OpenOptions {
  readonly signal?: AbortSignal | undefined;
  readonly registry?: RegistryOptions;
}

/**
 * Opens a source. A registry is not asked anything yet; an archive is read through once.
 * @throws NaiadError REFERENCE_INVALID, IMAGE_NOT_FOUND, ARCHIVE_…
 */
export async function openSource(reference: string | Place, options: OpenOptions = {}): Promise<ImageSource> {
  const place = typeof reference === 'string' ? locate(reference) : reference;
  const name = formatPlace(place);
  switch (place.transport) {
    case 'docker': {
      const { RegistrySource } = await registryTransport();
      return new RegistrySource(place.reference, options.registry);
    }
    case 'oci':
      await mustExist(place.directory, 'directory');
      return new LayoutSource(name, directoryMembers(place.directory), place.tag);
    case 'oci-archive':
      await mustExist(place.file, 'file');
      return new LayoutSource(name, await tarMembers(place.file, options.signal), place.tag);
    case 'docker-archive':
      await mustExist(place.file, 'file');
      return new DockerArchiveSource(name, await tarMembers(place.file, options.signal), place.reference);
    case 'dir':
      throw new NaiadError('REFERENCE_INVALID', `${name}: a root directory is no image`, {
        hint: 'naiad convert makes one of it.',
      });
    case 'file':
      throw plainPath(place.file);
  }
}

/**
 * Opens a target. Nothing is visible in it before its commit.
 * @throws NaiadError REFERENCE_INVALID, TARGET_EXISTS, PERMISSION, NO_SPACE, IO
 */
export async function openTarget(reference: string | Place, options: OpenOptions = {}): Promise<ImageTarget> {
  const place = typeof reference === 'string' ? locate(reference) : reference;
  switch (place.transport) {
    case 'docker': {
      const { RegistryTarget } = await registryTransport();
      return await RegistryTarget.open(place.reference, options.registry);
    }
    case 'oci':
      return await LayoutTarget.open(place);
    case 'oci-archive':
      return await ArchiveTarget.open(place);
    case 'docker-archive':
    case 'dir':
      throw new NaiadError('REFERENCE_INVALID', `${formatPlace(place)}: ${place.transport} is for sources only`, {
        hint: 'Targets are docker://host/repository:tag, oci:DIR:TAG and oci-archive:FILE.',
      });
    case 'file':
      throw plainPath(place.file);
  }
}

/** The HTTP client takes 60 ms to load: not for images that are on this machine. */
function registryTransport() {
  return import('./registry-transport.ts');
}

function plainPath(path: string): NaiadError {
  return new NaiadError('REFERENCE_INVALID', `${path}: a path alone does not say what is there`, {
    hint: `Write oci:${path}, oci-archive:${path}, docker-archive:${path} or dir:${path}.`,
  });
}

async function mustExist(path: string, kind: 'directory' | 'file'): Promise<void> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => error);
  if (found instanceof Error) {
    const denied = found.code === 'EACCES';
    const what = denied ? 'not allowed' : `there is no such ${kind}`;
    throw new NaiadError(denied ? 'PERMISSION' : 'IMAGE_NOT_FOUND', `${path}: ${what}`);
  }
  if (kind === 'directory' ? !found.isDirectory() : !found.isFile()) {
    throw new NaiadError('IMAGE_NOT_FOUND', `${path}: this is no ${kind}`);
  }
}
