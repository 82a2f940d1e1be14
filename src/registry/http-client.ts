// The parts of undici that are used here. Its index would load all the others, from mocks to websockets, into every
// daemon: 5 MB and 50 ms more.
import { createRequire } from 'node:module';

const load = createRequire(import.meta.url);
type Undici = typeof import('undici');

export const Agent = load('undici/lib/dispatcher/agent.js') as Undici['Agent'];
export const ProxyAgent = load('undici/lib/dispatcher/proxy-agent.js') as Undici['ProxyAgent'];
export const buildConnector = load('undici/lib/core/connect.js') as Undici['buildConnector'];
export const errors = load('undici/lib/core/errors.js') as Undici['errors'];
