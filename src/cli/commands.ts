// Every command, in the order the help lists them. A module is loaded when its command runs, so that `naiad --help` and
// `naiad inspect` do not pay for the converter.
import type { Command } from './command.ts';

export interface CommandEntry {
  /** One word, or two for a command of a group. */
  readonly name: string;
  readonly summary: string;
  load(): Promise<{ readonly command: Command }>;
}

export const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'convert',
    summary: 'Convert an image so that it can start before it is downloaded',
    load: () => import('./commands/convert.ts'),
  },
  {
    name: 'mount',
    summary: 'Mount a converted image; files are fetched when they are read',
    load: () => import('./commands/mount.ts'),
  },
  { name: 'umount', summary: 'Unmount an image', load: () => import('./commands/umount.ts') },
  { name: 'status', summary: 'Show what is mounted and what was fetched', load: () => import('./commands/status.ts') },
  {
    name: 'doctor',
    summary: 'Test this machine and, with an image, its registry',
    load: () => import('./commands/doctor.ts'),
  },
  {
    name: 'daemon',
    summary: 'Start the process that serves mounts, and keep it',
    load: () => import('./commands/daemon.ts'),
  },
  {
    name: 'daemon status',
    summary: 'Tell which daemon serves the mounts',
    load: () => import('./commands/daemon-status.ts'),
  },
  {
    name: 'daemon upgrade',
    summary: 'Put a new daemon in the place of the one that runs',
    load: () => import('./commands/daemon-upgrade.ts'),
  },
  {
    name: 'daemon stop',
    summary: 'Unmount every image and end the daemon',
    load: () => import('./commands/daemon-stop.ts'),
  },
  { name: 'run', summary: 'Run a command in an image with runc or crun', load: () => import('./commands/run.ts') },
  {
    name: 'inspect',
    summary: 'Show what an image is made of, converted or not',
    load: () => import('./commands/inspect.ts'),
  },
  { name: 'ls', summary: 'List files of a converted image', load: () => import('./commands/ls.ts') },
  { name: 'cat', summary: 'Print a file of a converted image', load: () => import('./commands/cat.ts') },
  { name: 'check', summary: 'Check every invariant of a converted image', load: () => import('./commands/check.ts') },
  {
    name: 'diff',
    summary: 'Compare two converted images: names, contents, bytes to fetch',
    load: () => import('./commands/diff.ts'),
  },
  {
    name: 'unpack',
    summary: 'Write a converted image to a directory, or an ordinary image',
    load: () => import('./commands/unpack.ts'),
  },
  {
    name: 'optimize',
    summary: 'Put what a start reads into one blob, which comes first',
    load: () => import('./commands/optimize.ts'),
  },
  {
    name: 'copy',
    summary: 'Copy an image, converted or not, from one place to another',
    load: () => import('./commands/copy.ts'),
  },
  { name: 'tags', summary: 'List the tags of a repository', load: () => import('./commands/tags.ts') },
  {
    name: 'login',
    summary: 'Log in to a registry, for naiad, docker, podman and skopeo',
    load: () => import('./commands/login.ts'),
  },
  { name: 'logout', summary: 'Remove the credentials of a registry', load: () => import('./commands/logout.ts') },
  {
    name: 'cache ls',
    summary: 'List what the cache holds, least recently used first',
    load: () => import('./commands/cache-ls.ts'),
  },
  {
    name: 'cache prune',
    summary: 'Remove what was used longest ago, never what is in use',
    load: () => import('./commands/cache-prune.ts'),
  },
  {
    name: 'cache verify',
    summary: 'Read every cached chunk back and check its digest',
    load: () => import('./commands/cache-verify.ts'),
  },
  {
    name: 'cache pin',
    summary: 'Keep what is cached of an image however full the cache gets',
    load: () => import('./commands/cache-pin.ts'),
  },
  {
    name: 'cache unpin',
    summary: 'Let what is cached of an image go again when room is needed',
    load: () => import('./commands/cache-unpin.ts'),
  },
  {
    name: 'registry probe',
    summary: 'Find out what a registry does: ranges, referrers, pushes',
    load: () => import('./commands/registry-probe.ts'),
  },
  {
    name: 'registry serve',
    summary: 'Serve a directory as a small OCI registry',
    load: () => import('./commands/registry-serve.ts'),
  },
  {
    name: 'trace record',
    summary: 'Run an image until it is ready, and keep what it read',
    load: () => import('./commands/trace-record.ts'),
  },
  {
    name: 'trace save',
    summary: 'Write what a mount has read so far to a trace file',
    load: () => import('./commands/trace-save.ts'),
  },
  {
    name: 'trace show',
    summary: 'Show the files of a trace, and how much of it still applies',
    load: () => import('./commands/trace-show.ts'),
  },
  {
    name: 'trace merge',
    summary: 'Make one trace of many recordings',
    load: () => import('./commands/trace-merge.ts'),
  },
  {
    name: 'trace diff',
    summary: 'Compare two traces: files, bytes and waits',
    load: () => import('./commands/trace-diff.ts'),
  },
  {
    name: 'trace ls',
    summary: 'List the traces beside an image in its registry',
    load: () => import('./commands/trace-ls.ts'),
  },
  {
    name: 'trace push',
    summary: 'Put a trace beside an image, where mounts find it',
    load: () => import('./commands/trace-push.ts'),
  },
  {
    name: 'trace pull',
    summary: 'Write a trace from beside an image to a file',
    load: () => import('./commands/trace-pull.ts'),
  },
  {
    name: 'bench convert',
    summary: 'Measure how fast an image is converted',
    load: () => import('./commands/bench-convert.ts'),
  },
  {
    name: 'bench read',
    summary: 'Measure how fast files of a mounted image are, by driver',
    load: () => import('./commands/bench-read.ts'),
  },
  {
    name: 'bench registry',
    summary: 'Measure pushes and ranged reads, against skopeo and wrk',
    load: () => import('./commands/bench-registry.ts'),
  },
  {
    name: 'bench coldstart',
    summary: 'Measure how soon an application is ready, lazily and not',
    load: () => import('./commands/bench-coldstart.ts'),
  },
  {
    name: 'bench report',
    summary: 'Put what bench coldstart found into one page',
    load: () => import('./commands/bench-report.ts'),
  },
  {
    name: 'demo',
    summary: 'Show all of it on an image made of this machine’s own Node',
    load: () => import('./commands/demo.ts'),
  },
];
