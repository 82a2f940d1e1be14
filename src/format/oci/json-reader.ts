// Fields of a JSON document that anyone may have written. A complaint names the field by its path.
import type { Code } from '../../base/errors.ts';
import { digestComplaint } from './digest.ts';

export type JsonObject = { readonly [key: string]: unknown };

/** What is wrong with a document; the parser that knows which document it is makes a NaiadError of it. */
export class Complaint extends Error {
  readonly code: Code;

  constructor(message: string, code: Code = 'MANIFEST_INVALID') {
    super(message);
    this.code = code;
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true });

/** One object of a document. Optional fields count as absent when they are null, as Go writes empty lists and maps. */
export class JsonReader {
  readonly value: JsonObject;
  readonly #path: string;

  private constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new Complaint(`${path} must be an object`);
    }
    this.value = value as JsonObject;
    this.#path = path;
  }

  /** @throws Complaint when the bytes are not UTF-8, not JSON, or not an object. */
  static parse(bytes: Uint8Array, name: string): JsonReader {
    let value: unknown;
    try {
      value = JSON.parse(strictUtf8.decode(bytes));
    } catch {
      throw new Complaint(`${name} (${bytes.length} bytes) is not JSON`);
    }
    return new JsonReader(value, name);
  }

  string(key: string): string {
    const value = this.#own(key);
    if (typeof value !== 'string' || value === '') throw new Complaint(`${this.#at(key)} must be a non-empty string`);
    return value;
  }

  digest(key: string): string {
    return checkedDigest(this.#own(key), this.#at(key));
  }

  /** A count of bytes: a whole number from 0 that JavaScript holds exactly. */
  size(key: string): number {
    const value = this.#own(key);
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
      throw new Complaint(`${this.#at(key)} must be a whole number from 0`);
    }
    return value;
  }

  /** A number from 0 to `max`, whole or not. */
  optionalNumber(key: string, max: number): number | undefined {
    const value = this.#own(key);
    if (value == null) return undefined;
    if (typeof value !== 'number' || !(value >= 0 && value <= max)) {
      throw new Complaint(`${this.#at(key)} must be a number from 0 to ${max}`);
    }
    return value;
  }

  object(key: string): JsonReader {
    return new JsonReader(this.#own(key), this.#at(key));
  }

  optionalObject(key: string): JsonReader | undefined {
    return this.#own(key) == null ? undefined : this.object(key);
  }

  /** A list of at most `countMax` objects; `what` names them in the complaint about too many. */
  objects(key: string, countMax: number, what: string): JsonReader[] {
    return this.#list(key, countMax, what).map((item, index) => new JsonReader(item, `${this.#at(key)}[${index}]`));
  }

  optionalObjects(key: string, countMax: number, what: string): JsonReader[] {
    return this.#own(key) == null ? [] : this.objects(key, countMax, what);
  }

  digests(key: string, countMax: number): string[] {
    if (this.#own(key) == null) return [];
    return this.#list(key, countMax, key).map((item, index) => checkedDigest(item, `${this.#at(key)}[${index}]`));
  }

  /** The string fields among `keys` that are present and not empty. */
  optionalStrings<K extends string>(...keys: K[]): { [P in K]?: string } {
    const found: [string, string][] = [];
    for (const key of keys) {
      const value = this.#own(key);
      if (value == null || value === '') continue;
      if (typeof value !== 'string') throw new Complaint(`${this.#at(key)} must be a string`);
      found.push([key, value]);
    }
    return Object.fromEntries(found) as { [P in K]?: string };
  }

  optionalStringList(key: string): string[] | undefined {
    const value = this.#own(key);
    if (value == null) return undefined;
    if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
      throw new Complaint(`${this.#at(key)} must be a list of strings`);
    }
    return value;
  }

  optionalStringMap(key: string): Record<string, string> | undefined {
    const value = this.#own(key);
    if (value == null) return undefined;
    const { value: map } = new JsonReader(value, this.#at(key));
    for (const [name, text] of Object.entries(map)) {
      if (typeof text !== 'string') throw new Complaint(`${this.#at(key)}[${JSON.stringify(name)}] must be a string`);
    }
    return map as Record<string, string>;
  }

  #list(key: string, countMax: number, what: string): unknown[] {
    const value = this.#own(key);
    if (!Array.isArray(value)) throw new Complaint(`${this.#at(key)} must be a list`);
    if (value.length > countMax) {
      throw new Complaint(`it has ${value.length} ${what}, at most ${countMax} are read`, 'LIMIT_EXCEEDED');
    }
    return value;
  }

  /** Own fields only: `constructor` and the like are not in the document. */
  #own(key: string): unknown {
    return Object.hasOwn(this.value, key) ? this.value[key] : undefined;
  }

  #at(key: string): string {
    return `${this.#path}.${key}`;
  }
}

function checkedDigest(value: unknown, path: string): string {
  const complaint = digestComplaint(value);
  if (complaint !== undefined) throw new Complaint(`${path}: ${complaint}`);
  return value as string;
}
