// Builds a fuzz target of native/fuzz with AddressSanitizer and UBSan and runs it: node scripts/fuzz-native.mjs TARGET SECONDS SEED
// Under clang++ it is libFuzzer's; with g++ it is our own replay of seeds and random mutations of them. What it stops at is
// left in native/build/fuzz. Prints what the fuzzer says; its exit code is ours.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const root = dirname(import.meta.dirname);
const source = join(root, 'native/src');
const target = process.argv[2] ?? '';
const [seconds, seed] = process.argv.slice(3).map(Number);
const directory = join(root, 'native/build/fuzz', target);
const corpus = join(directory, 'corpus');
const images = join(root, 'fixtures/fuzz/bootstrap');

/** What a target is made of: the code under test, without threads and without Node. */
const PARTS = ['image/bootstrap.cc', 'image/directory.cc', 'device/device.cc'];
const SERVER_PARTS = ['fuse/directory.cc', 'fuse/read.cc', 'fuse/server.cc', 'fuse/touches.cc'];
const TARGETS = {
  bootstrap: { parts: PARTS, seeds: readdirSync(images).map((name) => join(images, name)) },
  request: { parts: [...PARTS, ...SERVER_PARTS], seeds: [join(corpus, 'requests')] },
};
const chosen = TARGETS[target];
if (!chosen || !(seconds >= 0) || !Number.isInteger(seed)) {
  throw new Error(`fuzz-native.mjs ${Object.keys(TARGETS).join('|')} SECONDS SEED`);
}
mkdirSync(corpus, { recursive: true });
if (target === 'request') writeFileSync(join(corpus, 'requests'), requests());

const clang = spawnSync('clang++', ['--version']).status === 0;
const program = join(directory, target);
const sources = chosen.parts.map((name) => join(source, name));
const driver = clang ? [] : [join(root, 'native/fuzz/replay.cc')];
execFileSync(
  clang ? 'clang++' : 'g++',
  [
    ['-std=c++20', '-g', '-O1', '-Wall', '-Wextra', '-Werror', '-fno-exceptions', '-fno-omit-frame-pointer'],
    [`-fsanitize=address,undefined${clang ? ',fuzzer' : ''}`, '-fno-sanitize-recover=undefined'],
    ['-I', source, '-I', join(root, 'native/fuzz'), join(root, `native/fuzz/${target}.cc`)],
    [...driver, ...sources, '-o', program],
  ].flat(),
  { stdio: ['ignore', 'inherit', 'inherit'] },
);
const libFuzzer = [`-max_total_time=${seconds}`, `-seed=${seed}`, '-max_len=262144', corpus, ...new Set(folders())];
const args = clang ? libFuzzer : [String(seconds), String(seed), ...chosen.seeds];
const { status } = spawnSync(program, args, {
  cwd: directory,
  stdio: ['ignore', 'inherit', 'inherit'],
  env: {
    ...process.env,
    ASAN_OPTIONS: 'handle_sigill=2:handle_abort=2:detect_leaks=0',
    NAIAD_FUZZ_IMAGE: join(images, 'everything'),
  },
});
process.exit(status ?? 1);

function folders() {
  return chosen.seeds.map((path) => dirname(path)).filter((path) => path !== corpus);
}

/** One request of each operation that is answered, each behind its length. */
function requests() {
  const init = Buffer.alloc(64);
  [7, 45, 131_072, 0xffff_ffff, 0xffff_ffff].forEach((value, index) => {
    init.writeUInt32LE(value, index * 4);
  });
  const read = Buffer.alloc(40);
  read.writeUInt32LE(65_536, 16);
  const xattr = Buffer.concat([Buffer.from([255, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('user.a\0')]);
  const none = Buffer.alloc(0);
  return Buffer.concat(
    [
      ...[request(26, 0, init), request(1, 1, Buffer.from('a\0')), request(1, 1, Buffer.from('.\0'))],
      ...[request(3, 1, Buffer.alloc(16)), request(5, 131, none), request(15, 130, read), request(14, 1, read)],
      ...[request(27, 1, read), request(28, 1, read), request(44, 1, read), request(17, 1, none)],
      ...[request(22, 1, xattr), request(23, 1, xattr), request(36, 0, Buffer.alloc(8)), request(2, 1, read)],
    ].flat(),
  );
}

function request(opcode, node, body) {
  const bytes = Buffer.alloc(2 + 40 + body.length);
  bytes.writeUInt16LE(bytes.length - 2, 0);
  bytes.writeUInt32LE(bytes.length - 2, 2);
  bytes.writeUInt32LE(opcode, 6);
  bytes.writeUInt32LE(2, 10);
  bytes.writeUInt32LE(node, 18);
  body.copy(bytes, 42);
  return bytes;
}
