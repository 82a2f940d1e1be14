// Blobs and their uploads.

import { isDigest } from '../format/oci/digest.ts';
import { isRepositoryName } from '../format/oci/reference.ts';
import { type Answer, emptyAnswer } from './answer.ts';
import { answerRange } from './byte-range.ts';
import type { Context } from './context.ts';
import { checkedDigest, Refusal } from './refusal.ts';
import type { Upload } from './uploads.ts';

/** GET and HEAD: the blob, or the one range of it that is asked for. @throws Refusal BLOB_UNKNOWN, RANGE_INVALID */
export async function getBlob(context: Context, digest: string): Promise<Answer> {
  const { storage, message, method } = context;
  const size = await storage.blobSize(context.repository, digest);
  if (size === undefined) throw new Refusal('BLOB_UNKNOWN', `no blob ${digest} in ${context.repository}`);
  const etag = `"${digest}"`;
  const headers = {
    'accept-ranges': 'bytes',
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    etag,
  };
  const isOther = message.headers['if-range'] !== undefined && message.headers['if-range'] !== etag;
  const wanted = answerRange(isOther ? undefined : message.headers.range, size);
  if (wanted.kind === 'unsatisfiable') {
    throw new Refusal('RANGE_INVALID', `the blob has ${size} bytes`, { 'content-range': `bytes */${size}` });
  }
  const part = wanted.kind === 'part' ? wanted : { offset: 0, size };
  const contentRange =
    wanted.kind === 'part' ? { 'content-range': `bytes ${part.offset}-${part.offset + part.size - 1}/${size}` } : {};
  return {
    status: wanted.kind === 'part' ? 206 : 200,
    headers: { ...headers, ...contentRange, 'content-length': String(part.size) },
    ...(method === 'HEAD' ? {} : { body: { size: part.size, open: () => storage.readContent(digest, part) } }),
  };
}

/** Takes the blob out of the repository; its content stays, another may have it. @throws Refusal BLOB_UNKNOWN */
export async function deleteBlob(context: Context, digest: string): Promise<Answer> {
  const was = await context.storage.unlinkBlob(context.repository, digest);
  if (!was) throw new Refusal('BLOB_UNKNOWN', `no blob ${digest} in ${context.repository}`);
  return emptyAnswer(202);
}

/** POST: a session; with `mount` a blob of another repository; with `digest` the whole blob in the body. */
export async function beginUpload(context: Context): Promise<Answer> {
  const { storage, uploads, query, repository } = context;
  const mount = query.get('mount');
  const from = query.get('from');
  if (
    isDigest(mount) &&
    from !== null &&
    isRepositoryName(from) &&
    (await storage.blobSize(from, mount)) !== undefined
  ) {
    await storage.linkBlob(repository, mount);
    return created(repository, mount);
  }
  const digest = query.has('digest') ? checkedDigest(query.get('digest')) : undefined;
  const upload = await uploads.begin(repository);
  if (digest === undefined) return accepted(upload);
  try {
    return await finish(context, upload, digest);
  } catch (error) {
    // The client was never told of this session.
    await uploads.cancel(upload).catch(() => {});
    throw error;
  }
}

/** PATCH: the next chunk, or all of a stream whose length is not known. */
export async function appendUpload(context: Context, id: string): Promise<Answer> {
  const upload = context.uploads.find(context.repository, id);
  checkChunk(context, upload);
  await context.uploads.append(upload, context.message);
  return accepted(upload);
}

/** PUT: the last chunk, if any, and the digest. */
export async function finishUpload(context: Context, id: string): Promise<Answer> {
  const upload = context.uploads.find(context.repository, id);
  checkChunk(context, upload);
  return await finish(context, upload, checkedDigest(context.query.get('digest')));
}

/** GET: how far the upload is. @throws Refusal BLOB_UPLOAD_UNKNOWN */
export async function uploadStatus(context: Context, id: string): Promise<Answer> {
  const upload = context.uploads.find(context.repository, id);
  await context.uploads.settled(upload);
  return emptyAnswer(204, sessionHeaders(upload));
}

/** DELETE. @throws Refusal BLOB_UPLOAD_UNKNOWN */
export async function cancelUpload(context: Context, id: string): Promise<Answer> {
  await context.uploads.cancel(context.uploads.find(context.repository, id));
  return emptyAnswer(204);
}

async function finish(context: Context, upload: Upload, digest: string): Promise<Answer> {
  const { uploads, message, repository } = context;
  // A body that breaks off leaves the session, so that the client can ask how far it came.
  await uploads.append(upload, message);
  await uploads.finish(upload, digest);
  return created(repository, digest);
}

/** A chunk must continue where the last one ended, and be as long as it says. */
function checkChunk({ message }: Context, upload: Upload): void {
  const header = message.headers['content-range'];
  if (header === undefined) return;
  const match = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/.*)?$/.exec(header);
  if (!match || Number(match[1]) !== upload.size || Number(match[2]) < Number(match[1])) {
    throw new Refusal('RANGE_INVALID', `the upload has ${upload.size} bytes`, sessionHeaders(upload));
  }
  const length = message.headers['content-length'];
  const size = Number(match[2]) - Number(match[1]) + 1;
  if (length !== undefined && Number(length) !== size) {
    throw new Refusal('BLOB_UPLOAD_INVALID', `the range has ${size} bytes, the body ${length}`);
  }
}

function created(repository: string, digest: string): Answer {
  return emptyAnswer(201, { location: `/v2/${repository}/blobs/${digest}`, 'docker-content-digest': digest });
}

function accepted(upload: Upload): Answer {
  return emptyAnswer(202, sessionHeaders(upload));
}

function sessionHeaders(upload: Upload): Record<string, string> {
  return {
    location: `/v2/${upload.repository}/blobs/uploads/${upload.id}`,
    'docker-upload-uuid': upload.id,
    // Inclusive; nothing and one byte look the same, by old custom.
    range: `0-${Math.max(0, upload.size - 1)}`,
  };
}
