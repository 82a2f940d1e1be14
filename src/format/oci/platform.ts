// Which manifest of an index is meant: platforms as `os/architecture[/variant]`, spelled as Go spells them.
import { NaiadError } from '../../base/errors.ts';
import { isConvertedEntry } from './annotations.ts';
import type { Descriptor, ImageIndex, Platform } from './manifest.ts';

/** Node's names of architectures, as images name them. */
const NODE_ARCHITECTURES: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
  x64: ['amd64'],
  ia32: ['386'],
  arm64: ['arm64'],
  arm: ['arm', 'v7'],
  ppc64: ['ppc64le'],
  s390x: ['s390x'],
  riscv64: ['riscv64'],
  loong64: ['loong64'],
  mips64el: ['mips64le'],
};

/** The platform of containers on a Linux machine whose `process.arch` is `nodeArchitecture`. */
export function linuxPlatform(nodeArchitecture: string): Platform {
  const [architecture, variant] = NODE_ARCHITECTURES[nodeArchitecture] ?? [nodeArchitecture];
  return { os: 'linux', architecture, ...(variant ? { variant } : {}) };
}

/** @throws NaiadError USAGE when the text is not `os/architecture` or `os/architecture/variant`. */
export function parsePlatform(text: string): Platform {
  const parts = text.split('/');
  const [os, architecture, variant] = parts;
  if (!os || !architecture || parts.length > 3 || parts.some((part) => !/^[a-z0-9][a-z0-9._-]*$/.test(part))) {
    throw new NaiadError('USAGE', `platform ${JSON.stringify(text.slice(0, 80))} is not os/architecture[/variant]`, {
      hint: 'For example: linux/amd64 or linux/arm/v7',
    });
  }
  return { os, architecture, ...(variant ? { variant } : {}) };
}

export function formatPlatform(platform: Platform): string {
  return [platform.os, platform.architecture, platform.variant].filter((part) => part).join('/');
}

/** Variants that go without saying. */
const DEFAULT_VARIANTS: Readonly<Record<string, string>> = { arm64: 'v8', arm: 'v7', amd64: 'v1' };

/** 0 when `have` does not serve `want`; the larger, the closer. */
function closeness(have: Platform, want: Platform): number {
  if (have.os !== want.os || have.architecture !== want.architecture) return 0;
  const usual = DEFAULT_VARIANTS[want.architecture];
  if ((have.variant ?? usual) === (want.variant ?? usual)) return 3;
  // A 32-bit ARM processor runs what was built for an older one.
  if (want.architecture === 'arm' && armVersion(have) < armVersion(want)) return armVersion(have) > 5 ? 2 : 1;
  return 0;
}

function armVersion(platform: Platform): number {
  return Number(/^v([5-8])$/.exec(platform.variant ?? 'v7')?.[1] ?? Number.POSITIVE_INFINITY);
}

/** Build records beside an image (buildkit's attestations) carry this platform. */
function isAttestation(entry: Descriptor): boolean {
  return entry.platform?.os === 'unknown' && entry.platform.architecture === 'unknown';
}

/**
 * The entry of `index` for `platform`. `converted` says what to do with entries of converted images: a conversion's
 * source is never one (`skip`), a mount takes one when there is one (`prefer`).
 * @throws NaiadError PLATFORM_NOT_FOUND, naming what there is
 */
export function choosePlatform(
  index: ImageIndex,
  platform: Platform,
  options: { readonly converted: 'skip' | 'prefer' },
): Descriptor {
  const entries = index.manifests.filter((entry) => !isAttestation(entry));
  const candidates = entries.filter((entry) => options.converted === 'prefer' || !isConvertedEntry(entry));
  let best: { entry: Descriptor; rank: number } | undefined;
  for (const entry of candidates) {
    const close = entry.platform ? closeness(entry.platform, platform) : 0;
    if (close === 0) continue;
    const rank = close + (isConvertedEntry(entry) ? 10 : 0);
    if (!best || rank > best.rank) best = { entry, rank };
  }
  // An index around one image, written by a tool that records no platform.
  const only = candidates.length === 1 && !candidates[0]?.platform ? candidates[0] : undefined;
  const chosen = best?.entry ?? only;
  if (chosen) return chosen;
  const named = candidates.map((entry) => (entry.platform ? formatPlatform(entry.platform) : '(none)'));
  const offered = [...new Set(named)].slice(0, 20).join(', ') || 'none';
  throw new NaiadError('PLATFORM_NOT_FOUND', `no image for ${formatPlatform(platform)}; the index has: ${offered}`, {
    hint: 'Choose another with --platform os/architecture[/variant].',
  });
}
