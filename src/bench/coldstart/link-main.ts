// The process of a link: whatever the benchmark itself does, the link stays punctual. Started with a channel; arguments are
// the target's port and the link.

import { parseLink } from './link.ts';
import { type LinkProxy, startLinkProxy } from './link-proxy.ts';
import { answerRequests } from './worker-process.ts';

const [port = '', link = ''] = process.argv.slice(2);
const proxy: LinkProxy = await startLinkProxy({ host: '127.0.0.1', port: Number(port) }, parseLink(link));
answerRequests({
  port: () => proxy.port,
  take: () => proxy.take(),
});
