// docs/reference/errors.md, from the tables that decide about errors.
import { CODES, KINDS, type Kind } from '../base/errors.ts';

/** The text of the page. `npm run docs` writes it, `tidy.test.ts` compares. */
export function errorsPage(): string {
  const kinds = Object.entries(KINDS);
  const codes = Object.entries(CODES);
  return [
    '# Errors and exit codes',
    '',
    'Made from the tables in `src/base/errors.ts` by `npm run docs`; do not edit.',
    '',
    'A failed command says what happened on stderr, one thing a line: the error with its code, what you can do about it, and',
    'what it was caused by.',
    '',
    '```',
    'error[IMAGE_NOT_FOUND]: registry.example/app:2: the registry has no such tag',
    'hint: Check the name and the tag; `skopeo list-tags` shows what there is.',
    'cause: GET /v2/app/manifests/2: 404 MANIFEST_UNKNOWN',
    '```',
    '',
    'Under `--json` stdout carries the result alone, and every line of stderr is one JSON object: notes and warnings as',
    '`{"level":"note"|"warning","message":…}`, the error as the last line:',
    '',
    '```json',
    '{"level":"error","code":"IMAGE_NOT_FOUND","message":"…","hint":"…","causes":["…"],"exit":10}',
    '```',
    '',
    'Branch on the exit code or on `code`, never on the message. New codes may come at any time; an exit code that is not',
    'listed here means failure.',
    '',
    '## Exit codes',
    '',
    'The errno is what a process sees that reads from a mount when the same happens there.',
    '',
    '| exit | kind | errno | when |',
    '|---|---|---|---|',
    '| 0 | | | done |',
    ...kinds.map(([kind, { exit, errno, doc }]) => `| ${exit} | ${kind} | ${errno} | ${doc} |`),
    '',
    'Interrupted by SIGINT the code is 130, by SIGTERM 143, by SIGHUP 129; a second signal, half a second later or more, ends naiad at once, without cleanup.',
    'When the reader of stdout goes away (`naiad ls … | head`) it is 141, silently. `naiad run` ends with the exit code of the',
    'container.',
    '',
    '## Codes',
    '',
    '| code | exit | when |',
    '|---|---|---|',
    ...codes.map(([code, { kind, doc }]) => `| \`${code}\` | ${KINDS[kind as Kind].exit} | ${doc} |`),
    '',
  ].join('\n');
}
