// Asks a FUSE session as the kernel does, over a socket in place of /dev/fuse: no mount, no root.
import { closeSync, read, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { i53, record, reserved, u16, u32, u53, u64, viewOf } from '../../src/format/record.ts';
import { socketPair } from '../../src/native/descriptors.ts';

export const OPCODES = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  readlink: 5,
  open: 14,
  read: 15,
  statfs: 17,
  release: 18,
  getxattr: 22,
  listxattr: 23,
  init: 26,
  opendir: 27,
  readdir: 28,
  access: 34,
  interrupt: 36,
  readdirplus: 44,
  lseek: 46,
} as const;
export type Opcode = keyof typeof OPCODES;

export const inHeader = record('fuse.in_header', 40, {
  length: u32(0, 'bytes of the request'),
  opcode: u32(4, 'what is asked'),
  unique: u64(8, 'number of the request'),
  node: u53(16, 'of what'),
  reserved: reserved(24, 8),
  pid: u32(32, 'who asks'),
  reserved2: reserved(36, 4),
});
const outHeader = record('fuse.out_header', 16, {
  length: u32(0, 'bytes of the reply'),
  error: u32(4, 'negative errno'),
  unique: u64(8, 'number of the request'),
});
export const initIn = record('fuse.init_in', 20, {
  major: u32(0, '7'),
  minor: u32(4, 'version'),
  readAhead: u32(8, 'bytes'),
  flags: u32(12, 'what the kernel can'),
  flags2: u32(16, 'the same, beyond 32 bits'),
});
export const initOut = record('fuse.init_out', 64, {
  major: u32(0, '7'),
  minor: u32(4, 'version'),
  readAhead: u32(8, 'bytes'),
  flags: u32(12, 'what both can'),
  background: u16(16, 'requests'),
  congestion: u16(18, 'requests'),
  writeSize: u32(20, 'bytes'),
  timeGranularity: u32(24, 'nanoseconds'),
  pages: u16(28, 'of a request'),
  alignment: u16(30, 'of mappings'),
  flags2: u32(32, 'the same, beyond 32 bits'),
  reserved: reserved(36, 28),
});
export const attribute = record('fuse.attr', 88, {
  ino: u53(0, 'inode'),
  size: u53(8, 'bytes'),
  blocks: u53(16, 'of 512 bytes'),
  atime: i53(24, 'seconds'),
  mtime: i53(32, 'seconds'),
  ctime: i53(40, 'seconds'),
  atimeNsec: u32(48, 'nanoseconds'),
  mtimeNsec: u32(52, 'nanoseconds'),
  ctimeNsec: u32(56, 'nanoseconds'),
  mode: u32(60, 'type and permissions'),
  nlink: u32(64, 'names'),
  uid: u32(68, 'owner'),
  gid: u32(72, 'group'),
  rdev: u32(76, 'device'),
  blockSize: u32(80, 'bytes'),
  reserved: reserved(84, 4),
});
/** An entry's answer starts with this; its attributes follow. */
export const entryHead = record('fuse.entry_out', 40, {
  node: u53(0, 'number for later requests'),
  generation: u53(8, 'zero'),
  entrySec: u53(16, 'how long the name may be believed'),
  attributeSec: u53(24, 'how long the attributes may be believed'),
  reserved: reserved(32, 8),
});
export const attributeHead = record('fuse.attr_out', 16, {
  attributeSec: u53(0, 'how long they may be believed'),
  reserved: reserved(8, 8),
});
export const readIn = record('fuse.read_in', 40, {
  handle: u53(0, 'of the open file'),
  offset: u53(8, 'where to begin'),
  size: u32(16, 'bytes at most'),
  reserved: reserved(20, 20),
});
export const getxattrIn = record('fuse.getxattr_in', 8, {
  size: u32(0, 'bytes at most; 0 asks for the size'),
  reserved: reserved(4, 4),
});
export const direntHead = record('fuse.dirent', 24, {
  ino: u53(0, 'inode'),
  next: u53(8, 'where to go on'),
  nameSize: u32(16, 'bytes'),
  type: u32(20, 'of the entry'),
});
export const interruptIn = record('fuse.interrupt_in', 8, { unique: u64(0, 'request') });

export interface FuseReply {
  /** Positive errno. */
  readonly error: number;
  readonly payload: Buffer;
}

const ROOM = 2 ** 20 + 4096;

export class FuseClient implements Disposable {
  /** The end that the session gets; closed with this. */
  readonly sessionEnd: number;
  readonly #own: number;
  #unique = 0n;
  #hungUp = false;

  constructor() {
    [this.#own, this.sessionEnd] = socketPair();
  }

  /** Sends a request and returns its number. */
  send(opcode: Opcode | number, node: number, body: Uint8Array = Buffer.alloc(0), pid = process.pid): bigint {
    this.#unique += 2n;
    const number = typeof opcode === 'number' ? opcode : OPCODES[opcode];
    const length = inHeader.size + body.length;
    const header = inHeader.encode({ length, opcode: number, unique: this.#unique, node, pid });
    this.sendRaw(Buffer.concat([header, body]));
    return this.#unique;
  }

  sendRaw(request: Uint8Array): void {
    writeSync(this.#own, request);
  }

  /** The next reply. */
  async receive(): Promise<FuseReply & { readonly unique: bigint }> {
    const buffer = Buffer.alloc(ROOM);
    let size = 0;
    let wanted = outHeader.size;
    while (size < wanted) {
      const { bytesRead } = await promisify(read)(this.#own, buffer, size, wanted - size, null);
      if (bytesRead === 0) throw new Error('the session closed its end');
      size += bytesRead;
      if (size === outHeader.size) wanted = outHeader.read(viewOf(buffer), 0).length;
    }
    const { error, unique } = outHeader.read(viewOf(buffer), 0);
    return { unique, error: Math.abs(error | 0), payload: buffer.subarray(outHeader.size, size) };
  }

  /** One question and its answer. */
  async ask(opcode: Opcode | number, node: number, body?: Uint8Array): Promise<FuseReply> {
    const asked = this.send(opcode, node, body);
    const reply = await this.receive();
    if (reply.unique !== asked) throw new Error(`asked ${asked}, answered ${reply.unique}`);
    return reply;
  }

  /** Ends what the session sees, as an unmount does. */
  hangUp(): void {
    if (!this.#hungUp) closeSync(this.#own);
    this.#hungUp = true;
  }

  [Symbol.dispose](): void {
    closeSync(this.sessionEnd);
  }
}
