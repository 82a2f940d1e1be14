// `WWW-Authenticate`, parsed: `Bearer realm="https://…",service="…",scope="repository:a:pull,push"`, several in one
// value or in several headers. Values hold commas and spaces, so splitting on commas is wrong.

export interface Challenge {
  /** Lowercase. */
  readonly scheme: string;
  /** Names in lowercase. */
  readonly parameters: Readonly<Record<string, string>>;
}

/** Longer ones are no challenge of a registry. */
const CHALLENGE_LENGTH_MAX = 16 * 1024;
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
/** Whatever an unknown scheme puts behind its name (`Negotiate YII…=`). */
const TOKEN68 = /[0-9A-Za-z._~+/-]+=*(?=\s*(?:,|$))/y;

/** All challenges of the given header values. What cannot be understood ends that value; what came before counts. */
export function parseChallenges(values: string | readonly string[] | undefined): Challenge[] {
  const list = values === undefined ? [] : typeof values === 'string' ? [values] : values;
  return list.flatMap((value) => parseValue(value.slice(0, CHALLENGE_LENGTH_MAX)));
}

function parseValue(text: string): Challenge[] {
  const found: { scheme: string; parameters: Record<string, string> }[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) at = pattern.lastIndex;
    return match;
  };
  const skip = (pattern: RegExp) => void take(pattern);
  for (;;) {
    skip(/[\s,]*/y);
    const name = take(TOKEN)?.[0];
    if (name === undefined) return found;
    skip(/\s*/y);
    if (text[at] === '=') {
      // A parameter of the challenge before it.
      at++;
      skip(/\s*/y);
      const quoted = take(QUOTED);
      const value = quoted ? quoted[1]?.replace(/\\(.)/g, '$1') : take(TOKEN)?.[0];
      const current = found.at(-1);
      if (value === undefined || !current) return found;
      const key = name.toLowerCase();
      if (!Object.hasOwn(current.parameters, key)) current.parameters[key] = value;
    } else {
      found.push({ scheme: name.toLowerCase(), parameters: Object.create(null) });
      skip(TOKEN68);
    }
  }
}
