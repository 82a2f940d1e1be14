// yargs' complaints as one clear line each, with a hint that names the way out.
import type { Argv } from 'yargs';
import { NaiadError } from '../base/errors.ts';

interface Complaint {
  readonly message: string | null | undefined;
  readonly error: Error | undefined;
  readonly command: string;
  /** `<source> <target>` */
  readonly positionals: string;
  readonly argv: readonly string[];
  readonly parser: Argv;
}

/** USAGE for what yargs found wrong; errors of a command's own coercions and checks pass as they are. */
export function parseError(complaint: Complaint): NaiadError {
  const { message, error, command } = complaint;
  if (error instanceof NaiadError) return error;
  if (error && !message) throw error;
  const help = `Run \`naiad ${command} --help\` to see its arguments and options.`;
  const text = message ?? '';
  const unknown = /^Unknown (?:arguments?|commands?): (.+)$/.exec(text)?.[1];
  if (unknown !== undefined) return unknownArgument(unknown.split(', '), complaint, help);
  const count = /^Not enough non-option arguments: got (\d+)/.exec(text)?.[1];
  if (count !== undefined) {
    const mistyped = unknownOption(complaint);
    if (mistyped !== undefined) return unknownArgument([mistyped], complaint, help);
    const missing = [...complaint.positionals.matchAll(/<[^>]+>/g)].map(([name]) => name).slice(Number(count));
    return new NaiadError('USAGE', `missing ${missing.join(' and ')}`, { hint: help });
  }
  const options = /^Missing required arguments?: (.+)$/.exec(text)?.[1];
  if (options !== undefined) return new NaiadError('USAGE', `missing ${dashed(options)}`, { hint: help });
  const valueless = /^Not enough arguments following: (.+)$/.exec(text)?.[1];
  if (valueless !== undefined) return new NaiadError('USAGE', `${dashed(valueless)} needs a value`, { hint: help });
  const choice = /Argument: (.+), Given: (.+), Choices: (.+)/.exec(text);
  if (choice) {
    const [, name, given, choices] = choice as unknown as [string, string, string, string];
    return new NaiadError('USAGE', `${dashed(name)} is ${given}, expected one of ${choices.replaceAll('"', '')}`, {
      hint: help,
    });
  }
  return new NaiadError('USAGE', text.replace(/\s*\n\s*/g, ' '), { hint: help });
}

function unknownArgument(names: readonly string[], { argv, parser }: Complaint, help: string): NaiadError {
  const options = argv.filter((word) => word.startsWith('-')).map((word) => word.replace(/^-+/, '').replace(/=.*/, ''));
  // yargs names an option twice, as it was written and in camel case.
  const name = names.find((one) => options.includes(one)) ?? (names[0] as string);
  if (!options.includes(name)) return new NaiadError('USAGE', `unexpected argument "${name}"`, { hint: help });
  const written = argv.find((word) => word.replace(/^-+/, '').replace(/=.*/, '') === name) as string;
  // A letter is one away from every other letter.
  const near = nearest(
    name,
    optionNames(parser).filter((one) => one.length > 1),
  );
  const hint = near ? `Did you mean --${near}?` : help;
  return new NaiadError('USAGE', `unknown option ${written.replace(/=.*/, '')}`, { hint });
}

/** The first option that there is none of: yargs looks for them only once there are words enough. */
function unknownOption({ argv, parser }: Complaint): string | undefined {
  const known = new Set(optionNames(parser));
  // Of `-lR` the first letter.
  const options = argv.flatMap((word) => /^--([^=]+)|^-([A-Za-z])/.exec(word)?.slice(1) ?? []).filter(Boolean);
  return options.find((name) => !known.has(name) && !known.has(name.replace(/^no-/, '')));
}

/** Names of all options of `parser`; yargs tells, its types do not. */
function optionNames(parser: Argv): string[] {
  const { key } = (parser as unknown as { getOptions(): { key: Record<string, unknown> } }).getOptions();
  return Object.keys(key);
}

function dashed(names: string): string {
  return names
    .split(', ')
    .map((name) => (name.length === 1 ? `-${name}` : `--${name}`))
    .join(' and ');
}

/** The one of `names` that `word` was most likely meant to be: one letter in three may differ. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  const ranked = names.map((name) => ({ name, distance: editDistance(word, name) }));
  ranked.sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best && best.distance <= Math.max(1, Math.floor(word.length / 3)) ? best.name : undefined;
}

/** Insertions, deletions and replacements that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
