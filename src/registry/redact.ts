// Servers repeat what they were sent, also in error texts. Whatever outside text goes into a message goes through here.
import { printable } from '../base/errors.ts';

/** Shorter values would blot out ordinary words. */
const SECRET_LENGTH_MIN = 4;
const TEXT_LENGTH_MAX = 300;
/** Tokens are renewed all day; the last ones are the ones an answer can repeat. */
const SECRETS_MAX = 64;

/** The secrets one client holds. */
export class Secrets {
  readonly #known = new Set<string>();

  /** Remembers a password or token, and the forms it travels in. */
  add(secret: string): void {
    for (const form of [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64')]) {
      if (form.length < SECRET_LENGTH_MIN) continue;
      this.#known.delete(form);
      this.#known.add(form);
    }
    for (const oldest of this.#known) {
      if (this.#known.size <= SECRETS_MAX) break;
      this.#known.delete(oldest);
    }
  }

  /** Outside text on one line: secrets out, control characters out, cut to a bearable length. */
  clean(text: string): string {
    let clean = text;
    for (const secret of this.#known) clean = clean.replaceAll(secret, '***');
    return printable(clean.replace(/\s+/g, ' ').trim()).slice(0, TEXT_LENGTH_MAX);
  }
}
