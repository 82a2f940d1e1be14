#!/usr/bin/env node
// The built command's address: dist/cli/main.js.
import { main } from '../src/cli/main.ts';

await main(process.argv.slice(2));
