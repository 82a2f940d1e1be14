import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, renameSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSpool, isSpoolName, removeStaleSpools } from '../../../src/store/spool.ts';
import { temporaryDir } from '../../support/temporary.ts';

test('spool: is there, then is not', async () => {
  using parent = temporaryDir();
  {
    await using spool = await createSpool(parent.path);
    writeFileSync(join(spool.path, 'x'), 'x');
    assert.ok(isSpoolName(String(readdirSync(parent.path)[0])));
    // A live one is nobody's to remove.
    await using second = await createSpool(parent.path);
    assert.ok(existsSync(join(spool.path, 'x')));
    assert.notEqual(spool.path, second.path);
  }
  assert.deepEqual(readdirSync(parent.path), []);
});

test('spool: that of a killed process is removed by the next, not while it lives', async () => {
  using parent = temporaryDir();
  const module = new URL('../../../src/store/spool.js', import.meta.url).href;
  const script = `const { createSpool } = await import(${JSON.stringify(module)});
    await createSpool(${JSON.stringify(parent.path)}); console.log('ready'); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  const [name] = readdirSync(parent.path);
  await removeStaleSpools(parent.path);
  assert.deepEqual(readdirSync(parent.path), [name]);
  child.kill('SIGKILL');
  await once(child, 'exit');
  await using spool = await createSpool(parent.path);
  assert.deepEqual(readdirSync(parent.path), [spool.path.slice(parent.path.length + 1)]);
});

test('spool: a pid that was given out again, a symbolic link, other names and other machines', async () => {
  using parent = temporaryDir();
  const at = (name: string) => join(parent.path, name);
  const spool = await createSpool(parent.path);
  const name = spool.path.slice(parent.path.length + 1);
  const [, , , startTime, machine] = /^(.naiad)-(\d+)-(\d+)-([0-9a-f]+)-/.exec(name) ?? [];
  const reused = name.replace(`-${startTime}-`, `-${Number(startTime) + 1}-`);
  const elsewhere = name.replace(`-${machine}-`, '-00000000-');
  const elsewhereOld = elsewhere.replace(/..$/, '00');
  const link = reused.replace(/..$/, '01');
  renameSync(spool.path, at(reused));
  for (const other of [elsewhere, elsewhereOld, '.naiad-x', '.naiad-1-2-3-4']) mkdirSync(at(other));
  const old = new Date(Date.now() - 25 * 3600 * 1000);
  utimesSync(at(elsewhereOld), old, old);
  symlinkSync('.naiad-x', at(link));
  await removeStaleSpools(parent.path);
  assert.deepEqual(readdirSync(parent.path).sort(), ['.naiad-1-2-3-4', '.naiad-x', elsewhere, link].sort());
});

test('spool: a parent that is not there', async () => {
  await assert.rejects(createSpool('/nonexistent/directory'), { code: 'PATH_NOT_FOUND' });
});
