// Drives node's test runner over the files of the tiers asked for:
//   node dist/test/run.js [check|unit|integration|interop|fuzz|bench …] [--only PART-OF-PATH] [--name PATTERN] [--verbose]
// Prints one line a file, failures in full, every skip with its reason, and node's own closing lines last: CI reads those.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { run } from 'node:test';
import { inspect, parseArgs } from 'node:util';
import { FileWatch } from './support/file-watch.ts';

const TEST_ROOT = import.meta.dirname;
/** Read for names, so that what an older build left behind in dist is never run. */
const SOURCE_ROOT = join(TEST_ROOT, '../../test');
const TIERS = ['check', 'unit', 'integration', 'interop', 'fuzz', 'bench'];
/** What `npm test` runs. */
const TIERS_DEFAULT = ['check', 'unit', 'integration'];
/** A file that takes longer is killed, with what it started, and counted as failed. Long runs of chaos ask for more. */
const FILE_TIMEOUT_MS = Number(process.env.TEST_FILE_MINUTES ?? 10) * 60_000;
/** So is what a file that has ended leaves at its output. */
const OUTPUT_TIMEOUT_MS = 20_000;
/** Daemons that nobody needs any more may take so long to end. */
const LEFTOVER_WAIT_MS = 30_000;
/** Those that take a minute or more begin first in their tier, so that none runs alone at the end. */
const LONGEST: ReadonlySet<string> = new Set(
  ['conformance', 'demo', 'whole-way', 'mount', 'bad-registry', 'interrupted', 'handover'].map(
    (name) => `${name}.test.ts`,
  ),
);
/** Files at once, each a process of its own that may start more. */
const FILES_IN_FLIGHT_MAX = Number(process.env.TEST_FILES_AT_ONCE ?? 2);

/** node's reason for what --name leaves out. */
const NOT_CHOSEN = 'test name does not match pattern';

/** What node says of a finished test or suite; `file` as node passes it on, absolute. */
interface Result {
  readonly name: string;
  readonly file?: string;
  readonly details: { readonly duration_ms: number; readonly type?: string; readonly error?: Error };
  readonly skip?: string | boolean;
}

/** A file, or a test of one, that begins or ends. */
interface Step {
  readonly name: string;
  readonly file?: string;
}

interface FileReport {
  readonly label: string;
  tests: number;
  skipped: number;
  failed: number;
  durationMs: number;
}

/** Turns the events of a run into lines. node reports files one after the other, whatever ran at once. */
class Report {
  readonly #verbose: boolean;
  /** Names of skipped tests by file and reason. */
  readonly #skips = new Map<string, string[]>();
  readonly #closing: string[] = [];
  #file: FileReport | undefined;
  /** Tests that have begun and not ended, by file. */
  readonly #underWay = new Map<string, Set<string>>();
  failures = 0;

  constructor(options: { readonly verbose: boolean }) {
    this.#verbose = options.verbose;
  }

  began({ name, file }: Step): void {
    const label = labelOf(file);
    if (name !== file) this.#underWay.set(label, (this.#underWay.get(label) ?? new Set()).add(name));
  }

  ended({ name, file }: Step): void {
    this.#underWay.get(labelOf(file))?.delete(name);
  }

  /** What holds for a file whatever its tests say. */
  problem(file: string, what: string): void {
    this.failures++;
    console.log(`\nFAIL ${labelOf(file)}: ${what}\n`);
  }

  result(result: Result, failed: boolean): void {
    const label = labelOf(result.file);
    if (this.#file?.label !== label) this.#endFile();
    this.#file ??= { label, tests: 0, skipped: 0, failed: 0, durationMs: 0 };
    // node reports a file as a test only when the process itself failed: no import, a timeout, a bad exit.
    if (result.name === result.file) {
      this.#fail('the test process', result.details.error);
      const underWay = [...(this.#underWay.get(label) ?? [])];
      if (underWay.length > 0) console.log(`  under way: ${underWay.join('; ')}`);
      return;
    }
    if (failed) this.#fail(result.name, result.details.error);
    if (result.details.type === 'suite') return;
    this.#file.durationMs += result.details.duration_ms;
    if (result.skip === NOT_CHOSEN) return;
    this.#file.tests++;
    if (result.skip !== undefined && result.skip !== false) {
      this.#file.skipped++;
      const reason = `${label}: ${typeof result.skip === 'string' ? result.skip : 'gave no reason'}`;
      this.#skips.set(reason, [...(this.#skips.get(reason) ?? []), result.name]);
    } else if (this.#verbose && !failed) {
      console.log(`     ${result.name}  ${result.details.duration_ms.toFixed(0)} ms`);
    }
  }

  /** A message of a test, or one of the runner's closing lines. */
  diagnostic(message: string, file: string | undefined): void {
    if (file === undefined) this.#closing.push(message);
    else console.log(`     ${message}`);
  }

  end(): void {
    this.#endFile();
    if (this.#skips.size > 0) console.log('\nskipped:');
    for (const [reason, [first, ...more]] of this.#skips) {
      console.log(`  ${reason} (${first}${more.length > 0 ? ` and ${more.length} more` : ''})`);
    }
    console.log(`\n${this.#closing.map((line) => `# ${line}`).join('\n')}`);
  }

  #fail(name: string, error: Error | undefined): void {
    const file = this.#file as FileReport;
    file.failed++;
    this.failures++;
    const cause = error?.cause ?? error;
    const text = typeof cause === 'string' ? cause : inspect(cause, { depth: 4 });
    console.log(`\nFAIL ${file.label}: ${name}\n${text.replace(/^/gm, '  ')}\n`);
  }

  #endFile(): void {
    const file = this.#file;
    if (!file) return;
    const skipped = file.skipped > 0 ? `, ${file.skipped} skipped` : '';
    const counts = `${file.tests} tests${skipped}, ${(file.durationMs / 1000).toFixed(2)} s`;
    console.log(`${file.failed > 0 ? 'FAIL' : 'ok  '} ${file.label}: ${counts}`);
    this.#file = undefined;
  }
}

/** `unit/base/bytes`, whether node names the compiled file or, by its source map, the source. */
function labelOf(file: string | undefined): string {
  if (file === undefined) return '(no file)';
  const root = file.endsWith('.ts') ? SOURCE_ROOT : TEST_ROOT;
  return relative(root, file).replace(/\.test\.[jt]s$/, '');
}

/** Compiled test files of a tier; `check` is what lies beside this file: layering and house rules. */
function filesOf(tier: string): string[] {
  const directory = tier === 'check' ? '.' : tier;
  if (!existsSync(join(SOURCE_ROOT, directory))) return [];
  const names = readdirSync(join(SOURCE_ROOT, directory), { recursive: tier !== 'check', encoding: 'utf8' });
  const tests = names.filter((name) => name.endsWith('.test.ts')).sort();
  tests.sort((a, b) => Number(LONGEST.has(b)) - Number(LONGEST.has(a)));
  return tests.map((name) => join(TEST_ROOT, directory, name.replace(/\.ts$/, '.js')));
}

/** The commands that tests start are put together out of what is compiled; tests of an older one would say nothing. */
function isBuilt(): boolean {
  const built = statSync(join(TEST_ROOT, '../cli/main.js'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const compiled = join(TEST_ROOT, '../src');
  const names = readdirSync(compiled, { recursive: true, encoding: 'utf8' });
  return names.every((name) => !name.endsWith('.js') || statSync(join(compiled, name)).mtimeMs <= built);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: 'string' }, name: { type: 'string' }, verbose: { type: 'boolean', default: false } },
});
const unknown = positionals.filter((tier) => !TIERS.includes(tier));
if (unknown.length > 0) throw new Error(`no tier ${unknown.join(', ')}; there are ${TIERS.join(', ')}`);
const tiers = positionals.length > 0 ? positionals : TIERS_DEFAULT;
const only = values.only ?? '';
const files = tiers.flatMap(filesOf).filter((file) => relative(TEST_ROOT, file).includes(only));
if (!isBuilt()) throw new Error('dist/cli is older than dist/src: node scripts/setup.mjs');
if (files.length === 0) throw new Error(`no test file in ${tiers.join(', ')}${only && ` whose path has "${only}"`}`);

// Stacks of failures name TypeScript lines; the commands that tests start inherit it.
process.env.NODE_OPTIONS = `${process.env.NODE_OPTIONS ?? ''} --enable-source-maps`.trim();
const report = new Report({ verbose: values.verbose });
const pattern = values.name === undefined ? {} : { testNamePatterns: values.name };
const events = run({ files, concurrency: FILES_IN_FLIGHT_MAX, ...pattern });
using watch = new FileWatch({ fileTimeoutMs: FILE_TIMEOUT_MS, outputTimeoutMs: OUTPUT_TIMEOUT_MS });
events.on('test:dequeue', (step: Step) => {
  if (step.name === step.file) watch.started(step.name);
  report.began(step);
});
events.on('test:complete', (step: Step) => {
  const why = step.name === step.file ? watch.ended(step.name) : undefined;
  if (why !== undefined) report.problem(step.name, why);
  report.ended(step);
});
events.on('test:pass', (result) => report.result(result as Result, false));
events.on('test:fail', (result) => report.result(result as Result, true));
events.on('test:diagnostic', ({ message, file }) => report.diagnostic(message, file));
events.on('test:stdout', ({ message }) => process.stdout.write(message));
events.on('test:stderr', ({ message }) => process.stderr.write(message));
for await (const _ of events);
for (const { file, command } of await watch.endLeftovers(LEFTOVER_WAIT_MS)) report.problem(file, `left ${command}`);
report.end();
// What still holds our own output must not hold up who waits for us.
process.exit(report.failures > 0 ? 1 : 0);
