// Bootstraps: everything the reader can be asked, and the checker.
import { NaiadError } from '../../../src/base/errors.ts';
import { hasFeature } from '../../../src/image/blob-reader.ts';
import { Bootstrap, type InodeView } from '../../../src/image/bootstrap-reader.ts';
import { checkBootstrap } from '../../../src/image/check.ts';
import { type BlobRecords, recordsByBlob, tableFromRecords } from '../../../src/image/chunk-records.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../../src/image/tree.ts';
import { walk } from '../../../src/image/walk.ts';
import type { FuzzTarget } from '../target.ts';

/** What readers ask of any inode they come across. */
function askAll(bootstrap: Bootstrap, inode: InodeView, path: readonly string[]): void {
  bootstrap.xattrs(inode.nid);
  const type = inode.mode & S_IFMT;
  if (type === S_IFLNK) bootstrap.readlink(inode.nid);
  if (type === S_IFREG) {
    bootstrap.extents(inode.nid, 0, inode.size);
    bootstrap.extents(inode.nid, Math.floor(inode.size / 2), 5000);
    bootstrap.chunkAddresses(inode.nid);
  }
  if (type === S_IFDIR) {
    for (const { name } of bootstrap.readdir(inode.nid)) bootstrap.lookup(inode.nid, name);
    bootstrap.lookup(inode.nid, '\xff');
  }
  if (path.length < 8) bootstrap.resolve(path);
}

export const bootstrapTarget: FuzzTarget = {
  name: 'bootstrap',
  run(input) {
    const { findings } = checkBootstrap(input);
    const errors = findings.filter(({ severity }) => severity === 'error');
    try {
      const bootstrap = Bootstrap.parse(input);
      bootstrap.prefetchNids();
      const records = recordsByBlob(bootstrap);
      for (const blob of bootstrap.blobs) {
        if (hasFeature(blob, 'batch')) continue; // Its table is in the blob.
        tableFromRecords(bootstrap, blob.blobIndex, records[blob.blobIndex] as BlobRecords);
      }
      for (const { path, inode } of walk(bootstrap)) askAll(bootstrap, inode, path);
    } catch (error) {
      // What cannot be read, check must have found as well.
      if (errors.length === 0 && error instanceof NaiadError && error.code !== 'BUG') {
        throw new Error(`check accepts what reading refuses: ${error.message}`);
      }
      throw error;
    }
    if (errors[0]) throw new NaiadError(errors[0].code, errors[0].message);
  },
  hotspots: (input) => [
    { offset: 1024, size: 384 },
    { offset: 1408, size: 128 },
    { offset: 4096, size: 512 },
    // Inodes and directories, wherever the super block says that metadata starts.
    { offset: input.length >= 1068 ? input.readUInt32LE(1064) * 4096 : 8192, size: 4096 },
    { offset: Math.max(0, input.length - 4096), size: Math.min(4096, input.length) },
  ],
};
