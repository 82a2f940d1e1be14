// The native FUSE session, asked over a socket: what it says of every inode of real bootstraps is what the TypeScript
// reader says; reads of what is cached, and of what is not; nonsense.
import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bytesToString, stringToBytes } from '../../../src/base/bytes.ts';
import { viewOf } from '../../../src/format/record.ts';
import { Bootstrap } from '../../../src/image/bootstrap-reader.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../../src/image/tree.ts';
import { walk } from '../../../src/image/walk.ts';
import { type FuseDevice, type FuseMiss, FuseSession } from '../../../src/native/fuse.ts';
import {
  attribute,
  attributeHead,
  direntHead,
  entryHead,
  FuseClient,
  getxattrIn,
  initIn,
  initOut,
  interruptIn,
  readIn,
} from '../../support/fuse-client.ts';
import { addon } from '../../support/requires.ts';
import { temporaryDir } from '../../support/temporary.ts';
import { until } from '../../support/until.ts';

const needs = addon();
const SEEDS = 'fixtures/fuzz/bootstrap';
const { ENOSYS, EIO, ENODATA, ERANGE, ENOTDIR, EPROTO, ENOSPC } = constants.errno;
const YEAR_SEC = 365 * 86_400;

/** A session over `bytes`, and one who asks it. Devices are sparse files; all chunks of one block are `ready` or none. */
class Place implements AsyncDisposable {
  readonly bootstrap: Bootstrap;
  readonly client = new FuseClient();
  readonly misses: FuseMiss[] = [];
  readonly session: FuseSession;
  readonly ended: Promise<void>;
  readonly maps: number[] = [];
  readonly #scratch = temporaryDir('fuse');
  readonly #fds: number[] = [];
  onMiss: (miss: FuseMiss) => void = (miss) => this.misses.push(miss);

  constructor(
    bytes: Uint8Array,
    options: { ready?: boolean; negotiated?: { minor: number; flags: number }; touchesMax?: number } = {},
  ) {
    this.bootstrap = Bootstrap.parse(bytes);
    let onEnd: () => void = () => undefined;
    this.ended = new Promise((resolve) => {
      onEnd = resolve;
    });
    this.session = FuseSession.start({
      bootstrap: bytes,
      devices: this.bootstrap.blobs.map((blob) => this.#device(blob, options.ready === true)),
      descriptors: [this.client.sessionEnd],
      threads: 2,
      touchesMax: options.touchesMax ?? 100,
      negotiated: options.negotiated,
      onMiss: (miss) => this.onMiss(miss),
      onEnd,
    });
  }

  /** Chunks of a block each: what is asked here are addresses, not the chunks of a blob. */
  #device(blob: { blobIndex: number; uncompressedSize: number; chunkCount: number }, ready: boolean): FuseDevice {
    const open = (name: string) => {
      const fd = openSync(join(this.#scratch.path, `${blob.blobIndex}.${name}`), 'w+');
      this.#fds.push(fd);
      return fd;
    };
    const size = blob.uncompressedSize;
    const blocks = Math.max(size / 4096, blob.chunkCount);
    const dataFd = open('data');
    ftruncateSync(dataFd, size);
    for (let at = 0; at < size; at += 4096) writeSync(dataFd, block(at), 0, 4096, at);
    const mapFd = open('map');
    this.maps.push(mapFd);
    ftruncateSync(mapFd, 4096 + Math.ceil(blocks / 8));
    if (ready) writeSync(mapFd, Buffer.alloc(Math.ceil(blocks / 8), 0xff), 0, Math.ceil(blocks / 8), 4096);
    const starts = BigUint64Array.from({ length: blocks }, (_, index) => BigInt(index * 4096));
    return { dataFd, mapFd, readyAt: 4096, size, starts, sizes: new Uint32Array(blocks).fill(4096) };
  }

  nodeOf(nid: number): number {
    return nid === this.bootstrap.rootNid ? 1 : nid + 1;
  }

  async lookup(
    directory: number,
    name: string,
  ): Promise<{ error: number; node?: number; entrySec?: number; ino?: number }> {
    const reply = await this.client.ask('lookup', this.nodeOf(directory), Buffer.from(`${name}\0`, 'latin1'));
    if (reply.error !== 0) return { error: reply.error };
    const view = viewOf(reply.payload);
    const { node, entrySec } = entryHead.read(view, 0);
    return { error: 0, node, entrySec, ino: attribute.read(view, entryHead.size).ino };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session.stop();
    this.client.hangUp();
    this.client[Symbol.dispose]();
    for (const fd of this.#fds) closeSync(fd);
    this.#scratch[Symbol.dispose]();
  }
}

/** Every block of a device says where it is. */
function block(at: number): Buffer {
  return Buffer.alloc(4096, `block ${at};`);
}

function seed(name: string): Buffer {
  return readFileSync(join(SEEDS, name));
}

async function readdir(place: Place, nid: number, plus: boolean, size = 700) {
  const entries: { name: string; ino: number; type: number; node?: number }[] = [];
  for (let offset = 0; ; ) {
    const body = readIn.encode({ handle: 0, offset, size });
    const { error, payload } = await place.client.ask(plus ? 'readdirplus' : 'readdir', place.nodeOf(nid), body);
    assert.equal(error, 0);
    if (payload.length === 0) return entries;
    assert.ok(payload.length <= size);
    const head = plus ? entryHead.size + attribute.size : 0;
    for (let at = 0; at < payload.length; ) {
      const { ino, next, nameSize, type } = direntHead.read(viewOf(payload), at + head);
      const nameAt = at + head + direntHead.size;
      const name = bytesToString(payload.subarray(nameAt, nameAt + nameSize));
      const node = plus ? entryHead.read(viewOf(payload), at).node : undefined;
      entries.push({ name, ino, type, ...(node !== undefined && { node }) });
      offset = next;
      at = Math.ceil((nameAt + nameSize - at) / 8) * 8 + at;
    }
  }
}

async function xattrsOf(place: Place, nid: number): Promise<Map<string, Buffer>> {
  const node = place.nodeOf(nid);
  const list = await place.client.ask('listxattr', node, getxattrIn.encode({ size: 65_536 }));
  assert.equal(list.error, 0);
  const values = new Map<string, Buffer>();
  for (const name of list.payload.toString('latin1').split('\0').slice(0, -1)) {
    const body = (size: number) => Buffer.concat([getxattrIn.encode({ size }), Buffer.from(`${name}\0`, 'latin1')]);
    const { error, payload } = await place.client.ask('getxattr', node, body(65_536));
    assert.equal(error, 0);
    assert.equal((await place.client.ask('getxattr', node, body(0))).payload.readUInt32LE(), payload.length);
    if (payload.length > 1) assert.equal((await place.client.ask('getxattr', node, body(1))).error, ERANGE);
    values.set(name, Buffer.from(payload));
  }
  return values;
}

for (const name of readdirSync(SEEDS)) {
  test(`fuse session: says of every inode of ${name} what the reader says`, { ...needs }, async () => {
    await using place = new Place(seed(name));
    const { bootstrap } = place;
    let inodes = 0;
    for (const { inode, path } of walk(bootstrap)) {
      inodes++;
      const { error, payload } = await place.client.ask('getattr', place.nodeOf(inode.nid), Buffer.alloc(16));
      assert.equal(error, 0);
      assert.ok(attributeHead.read(viewOf(payload), 0).attributeSec > YEAR_SEC);
      const shown = attribute.read(viewOf(payload), attributeHead.size);
      const { nid, size, mode, nlink, uid, gid, rdev, mtimeSec: mtime, mtimeNsec } = inode;
      const times = { atime: mtime, mtime, ctime: mtime, atimeNsec: mtimeNsec, mtimeNsec, ctimeNsec: mtimeNsec };
      const blocks = Math.ceil(size / 4096) * 8;
      assert.deepEqual(shown, { ino: nid, size, blocks, ...times, mode, nlink, uid, gid, rdev, blockSize: 4096 });
      const xattrs = new Map(bootstrap.xattrs(nid).map((xattr) => [xattr.name, Buffer.from(xattr.value)]));
      assert.deepEqual(await xattrsOf(place, nid), xattrs);
      if ((mode & S_IFMT) === S_IFLNK) {
        const link = await place.client.ask('readlink', place.nodeOf(nid));
        assert.equal(bytesToString(link.payload), bootstrap.readlink(nid), path.join('/'));
      }
      if ((mode & S_IFMT) !== S_IFDIR) continue;
      const entries = bootstrap.readdir(nid);
      for (const plus of [false, true]) {
        const listed = await readdir(place, nid, plus);
        assert.deepEqual(
          listed.map((entry) => [entry.name, entry.ino]),
          entries.map((entry) => [entry.name, entry.nid]),
        );
        if (!plus) continue;
        for (const { name: entry, ino, node } of listed) {
          assert.equal(node, entry === '.' || entry === '..' ? 0 : place.nodeOf(ino));
        }
      }
      for (const entry of entries) {
        const found = await place.lookup(nid, entry.name);
        if (found.error === 0) assert.equal(found.ino, entry.name === '.' ? nid : entry.nid);
      }
    }
    assert.ok(inodes > 0);
    assert.equal(place.session.status().errors, 0);
  });
}

test('fuse session: INIT settles what both can, and older kernels are refused', { ...needs }, async () => {
  await using place = new Place(seed('everything'));
  const ask = async (major: number, minor: number, flags: number) => {
    const body = initIn.encode({ major, minor, readAhead: 131_072, flags, flags2: 0xffff_ffff });
    const { error, payload } = await place.client.ask('init', 0, body);
    return error === 0 ? initOut.read(viewOf(payload), 0) : error;
  };
  assert.equal(place.session.status().minor, 0);
  assert.equal(await ask(7, 12, 0), EPROTO);
  const later = await ask(8, 0, 0);
  assert.ok(typeof later === 'object' && later.major === 7);
  const settled = await ask(7, 45, 0xffff_ffff);
  assert.ok(typeof settled === 'object');
  assert.equal(settled.pages, 256);
  assert.equal(settled.readAhead, 131_072);
  const { minor, flags } = place.session.status();
  assert.equal(minor, settled.minor);
  assert.equal(flags % 2 ** 32, settled.flags);
  assert.equal(Math.floor(flags / 2 ** 32), settled.flags2);
  // The kernel was told that opening is needless.
  for (const opcode of ['open', 'opendir'] as const) {
    assert.equal((await place.client.ask(opcode, 1, Buffer.alloc(8))).error, ENOSYS);
  }
  const old = await ask(7, 31, 0);
  assert.ok(typeof old === 'object' && old.flags === 0 && old.flags2 === 0);
  assert.equal((await place.client.ask('open', 1, Buffer.alloc(8))).error, 0);
});

test('fuse session: names that are not there may be remembered as such', { ...needs }, async () => {
  await using place = new Place(seed('everything'));
  const none = await place.lookup(place.bootstrap.rootNid, 'nothing of the kind');
  assert.equal(none.error, 0);
  assert.equal(none.node, 0);
  assert.ok((none.entrySec ?? 0) > YEAR_SEC);
  assert.equal((await place.lookup(place.bootstrap.rootNid, 'x'.repeat(256))).error, constants.errno.ENAMETOOLONG);
  const { payload } = await place.client.ask('getxattr', 1, Buffer.concat([Buffer.alloc(8), Buffer.from('user.no\0')]));
  assert.equal(payload.length, 0);
});

/** A file of several chunks. */
function largestFile(bootstrap: Bootstrap) {
  const files = [...walk(bootstrap)].map(({ inode }) => inode).filter(({ mode }) => (mode & S_IFMT) === S_IFREG);
  const [largest] = files.sort((a, b) => b.size - a.size);
  assert.ok(largest && largest.size > 0);
  return largest;
}

/** What a file's bytes are when every block of a device says where it is. */
function expected(bootstrap: Bootstrap, nid: number, offset: number, size: number): Buffer {
  const pieces = bootstrap.extents(nid, offset, size).map((extent) => {
    const from = extent.deviceOffset % 4096;
    const blocks: Buffer[] = [];
    const end = extent.deviceOffset + extent.size;
    for (let at = extent.deviceOffset - from; at < end; at += 4096) blocks.push(block(at));
    return Buffer.concat(blocks).subarray(from, from + extent.size);
  });
  return Buffer.concat(pieces);
}

/** Touches as they were recorded, without their times. */
function touchesOf(place: Place) {
  let last = 0;
  return place.session.touches().touches.map(({ atMs, waitMs, ...touch }) => {
    assert.ok(atMs >= last, 'in order');
    last = atMs;
    return { ...touch, how: waitMs === undefined ? 'waits' : waitMs > 0 ? 'waited' : 'had' };
  });
}

function chunkTouches(bootstrap: Bootstrap, nid: number, how: string) {
  return bootstrap.chunkAddresses(nid).map(({ blobIndex: device, deviceOffset }, index) => {
    return { device, deviceOffset, nid, fileOffset: index * bootstrap.chunkSize, how };
  });
}

test('fuse session: cached bytes are read without JavaScript', { ...needs }, async () => {
  await using place = new Place(seed('everything'), { ready: true });
  const { nid, size } = largestFile(place.bootstrap);
  for (const [offset, length] of [
    [0, size],
    [0, size + 5000],
    [1, 1],
    [Math.floor(size / 2), 4097],
    [size - 1, 10],
    [size, 10],
    [size + 1, 10],
  ] as const) {
    const body = readIn.encode({ handle: 0, offset, size: length });
    const { error, payload } = await place.client.ask('read', place.nodeOf(nid), body);
    assert.equal(error, 0);
    assert.ok(payload.equals(expected(place.bootstrap, nid, offset, length)), `${length} bytes at ${offset}`);
  }
  assert.deepEqual(place.misses, []);
  const { reads, waits, parked } = place.session.status();
  assert.deepEqual({ reads, waits, parked }, { reads: 7, waits: 0, parked: 0 });
  assert.deepEqual(touchesOf(place), chunkTouches(place.bootstrap, nid, 'had'));
});

test('fuse session: first touches are kept once each, in order, up to a bound', { ...needs }, async () => {
  await using place = new Place(seed('everything'), { ready: true, touchesMax: 2 });
  const { nid, size } = largestFile(place.bootstrap);
  for (const at of [Math.floor((size - 1) / 4096) * 4096, 0, 4096, 0]) {
    const body = readIn.encode({ handle: 0, offset: at, size: 1 });
    assert.equal((await place.client.ask('read', place.nodeOf(nid), body)).error, 0);
  }
  const all = chunkTouches(place.bootstrap, nid, 'had');
  assert.ok(all.length > 2);
  assert.deepEqual(touchesOf(place), [all.at(-1), all[0]]);
  assert.equal(place.session.touches().cut, true);
});

test('fuse session: a read that must wait holds nobody up, and is answered when it may', { ...needs }, async () => {
  await using place = new Place(seed('everything'));
  const { nid, size } = largestFile(place.bootstrap);
  const node = place.nodeOf(nid);
  const arrived = new Promise<FuseMiss>((resolve) => {
    place.onMiss = resolve;
  });
  const waiting = place.client.send('read', node, readIn.encode({ handle: 0, offset: 1, size }));
  const miss = await arrived;
  assert.deepEqual({ ...miss, id: 0 }, { id: 0, nid, offset: 1, size: size - 1 });
  for (let i = 0; i < 5; i++) assert.equal((await place.client.ask('getattr', node)).error, 0);
  assert.equal(place.session.status().parked, 1);
  assert.deepEqual(touchesOf(place), chunkTouches(place.bootstrap, nid, 'waits'));
  for (const map of place.maps) writeSync(map, Buffer.alloc(4096, 0xff), 0, 4096, 4096);
  place.session.done(miss.id, 0);
  const reply = await place.client.receive();
  assert.equal(reply.unique, waiting);
  assert.ok(reply.payload.equals(expected(place.bootstrap, nid, 1, size)));
  place.session.done(miss.id, 0); // Known no more: nothing happens.
  assert.deepEqual(touchesOf(place), chunkTouches(place.bootstrap, nid, 'waited'));
  assert.equal(place.session.status().parked, 0);
});

for (const { name, errno, seen } of [
  { name: 'that failed ends with its errno', errno: ENOSPC, seen: ENOSPC },
  { name: 'said to be there that is not ends with EIO, not with zeros', errno: 0, seen: EIO },
]) {
  test(`fuse session: a fetch ${name}`, { ...needs }, async () => {
    await using place = new Place(seed('everything'));
    const { nid, size } = largestFile(place.bootstrap);
    place.onMiss = ({ id }) => place.session.done(id, errno);
    const { error, payload } = await place.client.ask(
      'read',
      place.nodeOf(nid),
      readIn.encode({ handle: 0, offset: 0, size }),
    );
    assert.deepEqual({ error, size: payload.length }, { error: seen, size: 0 });
  });
}

test('fuse session: a reader that is interrupted but lives on gets its bytes', { ...needs }, async () => {
  await using place = new Place(seed('everything'));
  const { nid } = largestFile(place.bootstrap);
  const arrived = new Promise<FuseMiss>((resolve) => {
    place.onMiss = resolve;
  });
  const unique = place.client.send('read', place.nodeOf(nid), readIn.encode({ handle: 0, offset: 0, size: 10 }));
  const { id } = await arrived;
  const { requests } = place.session.status();
  place.client.send('interrupt', 0, interruptIn.encode({ unique }));
  // Of two requests in one stream the session would read both as one; the device keeps them apart.
  await until('it is read', () => place.session.status().requests > requests);
  assert.equal((await place.client.ask('getattr', 1)).error, 0);
  assert.equal(place.session.status().parked, 1);
  place.session.done(id, EIO);
  assert.equal((await place.client.receive()).error, EIO);
});

test('fuse session: nonsense is answered, and nothing breaks', { ...needs }, async () => {
  await using place = new Place(seed('everything'), { ready: true });
  const { client } = place;
  const { nid } = largestFile(place.bootstrap);
  assert.equal((await client.ask('readlink', 1)).error, EIO);
  assert.equal((await client.ask('lookup', place.nodeOf(nid), Buffer.from('x\0'))).error, ENOTDIR);
  assert.equal((await client.ask('readdir', place.nodeOf(nid), Buffer.alloc(40, 1))).error, ENOTDIR);
  assert.equal((await client.ask('lookup', 1, Buffer.from('no end'))).error, EIO);
  for (const node of [0, 2, 1e6, Number.MAX_SAFE_INTEGER]) assert.equal((await client.ask('getattr', node)).error, EIO);
  for (const opcode of ['read', 'readdir', 'readdirplus', 'getxattr', 'listxattr'] as const) {
    assert.equal((await client.ask(opcode, 1, Buffer.alloc(3))).error, EIO);
  }
  const huge = readIn.encode({ handle: 0, offset: 0, size: 0xffff_ffff });
  assert.equal((await client.ask('read', place.nodeOf(nid), huge)).error, EIO);
  const far = readIn.encode({ handle: 0, offset: Number.MAX_SAFE_INTEGER, size: 100 });
  assert.equal((await client.ask('readdir', 1, far)).payload.length, 0);
  for (const opcode of [999, 46, 34]) assert.equal((await client.ask(opcode, 1)).error, ENOSYS);
  const none = Buffer.concat([getxattrIn.encode({ size: 100 }), stringToBytes('user.none\0')]);
  assert.equal((await client.ask('getxattr', 1, none)).error, ENODATA);
  client.sendRaw(Buffer.alloc(7));
  assert.equal((await client.receive()).error, EIO);
});

test('fuse session: what the kernel lets go of ends it; a successor needs what was settled', { ...needs }, async () => {
  await using place = new Place(seed('everything'), { negotiated: { minor: 41, flags: 2 ** 17 } });
  assert.equal(place.session.status().minor, 41);
  assert.equal((await place.client.ask('open', 1, Buffer.alloc(8))).error, ENOSYS);
  assert.equal((await place.client.ask('opendir', 1, Buffer.alloc(8))).error, 0);
  place.client.hangUp();
  await place.ended;
});

test('fuse session: a bootstrap or a map that is too short is refused at the start', { ...needs }, () => {
  const options = { descriptors: [0], threads: 1, touchesMax: 0, onMiss: () => undefined, onEnd: () => undefined };
  assert.throws(() => FuseSession.start({ ...options, bootstrap: Buffer.alloc(9000), devices: [] }), { code: 'IO' });
  const bytes = seed('everything');
  const device = { dataFd: 0, mapFd: openSync('/dev/null', 'r'), readyAt: 4096, size: 4096 };
  const chunks = { starts: BigUint64Array.of(0n), sizes: Uint32Array.of(4096) };
  const devices = Bootstrap.parse(bytes).blobs.map(() => ({ ...device, ...chunks }));
  assert.throws(() => FuseSession.start({ ...options, bootstrap: bytes, devices }), { code: 'IO' });
  closeSync(device.mapFd);
});
