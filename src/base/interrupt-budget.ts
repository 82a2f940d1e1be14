// When V8 compiles a function for speed.
import { setFlagsFromString } from 'node:v8';

/** The first that has no such flag, and says so on stderr when it is set: that of Node 22. */
const V8_WITHOUT_IT = 12;

/** `size` is in bytes of bytecode that a function runs before; 132 KiB when nobody says. For functions compiled from now on. */
export function setInterruptBudget(size: number): void {
  if (Number.parseInt(process.versions.v8, 10) < V8_WITHOUT_IT) setFlagsFromString(`--interrupt-budget=${size}`);
}
