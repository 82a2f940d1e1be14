// The native libraries behind the codecs. They are loaded by `require`, each when it is first used: an `import` would
// search their generated loaders for exports first, which costs every thread 35 ms (measured), as much as all else it loads.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

function lazily<T>(load: () => T): () => T {
  let loaded: T | undefined;
  return () => {
    loaded ??= load();
    return loaded;
  };
}

export const blakeLibrary = lazily(() => require('@napi-rs/blake-hash') as typeof import('@napi-rs/blake-hash'));
export const crcLibrary = lazily(() => require('@node-rs/crc32') as typeof import('@node-rs/crc32'));
export const lz4Library = lazily(() => require('lz4-napi') as typeof import('lz4-napi'));
export const zstdLibrary = lazily(() => require('zstd-napi') as typeof import('zstd-napi'));
/** zstd's own calls, for streams and for compressing without an allocation a chunk. */
export const zstdBinding = lazily(() => require('zstd-napi/binding.js') as typeof import('zstd-napi/binding.js'));
