// The parts of undici that are used here. Its index would load all the others, from mocks to websockets, into every
// daemon: 5 MB and 50 ms more.
import { setFlagsFromString } from 'node:v8';
import buildConnector from 'undici/lib/core/connect.js';
import errors from 'undici/lib/core/errors.js';
import Agent from 'undici/lib/dispatcher/agent.js';
import ProxyAgent from 'undici/lib/dispatcher/proxy-agent.js';

// Its parser is WebAssembly, the only one in here: compiled when it is called first, quickly, and not a second time for speed. That would
// take 70 ms, and megabytes, to read a few heads.
for (const flag of ['--liftoff-only', '--no-wasm-tier-up', '--wasm-lazy-compilation']) setFlagsFromString(flag);

export { Agent, buildConnector, errors, ProxyAgent };
