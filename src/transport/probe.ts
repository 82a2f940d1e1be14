// A registry probed by an image that a user names.
import { NaiadError } from '../base/errors.ts';
import { manifestSelector } from '../format/oci/reference.ts';
import { habitsOf, KnownHosts } from '../registry/known-hosts.ts';
import { type ProbeOptions, probeRegistry, type RegistryProbe } from '../registry/probe.ts';
import { Registry } from '../registry/transport.ts';
import type { UploadHabits } from '../registry/upload-habits.ts';
import { locate } from './locate.ts';
import type { OpenOptions } from './open.ts';

export interface ReferenceProbe extends RegistryProbe {
  /** Milliseconds since 1970. */
  readonly probedAt: number;
  /** How blobs are pushed there, where something is known of that. */
  readonly uploads: UploadHabits | undefined;
}

/**
 * Probes, or returns what is known where that is enough (`mayBeKnown`). What is found is kept, where `registry.knownHosts`
 * says where.
 * @throws NaiadError REFERENCE_INVALID when it is not in a registry; what probing throws
 */
export async function probeReference(
  text: string,
  options: OpenOptions & ProbeOptions & { readonly mayBeKnown?: boolean } = {},
): Promise<ReferenceProbe> {
  const place = locate(text);
  if (place.transport !== 'docker') {
    throw new NaiadError('REFERENCE_INVALID', `${text}: this is in no registry`, {
      hint: 'Name it as host/repository:tag.',
    });
  }
  const { host, repository } = place.reference;
  const dir = options.registry?.knownHosts;
  const hosts = dir === undefined ? undefined : new KnownHosts(dir);
  const known = await hosts?.read(host);
  if (options.mayBeKnown && known?.probe && known.probe.repository === repository) {
    return { ...known.probe, probedAt: known.learnedAt, uploads: known.habits };
  }
  await using registry = new Registry(host, options.registry);
  const found = await probeRegistry(registry, { repository, selector: manifestSelector(place.reference) }, options);
  // What pushing has taught goes beyond what a few bytes can tell; a probe that does not push knows less than one that did.
  const probe = { ...found, push: found.push ?? known?.probe?.push };
  const uploads = known?.habits ?? habitsOf(probe);
  await hosts?.learn(host, { probe, ...(uploads && { habits: uploads }) });
  return { ...found, probedAt: Date.now(), uploads };
}
