#!/usr/bin/env node
// The command, as it is started. What comes here is read by every command.
import { main } from './main.ts';

await main(process.argv.slice(2));
