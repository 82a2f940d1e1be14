// Archives by tar programs, against what GNU tar makes of them: the listing of the archive must be that of the extracted
// tree, which the directory reader lists. So each judges the other as well.
import assert from 'node:assert/strict';
import { createReadStream, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readDirectory } from '../../../src/tar/directory.ts';
import { readLayerTar } from '../../../src/tar/read-layer.ts';
import { type Listing, listing } from '../../support/layer-entries.ts';
import { addon, every, program, root } from '../../support/requires.ts';
import { runTool } from '../../support/run-tool.ts';
import { temporaryDir } from '../../support/temporary.ts';

const requirement = every(root(), addon(), program('tar'), program('setfattr'), program('setfacl'));
let scratch: ReturnType<typeof temporaryDir>;

/** A file of every kind. */
const MAKE_TREE = `
mkdir -p plain empty sticky 'sp ace' deep/$(printf 'd%.0s' {1..90})/$(printf 'e%.0s' {1..90})/$(printf 'f%.0s' {1..90})
chmod 1777 sticky
echo hello > plain/file; ln plain/file plain/link; ln plain/file 'sp ace/link'
ln -s file plain/symlink; ln -s /$(printf 't%.0s' {1..150}) plain/long-symlink
echo long > "$(echo deep/d*/e*/f*)/$(printf 'n%.0s' {1..200})"
cut=deep/$(printf 'c%.0s' {1..92}) # With ./ before and / behind it as much as a header has room for.
mkdir $cut; echo cut > $cut/$(printf 'n%.0s' {1..200}); : > $cut/$(printf 'o%.0s' {1..200})
printf x > plain/one; : > plain/none; head -c 512 /dev/zero > plain/block; head -c 1234567 /dev/urandom > plain/large
printf 'latin' > plain/$'n\\xe4me-\\xff'; printf nl > plain/$'new\\nline'
chmod 4711 plain/one; chmod 2750 plain; chmod 000 plain/none; chown -h 1234:5678 plain/symlink plain/one
mknod plain/null c 1 3; mknod plain/disk b 259 70000; mkfifo plain/fifo
truncate -s 5M plain/hole
dd if=/dev/urandom of=plain/sparse bs=64k count=1 seek=3 conv=notrunc status=none; truncate -s 3M plain/sparse
dd if=/dev/urandom of=plain/sparse bs=4k count=2 seek=100 conv=notrunc status=none
for i in $(seq 1 60); do dd if=/dev/urandom of=plain/holey bs=4k count=1 seek=$((i * 3)) conv=notrunc status=none; done
touch -d '1960-02-03 04:05:06.123456789 UTC' plain/one
touch -d '2150-02-03 04:05:06.999999999 UTC' plain/block
touch -h -d '2001-02-03 04:05:06.5 UTC' plain/symlink
`;

const ADD_XATTRS = `
setfattr -n user.text -v value plain/one; setfattr -n user.binary -v 0x0a3d00ff0a plain/one
setfattr -n trusted.overlay.opaque -v y plain; setfattr -n user.empty plain/block
setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 plain/file
setfacl -m u:1000:rwx,g:7:r plain/one; setfacl -d -m u:1000:rx plain
`;

before(async () => {
  if (requirement.skip !== false) return;
  scratch = temporaryDir('tars');
  const tree = join(scratch.path, 'tree');
  mkdirSync(tree);
  await runTool('bash', ['-euc', MAKE_TREE], { cwd: tree });
});

after(() => scratch?.[Symbol.dispose]());

async function assertSame(archive: string, extracted: string): Promise<void> {
  const expected = await listing(readDirectory(extracted));
  const actual = await listing(readLayerTar(createReadStream(archive)));
  // What an archive does not describe, extraction makes up.
  for (const path of expected.keys()) if (isMadeUp(path, actual)) expected.delete(path);
  assert.deepEqual(Object.fromEntries(actual), Object.fromEntries(expected));
}

function isMadeUp(path: string, archive: Listing): boolean {
  return !archive.has(path) && (path === '' || [...archive.keys()].some((other) => other.startsWith(`${path}/`)));
}

async function extract(archive: string, options: readonly string[] = []): Promise<string> {
  const directory = `${archive}.extracted`;
  mkdirSync(directory);
  await runTool('tar', ['-C', directory, '--numeric-owner', '--delay-directory-restore', '-xpf', archive, ...options]);
  return directory;
}

const XATTRS = ['--xattrs', '--xattrs-include=*'];

for (const [name, flags] of [
  ['GNU', ['--format=gnu']],
  ['GNU, sparse', ['--format=gnu', '--sparse']],
  ['old GNU, sparse', ['--format=oldgnu', '--sparse']],
  ['pax', ['--format=pax']],
  ['pax, sparse 0.0', ['--format=pax', '--sparse', '--sparse-version=0.0']],
  ['pax, sparse 0.1', ['--format=pax', '--sparse', '--sparse-version=0.1']],
  ['pax, sparse 1.0', ['--format=pax', '--sparse', '--sparse-version=1.0']],
  ['pax, absolute names', ['--format=pax', '--absolute-names', '--transform=s,^./,/,']],
] as const) {
  test(`GNU tar writes ${name}`, requirement, async () => {
    const archive = join(scratch.path, `${name.replaceAll(/\W+/g, '-')}.tar`);
    await runTool('tar', ['-C', join(scratch.path, 'tree'), '-cf', archive, ...flags, '.']);
    await assertSame(archive, await extract(archive));
  });
}

for (const format of ['ustar', 'v7'] as const) {
  test(`GNU tar writes ${format}, of what that holds`, requirement, async () => {
    const archive = join(scratch.path, `${format}.tar`);
    const skipped = ['./deep', './plain/long-symlink', './plain/one', './plain/block', './plain/disk'];
    const devices = format === 'v7' ? ['./plain/null', './plain/fifo'] : [];
    const flags = [...skipped, ...devices].map((path) => `--exclude=${path}`);
    await runTool('tar', ['-C', join(scratch.path, 'tree'), `--format=${format}`, ...flags, '-cf', archive, '.']);
    await assertSame(archive, await extract(archive));
  });
}

test('GNU tar writes pax with xattrs and ACLs', requirement, async () => {
  const archive = join(scratch.path, 'xattrs.tar');
  const copy = join(scratch.path, 'with-xattrs');
  await runTool('cp', ['-a', join(scratch.path, 'tree'), copy]);
  await runTool('bash', ['-euc', ADD_XATTRS], { cwd: copy });
  await runTool('tar', ['-C', copy, '--format=pax', ...XATTRS, '-cf', archive, '.']);
  await assertSame(archive, await extract(archive, XATTRS));
});

test('GNU tar writes an incremental label and a volume label', requirement, async () => {
  const archive = join(scratch.path, 'label.tar');
  await runTool('tar', ['-C', join(scratch.path, 'tree'), '--format=gnu', '--label=Volume', '-cf', archive, 'sp ace']);
  await assertSame(archive, await extract(archive));
});

for (const [name, format] of [
  ['pax', 'tarfile.PAX_FORMAT'],
  ['GNU', 'tarfile.GNU_FORMAT'],
] as const) {
  test(`Python's tarfile writes ${name}`, every(requirement, program('python3')), async () => {
    const archive = join(scratch.path, `python-${name}.tar`);
    const script = `
import tarfile, io
with tarfile.open(${JSON.stringify(archive)}, 'w', format=${format}, encoding='utf-8', errors='surrogateescape') as t:
    t.add(${JSON.stringify(join(scratch.path, 'tree'))}, arcname='root')
    i = tarfile.TarInfo('late'); i.size = 3; i.mtime = 1.5; i.uid = 3000000; i.pax_headers = {'SCHILY.xattr.user.k': 'v'}
    t.addfile(i, io.BytesIO(b'abc'))
`;
    await runTool('python3', ['-c', script]);
    await assertSame(archive, await extract(archive, XATTRS));
  });
}

test('a file that is written while it is read is an error, not a torn copy', requirement, async () => {
  const directory = join(scratch.path, 'changing');
  mkdirSync(directory);
  writeFileSync(join(directory, 'grows'), Buffer.alloc(3 << 20));
  await assert.rejects(
    async () => {
      for await (const entry of readDirectory(directory)) {
        if (entry.kind !== 'file') continue;
        for await (const piece of entry.body) if (piece.length > 0) writeFileSync(join(directory, 'grows'), 'short');
      }
    },
    { code: 'IO', message: /grows changed while it was read/ },
  );
});

test('a root that is no directory, or not there', { skip: addon().skip }, async () => {
  for (const path of ['/does/not/exist', '/etc/passwd']) {
    await assert.rejects(listing(readDirectory(path)), { code: 'PATH_NOT_FOUND' });
  }
});
