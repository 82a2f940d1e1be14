// What a registry is shown to know who asks.

export interface Credentials {
  /** A user name and password when left out. `identity-token`: traded for tokens; `bearer-token`: sent as it is. */
  readonly kind?: 'identity-token' | 'bearer-token';
  /** Empty beside a token. */
  readonly user: string;
  /** The password or token. */
  readonly password: string;
  /** Where they are from: a file's path, a helper's name. */
  readonly source: string;
}
