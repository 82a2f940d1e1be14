// Child of the takeover tests: argv is image, cache directory, mountpoint. Mounts with the native driver, sends what a
// successor needs over descriptor 3, says `mounted`, and never gets a byte of a blob: its readers wait. `miss` for each that does.

import { fuseDriver } from '../../src/mount/fuse-driver.ts';
import { sendDescriptors } from '../../src/native/descriptors.ts';
import { openImageFs } from './image-fs.ts';

const [image = '', cache = '', mountpoint = ''] = process.argv.slice(2);
const opened = await openImageFs(image, cache, () => {
  process.send?.('miss');
  return new Promise<never>(() => undefined);
});
const mounted = await fuseDriver.mount(opened.fs, mountpoint, opened.place);
const handover = mounted.handover?.();
if (!handover) throw new Error('nothing to hand over');
sendDescriptors(3, Buffer.from(handover.state), handover.descriptors);
process.send?.('mounted');
process.on('message', async () => {
  await mounted.release?.();
  process.send?.('released');
});
setInterval(() => undefined, 1000);
