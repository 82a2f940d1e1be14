// What a token must allow: `repository:library/debian:pull,push`, several separated by spaces. Names may hold colons, so the
// first and the last one count.

/** More than a registry ever asks for at once. */
const SCOPES_MAX = 10;

/** The scopes of `texts`, those of one resource as one, in the order they are first named. */
export function mergeScopes(...texts: readonly (string | undefined)[]): string[] {
  const actions = new Map<string, Set<string>>();
  for (const scope of texts.flatMap((text) => text?.split(/\s+/) ?? [])) {
    const colon = scope.lastIndexOf(':');
    if (colon <= 0) continue;
    const resource = scope.slice(0, colon);
    const known = actions.get(resource) ?? new Set();
    for (const action of scope.slice(colon + 1).split(',')) if (action !== '') known.add(action);
    actions.set(resource, known);
  }
  return [...actions].slice(0, SCOPES_MAX).map(([resource, wanted]) => `${resource}:${[...wanted].join(',')}`);
}

/** The repository of the first scope; empty when there is none. */
export function repositoryOf(scope: string | undefined): string {
  return /^repository:(.*):[^:]*$/.exec(scope?.split(' ')[0] ?? '')?.[1] ?? '';
}
