// What the registry keeps, as files below its root. Every path is made here, from names that were checked against their
// grammar; nothing of a request reaches the file system otherwise.
//
//   blobs/sha256/<hex>                                contents of blobs and manifests, each once
//   repositories/<name>/_blobs/<hex>                  empty: the repository has this blob
//   repositories/<name>/_manifests/<hex>              media type of a manifest the repository has
//   repositories/<name>/_tags/<tag>                   digest
//   repositories/<name>/_referrers/<hex>/<hex>        descriptor of a manifest whose subject is the first
//   .naiad-…/                                         unfinished files of a running server
//
// Parts of a repository's name never begin with an underscore, so the two cannot meet. A file appears by rename, the
// contents of a blob before the entry that makes it visible.
import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../base/assert.ts';
import { digestHex, isDigest } from '../format/oci/digest.ts';
import { isRepositoryName, isTag } from '../format/oci/reference.ts';

export class Storage {
  readonly #root: string;
  readonly #spoolPath: string;

  /** `spoolPath` is a directory of its own on the same file system. */
  constructor(root: string, spoolPath: string) {
    this.#root = root;
    this.#spoolPath = spoolPath;
  }

  /** A path for an unfinished file. */
  temporaryPath(): string {
    return join(this.#spoolPath, randomBytes(12).toString('hex'));
  }

  #contentPath(digest: string): string {
    assert(isDigest(digest), 'a digest was checked before it names a file');
    return join(this.#root, 'blobs', 'sha256', digestHex(digest));
  }

  #repositoryPath(repository: string, ...rest: string[]): string {
    assert(isRepositoryName(repository), 'a repository name was checked before it names a directory');
    return join(this.#root, 'repositories', ...repository.split('/'), ...rest);
  }

  #tagPath(repository: string, tag: string): string {
    assert(isTag(tag), 'a tag was checked before it names a file');
    return this.#repositoryPath(repository, '_tags', tag);
  }

  #linkPath(repository: string, kind: '_blobs' | '_manifests', digest: string): string {
    assert(isDigest(digest), 'a digest was checked before it names a file');
    return this.#repositoryPath(repository, kind, digestHex(digest));
  }

  async hasRepository(repository: string): Promise<boolean> {
    const names = await namesIn(this.#repositoryPath(repository));
    return names.some((name) => name.startsWith('_'));
  }

  /** Size of a blob the repository has; undefined when it has none of this digest. */
  async blobSize(repository: string, digest: string): Promise<number | undefined> {
    const link = await sizeOf(this.#linkPath(repository, '_blobs', digest));
    return link === undefined ? undefined : await sizeOf(this.#contentPath(digest));
  }

  /** A part of a stored blob or manifest, as a stream that owns its file. */
  readContent(digest: string, range: { readonly offset: number; readonly size: number }): AsyncIterable<Uint8Array> {
    if (range.size === 0) return emptyStream();
    return createReadStream(this.#contentPath(digest), {
      start: range.offset,
      end: range.offset + range.size - 1,
      highWaterMark: 256 * 1024,
    });
  }

  /** Publishes a finished file, whose digest was checked, as a blob of the repository. The file is gone afterwards. */
  async publishBlob(repository: string, digest: string, temporaryPath: string): Promise<void> {
    await this.#publishContent(digest, temporaryPath);
    await this.linkBlob(repository, digest);
  }

  async #publishContent(digest: string, temporaryPath: string): Promise<void> {
    const path = this.#contentPath(digest);
    await mkdir(join(path, '..'), { recursive: true });
    // The same bytes over the same bytes: readers of the old file keep it.
    await rename(temporaryPath, path);
  }

  /** Makes stored contents visible in a repository. */
  async linkBlob(repository: string, digest: string): Promise<void> {
    await this.#writeFile(this.#linkPath(repository, '_blobs', digest), '');
  }

  async unlinkBlob(repository: string, digest: string): Promise<boolean> {
    return await removeFile(this.#linkPath(repository, '_blobs', digest));
  }

  async manifestType(repository: string, digest: string): Promise<string | undefined> {
    return await readText(this.#linkPath(repository, '_manifests', digest));
  }

  async readManifest(digest: string): Promise<Buffer | undefined> {
    return await readFile(this.#contentPath(digest)).catch(ifMissing(undefined));
  }

  async putManifest(repository: string, digest: string, mediaType: string, bytes: Uint8Array): Promise<void> {
    const path = this.temporaryPath();
    await writeDurably(path, bytes);
    await this.#publishContent(digest, path);
    await this.#writeFile(this.#linkPath(repository, '_manifests', digest), mediaType);
  }

  /** Takes a manifest out of the repository, with the tags that name it. False when it was not there. */
  async deleteManifest(repository: string, digest: string): Promise<boolean> {
    if ((await this.manifestType(repository, digest)) === undefined) return false;
    for (const tag of await this.tags(repository)) {
      if ((await this.resolveTag(repository, tag)) === digest) await this.deleteTag(repository, tag);
    }
    return await removeFile(this.#linkPath(repository, '_manifests', digest));
  }

  async resolveTag(repository: string, tag: string): Promise<string | undefined> {
    const digest = await readText(this.#tagPath(repository, tag));
    return isDigest(digest) ? digest : undefined;
  }

  async putTag(repository: string, tag: string, digest: string): Promise<void> {
    await this.#writeFile(this.#tagPath(repository, tag), digest);
  }

  async deleteTag(repository: string, tag: string): Promise<boolean> {
    return await removeFile(this.#tagPath(repository, tag));
  }

  /** All tags, in byte order. */
  async tags(repository: string): Promise<string[]> {
    return (await namesIn(this.#repositoryPath(repository, '_tags'))).filter(isTag).sort();
  }

  async putReferrer(repository: string, subject: string, digest: string, descriptor: object): Promise<void> {
    const path = this.#repositoryPath(repository, '_referrers', digestHex(subject), digestHex(digest));
    await this.#writeFile(path, JSON.stringify(descriptor));
  }

  async deleteReferrer(repository: string, subject: string, digest: string): Promise<void> {
    await removeFile(this.#repositoryPath(repository, '_referrers', digestHex(subject), digestHex(digest)));
  }

  /** Descriptors of the manifests whose subject this is, in the order of their digests. */
  async referrers(repository: string, subject: string): Promise<object[]> {
    const directory = this.#repositoryPath(repository, '_referrers', digestHex(subject));
    const texts = await Promise.all((await namesIn(directory)).sort().map((name) => readText(join(directory, name))));
    return texts.filter((text) => text !== undefined).map((text) => JSON.parse(text));
  }

  async #writeFile(path: string, text: string): Promise<void> {
    const temporary = this.temporaryPath();
    await writeDurably(temporary, Buffer.from(text));
    await mkdir(join(path, '..'), { recursive: true });
    await rename(temporary, path);
  }
}

async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file: FileHandle = await open(path, 'wx');
  try {
    await file.writeFile(bytes);
    if (bytes.length > 0) await file.datasync();
  } finally {
    await file.close();
  }
}

async function* emptyStream(): AsyncGenerator<Uint8Array, void, void> {}

/** For `catch`: `value` when the file is missing; other failures go on. */
function ifMissing<T>(value: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return value;
    throw error;
  };
}

async function sizeOf(path: string): Promise<number | undefined> {
  const status = await stat(path).catch(ifMissing(undefined));
  return status?.size;
}

async function readText(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').catch(ifMissing(undefined));
}

async function namesIn(path: string): Promise<string[]> {
  return await readdir(path).catch(ifMissing([]));
}

async function removeFile(path: string): Promise<boolean> {
  if ((await sizeOf(path)) === undefined) return false;
  await rm(path, { force: true });
  return true;
}
