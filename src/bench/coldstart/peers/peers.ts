// Other programs that bring images to containers, as they are installed here, each with storage of its own.
import { findProgram } from '../../../base/find-program.ts';
import type { PeerName, Way } from '../way.ts';
import { beginContainerd, beginStargz, prepareStargz } from './containerd.ts';
import { beginNydusd } from './nydusd.ts';
import type { Peer, PeerTools } from './peer.ts';
import { beginPodman } from './podman.ts';

const PEERS: Readonly<Record<PeerName, Peer>> = {
  containerd: {
    programs: ['containerd', 'ctr'],
    what: 'containerd: ctr images pull, ctr run',
    begin: beginContainerd,
  },
  podman: { programs: ['podman'], what: 'podman pull, podman run', begin: beginPodman },
  nydusd: {
    programs: ['nydusd'],
    what: 'the converted image, its bootstrap mounted by nydusd over FUSE, prefetching as nydus-snapshotter sets it up; then overlayfs',
    begin: beginNydusd,
  },
  stargz: {
    programs: ['containerd', 'ctr-remote', 'containerd-stargz-grpc'],
    what: 'containerd with stargz-snapshotter: the image converted by ctr-remote images convert --estargz, rpull, run',
    prepare: prepareStargz,
    begin: beginStargz,
  },
};

/** What is missing here to measure `name`; undefined when nothing is. */
export function missingFor(name: PeerName): string | undefined {
  const missing = PEERS[name].programs.filter((program) => !findProgram(program));
  return missing.length > 0 ? `${missing.join(' and ')} not on PATH` : undefined;
}

/** Once, before any start. @throws NaiadError COMMAND_FAILED when it cannot be measured here */
export async function preparedPeer(name: PeerName, tools: PeerTools): Promise<Way> {
  const { what, prepare, begin } = PEERS[name];
  await prepare?.(tools);
  return { key: name, mode: 'peer', what, begin: (directory) => begin(tools, directory) };
}
