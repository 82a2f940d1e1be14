// A registry probed by an image that a user names.
import { NaiadError } from '../base/errors.ts';
import { manifestSelector } from '../format/oci/reference.ts';
import { type ProbeOptions, probeRegistry, type RegistryProbe } from '../registry/probe.ts';
import { Registry } from '../registry/transport.ts';
import { locate } from './locate.ts';
import type { OpenOptions } from './open.ts';

/** @throws NaiadError REFERENCE_INVALID when it is not in a registry; what probing throws */
export async function probeReference(text: string, options: OpenOptions & ProbeOptions = {}): Promise<RegistryProbe> {
  const place = locate(text);
  if (place.transport !== 'docker') {
    throw new NaiadError('REFERENCE_INVALID', `${text}: this is in no registry`, {
      hint: 'Name it as host/repository:tag.',
    });
  }
  const { host, repository } = place.reference;
  await using registry = new Registry(host, options.registry);
  return await probeRegistry(registry, { repository, selector: manifestSelector(place.reference) }, options);
}
