// Errors between processes of ours, so that the one a user sees is the one that happened.
import { CODES, type Code, NaiadError } from '../base/errors.ts';

export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly causes: readonly string[];
}

export function encodeError(error: unknown): WireError {
  const causes: string[] = [];
  let cause = error instanceof Error ? error.cause : undefined;
  while (cause !== undefined && causes.length < 8) {
    causes.push(cause instanceof Error ? cause.message : String(cause));
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  if (!(error instanceof NaiadError)) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { code: 'BUG', message, causes };
  }
  const { code, message, hint } = error;
  return { code, message, causes, ...(hint !== undefined && { hint }) };
}

export function decodeError(error: WireError): NaiadError {
  const code: Code = error.code in CODES ? (error.code as Code) : 'BUG';
  const cause = error.causes.reduceRight<Error | undefined>(
    (inner, message) => new Error(message, inner ? { cause: inner } : undefined),
    undefined,
  );
  return new NaiadError(code, error.message, {
    ...(error.hint !== undefined && { hint: error.hint }),
    ...(cause && { cause }),
  });
}
