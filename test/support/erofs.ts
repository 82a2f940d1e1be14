// The kernel's own EROFS over a bootstrap file and one file a device. mount(8) would take loop devices; the kernel mounts
// the files themselves when mount(2) is called with their paths, which perl can do on every Debian.
import { mkdirSync } from 'node:fs';
import { program, type Requirement } from './requires.ts';
import { runTool } from './run-tool.ts';

export function perl(): Requirement {
  return program('perl');
}

const MOUNT = `
my ($number, $source, $target, $options) = @ARGV;
my ($type, $readonly) = ("erofs", 1);
syscall($number + 0, $source, $target, $type, $readonly, $options) == 0 or die "mount: $!\\n";`;
/** mount(2) on the architectures Node runs on. */
const SYSCALL_NUMBERS: Readonly<Record<string, number>> = { x64: 165, arm64: 40, riscv64: 40, s390x: 21, ppc64: 21 };

/** Mounts `bootstrap` read-only at `mountpoint`, which is made; unmounted when disposed. */
export async function mountErofs(
  bootstrap: string,
  devices: readonly string[],
  mountpoint: string,
): Promise<AsyncDisposable> {
  mkdirSync(mountpoint, { recursive: true });
  const options = devices.map((path) => `device=${path}`).join(',');
  const number = SYSCALL_NUMBERS[process.arch];
  if (number === undefined) throw new Error(`no number of mount(2) for ${process.arch}`);
  await runTool('perl', ['-e', MOUNT, `${number}`, bootstrap, mountpoint, options]);
  return {
    async [Symbol.asyncDispose]() {
      await runTool('umount', [mountpoint]);
    },
  };
}
