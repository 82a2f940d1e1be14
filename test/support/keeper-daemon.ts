// A daemon over one test device in directory argv[2]: says its pid, serves until it is killed, and is started again by its
// keeper with the same words.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { Keeper } from '../../src/keeper/keeper.ts';
import { testDevice } from './keeper-device.ts';

const directory = process.argv[2] as string;
const delayMs = Number(process.argv[3] ?? 0);
const command = [process.execPath, ...process.argv.slice(1)];
const keeper = await Keeper.start({ socketPath: join(directory, 'keeper.sock'), command });
await keeper.addDevice(testDevice({ directory, delayMs }));
await keeper.removeOtherDevices();
appendFileSync(join(directory, 'pids'), `${process.pid}\n`);
