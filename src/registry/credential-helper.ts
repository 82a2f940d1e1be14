// Programs that keep passwords for docker and podman: `docker-credential-NAME get|store|erase`, one JSON value or one key
// on stdin, JSON on stdout. What is secret goes through pipes only. They are other people's programs that ask keyrings and
// clouds, so their time and their output are bounded.
import { spawn } from 'node:child_process';
import { signalChild } from '../base/child-process.ts';
import { NaiadError } from '../base/errors.ts';
import { HELPER_OUTPUT_SIZE_MAX, HELPER_TIMEOUT_MS } from '../base/limits.ts';
import type { Credentials } from './credential.ts';
import type { HelperChoice } from './credential-file.ts';

/** In place of a user name: the secret is an identity token. */
const TOKEN_USER = '<token>';
/** A helper's way of saying that it has nothing. */
const NOT_FOUND = /credentials not found in native keychain/i;

export interface HelperOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** HELPER_TIMEOUT_MS when left out. */
  readonly timeoutMs?: number;
}

/**
 * What the helper has for the server; undefined when it has nothing.
 * @throws NaiadError CREDENTIALS_INVALID when it cannot be run, fails, or answers something else
 */
export async function askHelper(helper: HelperChoice, options: HelperOptions): Promise<Credentials | undefined> {
  const { code, stdout } = await runHelper(helper, 'get', helper.server, options);
  if (code !== 0) {
    if (NOT_FOUND.test(stdout)) return undefined;
    throw failed(helper, `exited with ${code}${quoted(stdout)}`);
  }
  let answer: { Username?: unknown; Secret?: unknown } | null = null;
  try {
    answer = JSON.parse(stdout);
  } catch {
    // Not quoted: it may hold the secret.
  }
  const { Username: user, Secret: password } = answer ?? {};
  if (typeof user !== 'string' || typeof password !== 'string') throw failed(helper, 'gave no user name and secret');
  if (user === '' && password === '') return undefined;
  const source = programOf(helper);
  return user === TOKEN_USER ? { kind: 'identity-token', user: '', password, source } : { user, password, source };
}

/** @throws NaiadError CREDENTIALS_INVALID */
export async function storeInHelper(
  helper: HelperChoice,
  { user, password, kind }: Pick<Credentials, 'user' | 'password' | 'kind'>,
  options: HelperOptions,
): Promise<void> {
  const Username = kind === 'identity-token' ? TOKEN_USER : user;
  const value = JSON.stringify({ ServerURL: helper.server, Username, Secret: password });
  const { code, stdout } = await runHelper(helper, 'store', value, options);
  if (code !== 0) throw failed(helper, `could not store the credentials (exit ${code})${quoted(stdout, password)}`);
}

/** False when the helper had nothing. @throws NaiadError CREDENTIALS_INVALID */
export async function eraseInHelper(helper: HelperChoice, options: HelperOptions): Promise<boolean> {
  if ((await askHelper(helper, options)) === undefined) return false;
  const { code, stdout } = await runHelper(helper, 'erase', helper.server, options);
  if (code !== 0) throw failed(helper, `could not erase the credentials (exit ${code})${quoted(stdout)}`);
  return true;
}

function programOf({ name }: HelperChoice): string {
  return `docker-credential-${name}`;
}

function failed(helper: HelperChoice, why: string, hint?: string): NaiadError {
  return new NaiadError('CREDENTIALS_INVALID', `${programOf(helper)} (for ${helper.server}) ${why}`, {
    hint: hint ?? `Run it to see: echo ${helper.server} | ${programOf(helper)} get`,
  });
}

/** The beginning of what a helper says when it fails. */
function quoted(text: string, secret?: string): string {
  const line = text.trim().split('\n')[0]?.slice(0, 200) ?? '';
  const clean = secret ? line.replaceAll(secret, '***') : line;
  return clean === '' ? '' : `: ${clean}`;
}

async function runHelper(
  helper: HelperChoice,
  action: 'get' | 'store' | 'erase',
  input: string,
  options: HelperOptions,
): Promise<{ readonly code: number | null; readonly stdout: string }> {
  // It becomes part of a program's name.
  if (!/^[A-Za-z0-9._-]{1,100}$/.test(helper.name)) {
    throw new NaiadError('CREDENTIALS_INVALID', `${JSON.stringify(helper.name.slice(0, 100))} names no helper`);
  }
  const { env, timeoutMs = HELPER_TIMEOUT_MS } = options;
  const child = spawn(programOf(helper), [action], { env: { ...env }, stdio: ['pipe', 'pipe', 'ignore'] });
  return await new Promise((resolve, reject) => {
    let size = 0;
    const pieces: Buffer[] = [];
    const give = (error: NaiadError) => {
      signalChild(child, 'SIGKILL');
      // A child of the child may hold the pipe open.
      child.stdout.destroy();
      reject(error);
    };
    const timer = setTimeout(() => {
      give(failed(helper, `did not end within ${timeoutMs / 1000} s`));
    }, timeoutMs);
    child.stdout.on('data', (piece: Buffer) => {
      size += piece.length;
      if (size > HELPER_OUTPUT_SIZE_MAX) give(failed(helper, `printed more than ${HELPER_OUTPUT_SIZE_MAX} bytes`));
      else pieces.push(piece);
    });
    child.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      const missing = error.code === 'ENOENT';
      const hint = 'Install it, or take it out of "credsStore" and "credHelpers".';
      reject(failed(helper, missing ? 'is not on PATH' : `cannot be run (${error.code})`, missing ? hint : undefined));
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, stdout: Buffer.concat(pieces).toString('utf8') });
    });
    // One that fails before it reads says so by its exit code.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}
