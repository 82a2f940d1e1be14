// Builds the addon and the keeper with AddressSanitizer and UBSan beside the ordinary builds, and runs the unit tests of the
// addon and the tests of the keeper with these. node scripts/sanitize.mjs; needs g++ and Node's headers. Leaks are not looked
// for in the addon: Node itself keeps memory at exit.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

const root = dirname(import.meta.dirname);
const napi = join(root, 'node_modules/node-addon-api');
const zstd = join(root, 'node_modules/zstd-napi/deps/zstd/lib');
const headers = join(dirname(dirname(process.execPath)), 'include/node');
const directory = join(root, 'native/build/sanitize');
const sourceRoot = join(root, 'native/src');
/** Folders whose files are programs of their own. */
const PROGRAMS = ['keeper', 'bench'];
const COMMON = [
  ['-std=c++20', '-g', '-O1', '-Wall', '-Wextra', '-Werror', '-fno-exceptions', '-I', sourceRoot],
  ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined', '-fno-omit-frame-pointer'],
].flat();

const sources = readdirSync(sourceRoot, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.cc'));
const addon = join(directory, 'naiad.node');
const keeper = join(directory, 'naiad-keeper');
mkdirSync(directory, { recursive: true });
compile(
  addon,
  (source) => !PROGRAMS.some((program) => source.startsWith(`${program}/`)),
  [
    ['-fPIC', '-shared', '-isystem', napi, '-isystem', headers, '-isystem', zstd],
    ['-DNAPI_VERSION=9', '-DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS', '-DNODE_ADDON_API_DISABLE_DEPRECATED'],
  ],
  [join(root, 'native/build/Release/zstd.a')],
);
compile(keeper, (source) => source.startsWith('keeper/'), []);
const runtime = execFileSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
run(['unit', '--only', 'unit/native'], {
  ...{ LD_PRELOAD: runtime, ASAN_OPTIONS: 'detect_leaks=0', NAIAD_ADDON: addon, REQUIRE: 'addon' },
});
run(['integration', '--only', 'integration/keeper'], {
  // A test has a library of its own loaded before the sanitizer's.
  ...{ ASAN_OPTIONS: 'verify_asan_link_order=0', NAIAD_KEEPER: keeper, ...required('addon,pre-content') },
});

/** What is missing fails, here and whatever the caller wants as well. */
function required(names) {
  return { REQUIRE: [process.env.REQUIRE, names].filter(Boolean).join(',') };
}

/** `libraries` are linked as the ordinary build made them. */
function compile(target, chosen, options, libraries = []) {
  const chosenSources = sources.filter(chosen).map((source) => join(sourceRoot, source));
  execFileSync('g++', [...COMMON, ...options.flat(), ...chosenSources, ...libraries, '-o', target], {
    stdio: 'inherit',
  });
}

function run(args, env) {
  const { status } = spawnSync(process.execPath, ['dist/test/run.js', ...args], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  if (status !== 0) process.exit(status ?? 1);
}
