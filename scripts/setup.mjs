// Brings a clone to the point where everything runs: npm dependencies from the lock file, TypeScript, the native addon.
// What this machine lacks is installed where that is possible (Debian, root), else named in one line with the command
// that brings it. Plain Node; takes a tenth of a second when there is nothing to do. Talks on stderr only.
//   NAIAD_SETUP_APT=0   never install Debian packages
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

const ROOT = dirname(import.meta.dirname);
/** Where the built command is found, whatever the layout behind it. */
const COMMAND = 'dist/cli/main.js';
const ADDON = 'native/build/Release/naiad.node';
const LIBRARY_DIRS = ['/lib', '/usr/lib', '/lib64', '/usr/lib64', '/usr/local/lib', ...multiarchDirs()];
const COMPILER = [
  { missing: !onPath('g++') && !onPath('c++'), name: 'g++' },
  { missing: !onPath('make'), name: 'make' },
  { missing: !onPath('python3'), name: 'python3' },
];

// npm runs `prepare`, which is this file, at the end of an install that this file started.
if (!process.env.NAIAD_SETUP_RUNNING) setup();

function setup() {
  process.chdir(ROOT);
  installDebianPackages();
  installDependencies();
  buildTypeScript();
  buildAddon();
  for (const line of missingThings()) say(line);
}

function installDebianPackages() {
  const wanted = libfuseMissing() ? ['libfuse2'] : [];
  const compiles = !dependenciesInstalled() || !addonIsCurrent();
  if (compiles) wanted.push(...COMPILER.filter(({ missing }) => missing).map(({ name }) => name));
  const allowed = process.env.NAIAD_SETUP_APT !== '0' && process.geteuid?.() === 0 && onPath('apt-get');
  if (wanted.length === 0 || !allowed) return;
  say(`installing Debian packages: ${wanted.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const install = () => run('apt-get', ['install', '-y', '--no-install-recommends', ...wanted], { env });
  // Package lists may be absent or old; only then are they worth fetching.
  const done = install().ok || (run('apt-get', ['update'], { env }).ok && install().ok);
  if (!done) say('apt-get could not install them; going on without');
  for (const tool of COMPILER) tool.missing &&= !onPath(tool.name);
}

function installDependencies() {
  if (dependenciesInstalled()) return;
  say('installing npm dependencies from package-lock.json (about half a minute)');
  const result = run('npm', ['ci', '--no-audit', '--no-fund'], { env: npmEnvironment() });
  if (!result.ok) fail('npm ci failed', result.output);
  const compiled = compiledDependencyMissing();
  if (compiled) fail(`${compiled} was installed without its binary`, result.output);
}

/** True when every package of the lock file that this platform needs is there in the locked version. */
function dependenciesInstalled() {
  if (!existsSync('node_modules/.package-lock.json')) return false;
  const locked = JSON.parse(readFileSync('package-lock.json', 'utf8')).packages;
  const installed = JSON.parse(readFileSync('node_modules/.package-lock.json', 'utf8')).packages;
  const stale = Object.entries(locked).some(([path, { version, optional }]) => {
    if (path === '') return false;
    return installed[path] ? installed[path].version !== version : !optional;
  });
  return !stale && !compiledDependencyMissing();
}

/** An install that was told to run no scripts leaves zstd-napi without its binary. */
function compiledDependencyMissing() {
  return existsSync('node_modules/zstd-napi/build/Release/binding.node') ? undefined : 'zstd-napi';
}

function buildTypeScript() {
  const stamp = 'dist/.setup-stamp';
  const sources = ['src', 'test'].flatMap((directory) => filesBelow(directory, '.ts'));
  const tools = ['typescript', 'esbuild'].map((name) => `node_modules/${name}/package.json`);
  const state = fingerprint([...sources, 'tsconfig.json', 'scripts/bundle.mjs', ...tools]);
  if (existsSync(COMMAND) && existsSync(stamp) && readFileSync(stamp, 'utf8') === state) return;
  // What the incremental compiler believes to be there must be there.
  if (!existsSync('dist/src/cli/main.js')) rmSync('dist/.tsbuildinfo', { force: true });
  removeStaleOutput(new Set(sources));
  const result = run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.']);
  if (!result.ok) fail('the TypeScript sources do not compile', result.output);
  rmSync(dirname(COMMAND), { recursive: true, force: true });
  const bundled = run(process.execPath, ['scripts/bundle.mjs']);
  if (!bundled.ok) fail('the command cannot be put together', bundled.output);
  chmodSync(COMMAND, 0o755);
  writeFileSync(stamp, state);
}

/** Compiled files whose source is gone would still be found by imports. */
function removeStaleOutput(sources) {
  for (const path of [...filesBelow('dist/src', '.js'), ...filesBelow('dist/test', '.js')]) {
    const source = path.replace(/^dist\//, '').replace(/\.js$/, '.ts');
    if (sources.has(source)) continue;
    rmSync(path);
    rmSync(`${path}.map`, { force: true });
  }
}

function buildAddon() {
  if (addonIsCurrent() || compilerMissing()) return;
  say('building the native addon');
  const nodedir = offlineHeaders();
  const gyp = ['node_modules/node-gyp/bin/node-gyp.js', 'rebuild', '-C', 'native'];
  const result = run(process.execPath, nodedir ? [...gyp, `--nodedir=${nodedir}`] : gyp, { env: npmEnvironment() });
  if (result.ok) {
    writeFileSync('native/build/.setup-stamp', addonFingerprint());
    return;
  }
  mkdirSync('native/build', { recursive: true });
  writeFileSync('native/build/setup.log', result.output);
  say('the native addon does not build here, see native/build/setup.log');
}

function addonIsCurrent() {
  const stamp = 'native/build/.setup-stamp';
  return existsSync(ADDON) && existsSync(stamp) && readFileSync(stamp, 'utf8') === addonFingerprint();
}

function addonFingerprint() {
  const files = ['.gyp', '.cc', '.h'].flatMap((ending) => filesBelow('native', ending));
  const sources = files.filter((path) => !path.startsWith('native/build'));
  return fingerprint(sources) + process.version + process.arch;
}

/** One line for each thing this machine lacks: what, what it costs, the command that brings it. */
function missingThings() {
  const lines = [];
  if (!existsSync(ADDON)) {
    const compiler = compilerMissing();
    const reason = compiler ? `${compiler} missing: apt-get install g++ make python3` : 'see above';
    lines.push(`no native addon: \`naiad unpack\` needs it (${reason})`);
  }
  if (process.platform === 'linux' && !existsSync('/dev/fuse')) {
    lines.push('no /dev/fuse: mount, run and the demo need it (modprobe fuse; in a container: --device /dev/fuse)');
  }
  if (libfuseMissing()) lines.push('no libfuse.so.2: mount, run and the demo need it (apt-get install libfuse2)');
  if (!onPath('runc') && !onPath('crun'))
    lines.push('neither runc nor crun: `naiad run` needs one (apt-get install runc)');
  return lines;
}

function compilerMissing() {
  return COMPILER.filter(({ missing }) => missing)
    .map(({ name }) => name)
    .join(', ');
}

function libfuseMissing() {
  return process.platform === 'linux' && !LIBRARY_DIRS.some((directory) => existsSync(join(directory, 'libfuse.so.2')));
}

function multiarchDirs() {
  const names = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' };
  const name = names[process.arch];
  return name ? [`/lib/${name}`, `/usr/lib/${name}`] : [];
}

/** The directory above `include/node` where this Node came with its headers: then nothing needs to be downloaded. */
function offlineHeaders() {
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, 'include/node/node_api.h')) ? prefix : undefined;
}

/** For npm and node-gyp below us: not what an outer npm was asked to do (`install -g`), and headers without a download. */
function npmEnvironment() {
  const env = { ...process.env, NAIAD_SETUP_RUNNING: '1' };
  const ofOuter = [
    'global',
    'location',
    'prefix',
    'local_prefix',
    'global_prefix',
    'omit',
    'dry_run',
    'ignore_scripts',
  ];
  for (const name of ofOuter) delete env[`npm_config_${name}`];
  const nodedir = offlineHeaders();
  if (nodedir) env.npm_config_nodedir = nodedir;
  return env;
}

/** Changes when a file is added, removed or written. */
function fingerprint(files) {
  const hash = createHash('sha256');
  for (const path of files.toSorted()) {
    const { mtimeMs, size } = statSync(path);
    hash.update(`${path} ${mtimeMs} ${size}\n`);
  }
  return hash.digest('hex');
}

function filesBelow(directory, ending) {
  if (!existsSync(directory)) return [];
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  return names.filter((name) => name.endsWith(ending)).map((name) => join(directory, name));
}

function onPath(program) {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return directory !== '';
    } catch {
      return false;
    }
  });
}

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const output = `${result.stdout ?? ''}${result.stderr ?? ''}${result.error ? `${result.error.message}\n` : ''}`;
  return { ok: result.status === 0, output };
}

function say(line) {
  process.stderr.write(`setup: ${line}\n`);
}

function fail(what, output) {
  process.stderr.write(`${output}\nsetup: ${what}\n`);
  process.exit(1);
}
