// What a route is given.
import type { IncomingMessage } from 'node:http';
import type { Storage } from './storage.ts';
import type { Uploads } from './uploads.ts';

export interface Context {
  readonly storage: Storage;
  readonly uploads: Uploads;
  readonly message: IncomingMessage;
  readonly method: string;
  readonly query: URLSearchParams;
  readonly repository: string;
}
