// From the words of a command line to a command with its arguments, or to a text that answers them (help, version).
import type { Argv } from 'yargs';
import { NaiadError } from '../base/errors.ts';
import { LOG_LEVELS, type LogLevel } from '../base/log-levels.ts';
import { version } from '../base/version.ts';
import type { Command } from './command.ts';
import { COMMANDS, type CommandEntry } from './commands.ts';
import { nearest, parseError } from './parse-error.ts';
import type { OutputOptions } from './render.ts';

export type Invocation =
  | { readonly kind: 'text'; readonly text: string; readonly exit: number }
  | {
      readonly kind: 'command';
      readonly command: Command;
      readonly args: object;
      readonly output: OutputOptions;
    };

const HELP_WIDTH = 80;

/**
 * Reads a command line, without the program's own name.
 * @throws NaiadError USAGE with a hint
 */
export async function parseCommandLine(argv: readonly string[]): Promise<Invocation> {
  const { words, rest } = takeCommandWords(argv);
  const entry = COMMANDS.find(({ name }) => name === words.join(' '));
  if (entry) return parseArguments(entry, rest);
  const asksHelp = rest.includes('--help') || rest.includes('-h');
  if (words.length === 0) {
    if (rest.includes('--version')) return { kind: 'text', text: version(), exit: 0 };
    const option = rest.find((word) => word.startsWith('-') && !GLOBAL_OPTIONS.has(word.replace(/=.*/, '')));
    if (option !== undefined && !asksHelp) {
      throw new NaiadError('USAGE', `unknown option ${option}`, { hint: 'Run `naiad --help` to see what there is.' });
    }
    return { kind: 'text', text: overview(), exit: asksHelp ? 0 : 2 };
  }
  const group = COMMANDS.filter(({ name }) => name.startsWith(`${words[0]} `));
  if (group.length === 0) throw unknownCommand(words, COMMANDS);
  if (words.length > 1) throw unknownCommand(words, group);
  return { kind: 'text', text: groupOverview(words[0] as string, group), exit: asksHelp ? 0 : 2 };
}

/** What `--json` and its like say, for a line that could not be parsed as a whole. */
export function guessOutput(argv: readonly string[]): OutputOptions {
  return { json: argv.includes('--json'), quiet: argv.includes('--quiet') || argv.includes('-q'), logLevel: 'info' };
}

const GLOBAL_OPTIONS = new Set(['--json', '--quiet', '-q', '--log-level', '--help', '-h', '--version']);

/** The one or two words that name the command, and all the others in their order. `help X` reads as `X --help`. */
function takeCommandWords(argv: readonly string[]): { words: string[]; rest: string[] } {
  const words: string[] = [];
  const rest: string[] = [];
  let at = 0;
  const isGroup = () => COMMANDS.some(({ name }) => name.startsWith(`${words[0]} `));
  const isCommand = (line: string) => COMMANDS.some(({ name }) => name === line);
  while (at < argv.length && (words.length === 0 || (words.length === 1 && isGroup()))) {
    // Of a group that is a command as well, what names no member is an argument.
    const own = words.length === 1 && isCommand(words[0] as string);
    if (own && !argv[at]?.startsWith('-') && !isCommand(`${words[0]} ${argv[at]}`)) break;
    const word = argv[at++] as string;
    if (word === 'help' && words.length === 0) rest.push('--help');
    else if (word.startsWith('-')) rest.push(word);
    else words.push(word);
    if (word === '--log-level' && at < argv.length) rest.push(argv[at++] as string);
  }
  return { words, rest: [...rest, ...argv.slice(at)] };
}

async function parseArguments(entry: CommandEntry, argv: string[]): Promise<Invocation> {
  // yargs takes 40 ms to load: help of the whole, the version and wrong commands do without it.
  const [{ default: yargs }, { command }] = await Promise.all([import('yargs'), entry.load()]);
  const positionals = command.usage.slice(entry.name.length).trim();
  const { passThrough = false } = command;
  const lists = [...positionals.matchAll(/([\w-]+)\.\./g)].map(([, name]) => name as string);
  const line = passThrough ? argv : shieldWords(argv);
  let inner: Argv | undefined;
  const build = (parser: Argv) => {
    inner = parser;
    const built = command.options(parser).example(command.examples.map(([line, what]) => [line, what]));
    several = [...optionsOfSeveral(built), ...lists];
    return built;
  };
  let several: readonly string[] = [];
  let failure: NaiadError | undefined;
  const parser = withGlobalOptions(yargs(line).scriptName(`naiad ${entry.name}`).locale('en'))
    .parserConfiguration({ ...PARSER_CONFIGURATION, 'halt-at-non-option': passThrough })
    .command(passThrough ? '$0' : `$0 ${positionals}`.trim(), entry.summary, build)
    .fail((message, error) => {
      const bare = message?.replaceAll(SHIELD, '');
      failure ??= parseError({
        message: bare,
        error,
        command: entry.name,
        positionals,
        argv: line,
        parser: inner ?? parser,
      });
      throw failure;
    });
  let text = '';
  const parsed = await parser.parseAsync(line, {}, (_error: unknown, _args: unknown, output: string) => {
    text = output;
  });
  if (failure) throw failure;
  if (text !== '') return { kind: 'text', text: arrangeHelp(text, command.usage), exit: 0 };
  const options = unshieldWords(lastOfRepeated(parsed, several));
  const { json = false, quiet = false, logLevel } = options;
  const args = passThrough ? { ...options, ...splitPassThrough(parsed._, positionals, entry.name) } : options;
  return {
    kind: 'command',
    command,
    args,
    output: { json, quiet, logLevel: logLevel as LogLevel },
  };
}

const SHIELD = '\0';

/** What stands behind `--` as words that do not look like options: yargs would not count them as arguments. */
function shieldWords(argv: readonly string[]): string[] {
  const end = argv.indexOf('--');
  if (end === -1) return [...argv];
  return [...argv.slice(0, end), ...argv.slice(end + 1).map((word) => `${SHIELD}${word}`)];
}

function unshieldWords<T extends object>(parsed: T): T {
  const bare = (value: unknown) => (typeof value === 'string' && value.startsWith(SHIELD) ? value.slice(1) : value);
  const entries = Object.entries(parsed).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.map(bare) : bare(value),
  ]);
  return Object.fromEntries(entries) as T;
}

/** Names and aliases of options that take several values; yargs tells until it has parsed, its types do not. */
function optionsOfSeveral(parser: Argv): readonly string[] {
  const { array, alias } = (
    parser as unknown as { getOptions(): { array: readonly string[]; alias: Record<string, readonly string[]> } }
  ).getOptions();
  const names = array.flatMap((name) => [name, ...(alias[name] ?? [])]);
  return names.flatMap((name) => [name, name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())]);
}

/** Of an option given more than once the last counts, unless it takes several values, as lists of arguments do; yargs makes
 *  arrays of them all. */
function lastOfRepeated<T extends object>(parsed: T, several: readonly string[]): T {
  const entries = Object.entries(parsed).map(([name, value]) => {
    return [name, Array.isArray(value) && name !== '_' && !several.includes(name) ? value.at(-1) : value];
  });
  return Object.fromEntries(entries) as T;
}

/** For `<image> [cmd..]`: `{ image, cmd }`. A `--` between the two is ours. */
function splitPassThrough(words: readonly (string | number)[], positionals: string, command: string) {
  const [first = '', second = ''] = [...positionals.matchAll(/[\w-]+/g)].map(([name]) => name);
  const [own, ...others] = words.map(String);
  if (own === undefined) {
    throw new NaiadError('USAGE', `missing <${first}>`, {
      hint: `Run \`naiad ${command} --help\` to see its arguments.`,
    });
  }
  return { [first]: own, [second]: others[0] === '--' ? others.slice(1) : others };
}

/** yargs prints groups of its own making first; what every command shares should stand behind a command's own. */
function arrangeHelp(help: string, usage: string): string {
  const paragraphs = help.split(/\n\n+/).slice(1);
  const shared = paragraphs.filter((paragraph) => paragraph.startsWith('Global options:'));
  return [`Usage: naiad ${usage}`, ...paragraphs.filter((paragraph) => !shared.includes(paragraph)), ...shared].join(
    '\n\n',
  );
}

const PARSER_CONFIGURATION = {
  'parse-positional-numbers': false,
  'duplicate-arguments-array': true,
  'dot-notation': false,
};

function withGlobalOptions(parser: Argv) {
  return parser
    .option('json', { type: 'boolean', describe: 'Print the result, and errors, as JSON' })
    .option('quiet', { alias: 'q', type: 'boolean', describe: 'No progress, no notes' })
    .option('log-level', { choices: LOG_LEVELS, default: 'info', describe: 'How much to say on stderr' })
    .version(false)
    .help()
    .alias('h', 'help')
    .group(['json', 'quiet', 'log-level', 'help'], 'Global options:')
    .strict()
    .exitProcess(false)
    .showHelpOnFail(false)
    .wrap(HELP_WIDTH);
}

function unknownCommand(words: readonly string[], among: readonly CommandEntry[]): NaiadError {
  const line = words.join(' ');
  const near = nearest(
    line,
    among.map(({ name }) => name),
  );
  const hint = near ? `Did you mean \`naiad ${near}\`?` : 'Run `naiad --help` to see what there is.';
  return new NaiadError('USAGE', `unknown command "${line}"`, { hint });
}

function overview(): string {
  return [
    'naiad: container images that start before they are downloaded',
    '',
    'Usage: naiad <command> [options]',
    '',
    ...commandLines(COMMANDS),
    '',
    'Images are named as skopeo names them: docker://HOST/REPO:TAG (also without',
    'docker://), oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, dir:ROOT.',
    '',
    'Global options: --json  --quiet  --log-level LEVEL  --help  --version',
    '`naiad <command> --help` shows the options of a command, with examples.',
  ].join('\n');
}

function groupOverview(group: string, entries: readonly CommandEntry[]): string {
  return [`Usage: naiad ${group} <command> [options]`, '', ...commandLines(entries)].join('\n');
}

function commandLines(entries: readonly CommandEntry[]): string[] {
  const width = Math.max(...entries.map(({ name }) => name.length));
  return ['Commands:', ...entries.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`)];
}
