// Who a process is, beyond its pid: pids are given out again, start times within one boot are not.
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot. */
  readonly startTime: string;
  /** Stands for a boot and a pid namespace, in which alone the other two mean something. */
  readonly machine: string;
}

export function thisProcess(): ProcessIdentity {
  return { pid: process.pid, startTime: startTimeOf(process.pid) ?? '0', machine: machineId() };
}

/** True while exactly that process runs. False as well for one of another boot or pid namespace. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identity.machine === machineId() && startTimeOf(identity.pid) === identity.startTime;
}

/** When a process began; undefined when there is none, or only its corpse. */
export function startTimeOf(pid: number): string | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // Behind the command, which may hold anything: field 3 is the state, field 22 the start time.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

let ownMachineId: string | undefined;

/** Eight hex digits for this boot and pid namespace. */
export function machineId(): string {
  ownMachineId ??= createHash('sha256')
    .update(readFileSync('/proc/sys/kernel/random/boot_id'))
    .update(readlinkSync('/proc/self/ns/pid'))
    .digest('hex')
    .slice(0, 8);
  return ownMachineId;
}
