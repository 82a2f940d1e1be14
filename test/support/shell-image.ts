// An image of a shell and a few programs of this machine with the libraries they need: small, and quick to convert.
import { execFileSync } from 'node:child_process';
import { copyFileSync, lstatSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { every, findProgram, program, type Requirement } from './requires.ts';
import { runTool } from './run-tool.ts';

const PROGRAMS = ['sh', 'cat', 'sleep', 'id', 'env', 'ls', 'touch', 'stat', 'tty', 'head', 'true'];

export function shellImage(): Requirement {
  return every(program('ldd'), program('umoci'), ...PROGRAMS.map(program));
}

/**
 * Makes the layout `dir`/shell with one image, `shell`: user `app` (1000:1000), entrypoint `/bin/sh -c`, command
 * `echo default`, directory `/srv`, variable `FROM_IMAGE=yes`. Returns its reference.
 */
export async function makeShellImage(dir: string): Promise<string> {
  const root = join(dir, 'shell-root');
  for (const path of ['etc', 'srv', 'proc', 'sys', 'dev', 'tmp']) mkdirSync(join(root, path), { recursive: true });
  for (const name of PROGRAMS) {
    const path = findProgram(name) ?? '';
    const real = realpathSync(path);
    copyInto(root, real, `/bin/${name}`);
    for (const library of librariesOf(real)) copyInto(root, library, library);
  }
  writeFileSync(join(root, 'etc/real-passwd'), 'root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n');
  // Absolute: it leads to the image's file, never to the host's.
  symlinkSync('/etc/real-passwd', join(root, 'etc/passwd'));
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\napp:x:1000:\nextra:x:2000:app\n');
  writeFileSync(join(root, 'srv/large'), Buffer.alloc(3_000_000, 'naiad'));
  const image = `${join(dir, 'shell')}:shell`;
  await runTool('umoci', ['init', '--layout', join(dir, 'shell')]);
  await runTool('umoci', ['new', '--image', image]);
  await runTool('umoci', ['insert', '--image', image, root, '/']);
  const config = ['user=app', 'env=FROM_IMAGE=yes', 'workingdir=/srv', 'entrypoint=/bin/sh', 'entrypoint=-c'];
  const args = [...config, 'cmd=echo default'].flatMap((entry) => {
    const equals = entry.indexOf('=');
    return [`--config.${entry.slice(0, equals)}`, entry.slice(equals + 1)];
  });
  await runTool('umoci', ['config', '--image', image, ...args]);
  return `oci:${image}`;
}

/** Paths of what the dynamic loader loads for `path`, itself included. */
function librariesOf(path: string): string[] {
  const text = execFileSync('ldd', [path], { encoding: 'utf8' });
  return [...text.matchAll(/(\/\S+) \(0x/g)].map(([, library]) => library as string);
}

function copyInto(root: string, from: string, to: string): void {
  mkdirSync(join(root, dirname(to)), { recursive: true });
  if (lstatSync(from).isSymbolicLink()) copyFileSync(realpathSync(from), join(root, to));
  else copyFileSync(from, join(root, to));
}
