// docs/reference/commands.md, from the help of every command.
import { assert } from '../base/assert.ts';
import { COMMANDS } from './commands.ts';
import { parseCommandLine } from './parser.ts';

/** The text of the page. `npm run docs` writes it, `tidy.test.ts` compares. */
export async function commandsPage(): Promise<string> {
  const sections: string[] = [];
  let shared = '';
  for (const { name } of COMMANDS) {
    const paragraphs = (await helpOf(name.split(' '))).split('\n\n');
    // Each help ends with what all commands share.
    shared = paragraphs.pop() ?? '';
    sections.push(`## ${name}\n\n${fenced(paragraphs.join('\n\n'))}`);
  }
  return [
    '# Commands',
    'Made from the help of the commands by `npm run docs`; do not edit. What a failed command prints, and its exit code:\n[errors](errors.md).',
    fenced(await helpOf([])),
    ...sections,
    `## Global options\n\n${fenced(shared)}`,
  ]
    .join('\n\n')
    .concat('\n');
}

async function helpOf(words: readonly string[]): Promise<string> {
  const invocation = await parseCommandLine([...words, '--help']);
  assert(invocation.kind === 'text', '--help answers with a text');
  return invocation.text;
}

function fenced(text: string): string {
  return `\`\`\`\n${text.trim()}\n\`\`\``;
}
