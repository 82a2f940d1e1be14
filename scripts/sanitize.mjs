// Builds the addon with AddressSanitizer and UBSan beside the ordinary build, and runs its unit tests with that one.
// node scripts/sanitize.mjs; needs g++ and Node's headers. Leaks are not looked for: Node itself keeps memory at exit.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

const root = dirname(import.meta.dirname);
const napi = join(root, 'node_modules/node-addon-api');
const headers = join(dirname(dirname(process.execPath)), 'include/node');
const target = join(root, 'native/build/sanitize/naiad.node');
const sourceRoot = join(root, 'native/src');
const sources = readdirSync(sourceRoot, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.cc'));

mkdirSync(dirname(target), { recursive: true });
execFileSync(
  'g++',
  [
    ['-std=c++20', '-g', '-O1', '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared', '-fno-exceptions'],
    ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined', '-fno-omit-frame-pointer'],
    ['-DNAPI_VERSION=9', '-DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS', '-DNODE_ADDON_API_DISABLE_DEPRECATED'],
    ['-isystem', napi, '-isystem', headers, '-I', sourceRoot],
    sources.map((source) => join(sourceRoot, source)),
    ['-o', target],
  ].flat(),
  { stdio: 'inherit' },
);
const runtime = execFileSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
const { status } = spawnSync(process.execPath, ['dist/test/run.js', 'unit', '--only', 'unit/native'], {
  cwd: root,
  stdio: 'inherit',
  env: {
    ...process.env,
    LD_PRELOAD: runtime,
    ASAN_OPTIONS: 'detect_leaks=0',
    NAIAD_ADDON: target,
    REQUIRE: 'addon',
  },
});
process.exit(status ?? 1);
