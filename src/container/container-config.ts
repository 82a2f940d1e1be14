// The OCI runtime bundle's config.json: what the image config asks for, in the surroundings that Docker gives containers.
// Pure.
import { NaiadError } from '../base/errors.ts';
import type { RuntimeConfig } from '../format/oci/manifest.ts';
import type { ContainerUser } from './container-user.ts';

export interface Volume {
  /** Absolute, exists. */
  readonly source: string;
  readonly destination: string;
  readonly readOnly: boolean;
}

export interface ContainerOptions {
  readonly config: RuntimeConfig;
  /** Instead of the image's Cmd; none keeps it. */
  readonly command: readonly string[];
  /** `NAME=VALUE`, over those of the image. */
  readonly env: readonly string[];
  readonly workdir?: string | undefined;
  readonly user: ContainerUser;
  readonly volumes: readonly Volume[];
  /** A path names the network namespace to join. */
  readonly net: 'host' | 'none' | { readonly path: string };
  readonly readOnly: boolean;
  readonly tty: boolean;
  readonly hostname: string;
  /** Absolute path of the mounted image. */
  readonly rootfs: string;
}

/** As Docker's default; the usual directories of a Linux system. */
const PATH_DEFAULT = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Docker's default set. */
const CAPABILITIES = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
];

const MASKED_PATHS = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];
const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

const MOUNTS: readonly OciMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  {
    destination: '/sys/fs/cgroup',
    type: 'cgroup',
    source: 'cgroup',
    options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'],
  },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
  },
];

/** The whole config. @throws NaiadError USAGE when there is no command. */
export function containerConfig(options: ContainerOptions): object {
  const { config, user, net } = options;
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: options.tty,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      args: commandLine(config, options.command),
      env: environment(options),
      cwd: options.workdir ?? (config.WorkingDir || '/'),
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      noNewPrivileges: false,
    },
    root: { path: options.rootfs, readonly: options.readOnly },
    hostname: options.hostname,
    mounts: [...MOUNTS, ...options.volumes.map(volumeMount)],
    linux: {
      namespaces: [
        ...['pid', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
        ...(net === 'host' ? [] : [{ type: 'network', ...(net !== 'none' && { path: net.path }) }]),
      ],
      resources: { devices: [{ allow: false, access: 'rwm' }] },
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
    },
  };
}

/** Entrypoint of the image with the command given, or with the image's own Cmd. */
export function commandLine(config: RuntimeConfig, command: readonly string[]): string[] {
  const args = [...(config.Entrypoint ?? []), ...(command.length > 0 ? command : (config.Cmd ?? []))];
  if (args.length > 0) return args;
  throw new NaiadError('USAGE', 'the image names no command to run', { hint: 'Give one: naiad run IMAGE COMMAND' });
}

/** Names once each, the later value first in force: defaults, then the image's, then the user's. */
function environment({ config, env, user, tty, hostname }: ContainerOptions): string[] {
  const values = new Map<string, string>();
  const defaults = [PATH_DEFAULT, `HOSTNAME=${hostname}`, `HOME=${user.home}`, ...(tty ? ['TERM=xterm'] : [])];
  for (const entry of [...defaults, ...(config.Env ?? []), ...env]) {
    const equals = entry.indexOf('=');
    if (equals > 0) values.set(entry.slice(0, equals), entry.slice(equals + 1));
  }
  return [...values].map(([name, value]) => `${name}=${value}`);
}

/**
 * `SOURCE:DESTINATION[:ro|:rw]` of the command line; both absolute.
 * @throws NaiadError USAGE.
 */
export function parseVolume(text: string): Volume {
  const [source = '', destination = '', mode = 'rw', ...rest] = text.split(':');
  const fine =
    source.startsWith('/') && destination.startsWith('/') && ['ro', 'rw'].includes(mode) && rest.length === 0;
  if (fine) return { source, destination, readOnly: mode === 'ro' };
  throw new NaiadError('USAGE', `volume "${text}"`, { hint: 'Write SOURCE:DESTINATION[:ro] with absolute paths.' });
}

/**
 * `NAME=VALUE` of the command line; a bare `NAME` takes this process' own value, if it has one.
 * @throws NaiadError USAGE.
 */
export function parseEnv(text: string, own: Readonly<Record<string, string | undefined>>): string[] {
  const name = text.split('=', 1)[0] as string;
  if (name === '' || text.includes('\0')) {
    throw new NaiadError('USAGE', `environment "${text}"`, { hint: 'Write NAME=VALUE, or NAME to pass your own.' });
  }
  if (text.includes('=')) return [text];
  const value = own[name];
  return value === undefined ? [] : [`${name}=${value}`];
}

function volumeMount({ source, destination, readOnly }: Volume): OciMount {
  return { destination, type: 'bind', source, options: ['rbind', 'rprivate', readOnly ? 'ro' : 'rw'] };
}
