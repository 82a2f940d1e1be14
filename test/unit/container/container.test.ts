import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commandLine, containerConfig, parseEnv, parseVolume } from '../../../src/container/container-config.ts';
import { resolveUser } from '../../../src/container/container-user.ts';

const FILES = {
  passwd: [
    'root:x:0:0:root:/root:/bin/sh',
    'daemon:x:1:1::/usr/sbin:/nologin',
    'app:x:1000:1001:An App,,,:/home/app:/bin/sh',
    'homeless:x:1002:1002:::',
    '# comment',
    'broken',
    '7:x:70:70::/seven:',
  ].join('\n'),
  group: [
    'root:x:0:',
    'app:x:1001:',
    'audio:x:29:app,daemon',
    'video:x:44:app',
    'own:x:1001:app',
    'bad:x:abc:app',
  ].join('\n'),
};

const USERS: [string, { uid: number; gid: number; additionalGids: number[]; home: string }][] = [
  ['', { uid: 0, gid: 0, additionalGids: [], home: '/root' }],
  ['0', { uid: 0, gid: 0, additionalGids: [], home: '/root' }],
  ['app', { uid: 1000, gid: 1001, additionalGids: [29, 44], home: '/home/app' }],
  ['1000', { uid: 1000, gid: 1001, additionalGids: [29, 44], home: '/home/app' }],
  ['app:audio', { uid: 1000, gid: 29, additionalGids: [], home: '/home/app' }],
  ['app:7', { uid: 1000, gid: 7, additionalGids: [], home: '/home/app' }],
  ['4242', { uid: 4242, gid: 0, additionalGids: [], home: '/' }],
  ['4242:4243', { uid: 4242, gid: 4243, additionalGids: [], home: '/' }],
  ['homeless', { uid: 1002, gid: 1002, additionalGids: [], home: '/' }],
  ['7', { uid: 70, gid: 70, additionalGids: [], home: '/seven' }],
];
for (const [user, want] of USERS) {
  test(`container user: "${user}"`, () => assert.deepEqual(resolveUser(user, FILES), want));
}

for (const user of ['nobody', 'app:nogroup', '-1', '4294967295', '1000:99999999999', ':0']) {
  test(`container user: "${user}" is refused`, () => assert.throws(() => resolveUser(user, FILES), { code: 'USAGE' }));
}

test('container user: numbers need no files, names do', () => {
  const none = { passwd: undefined, group: undefined };
  assert.deepEqual(resolveUser('5:6', none), { uid: 5, gid: 6, additionalGids: [], home: '/' });
  assert.throws(() => resolveUser('app', none), { code: 'USAGE' });
});

const COMMANDS: { entrypoint?: string[]; cmd?: string[]; given: string[]; want: string[] | undefined }[] = [
  { cmd: ['sh'], given: [], want: ['sh'] },
  { cmd: ['sh'], given: ['ls', '-l'], want: ['ls', '-l'] },
  { entrypoint: ['/init'], cmd: ['serve'], given: [], want: ['/init', 'serve'] },
  { entrypoint: ['/init'], cmd: ['serve'], given: ['test'], want: ['/init', 'test'] },
  { entrypoint: ['/init'], given: [], want: ['/init'] },
  { given: [], want: undefined },
];
for (const { entrypoint, cmd, given, want } of COMMANDS) {
  test(`container command: ${entrypoint ?? '-'} ${cmd ?? '-'} with ${given.join(' ') || 'none'}`, () => {
    const config = { ...(entrypoint && { Entrypoint: entrypoint }), ...(cmd && { Cmd: cmd }) };
    if (want) assert.deepEqual(commandLine(config, given), want);
    else assert.throws(() => commandLine(config, given), { code: 'USAGE' });
  });
}

test('container volumes: read and refused', () => {
  assert.deepEqual(parseVolume('/a:/b'), { source: '/a', destination: '/b', readOnly: false });
  assert.deepEqual(parseVolume('/a:/b:ro'), { source: '/a', destination: '/b', readOnly: true });
  for (const text of ['', '/a', 'a:/b', '/a:b', '/a:/b:rx', '/a:/b:ro:z']) {
    assert.throws(() => parseVolume(text), { code: 'USAGE' }, text);
  }
});

test('container environment: given, passed on, absent, wrong', () => {
  assert.deepEqual(parseEnv('A=b=c', {}), ['A=b=c']);
  assert.deepEqual(parseEnv('A=', {}), ['A=']);
  assert.deepEqual(parseEnv('A', { A: '1' }), ['A=1']);
  assert.deepEqual(parseEnv('A', {}), []);
  for (const text of ['', '=x', 'A=\0']) assert.throws(() => parseEnv(text, {}), { code: 'USAGE' });
});

test('container config: defaults under the image under the user', () => {
  const document = containerConfig({
    config: { Env: ['PATH=/bin', 'A=image', 'B=image'], Cmd: ['sh'], WorkingDir: '/srv' },
    command: [],
    env: ['A=user'],
    user: { uid: 1, gid: 2, additionalGids: [3], home: '/h' },
    volumes: [{ source: '/s', destination: '/d', readOnly: true }],
    net: 'none',
    readOnly: true,
    tty: false,
    hostname: 'name',
    rootfs: '/r',
  }) as {
    process: { env: string[]; cwd: string; user: object; args: string[] };
    root: object;
    mounts: { destination: string; options: string[] }[];
    linux: { namespaces: { type: string }[] };
  };
  assert.deepEqual(document.process.env, ['PATH=/bin', 'HOSTNAME=name', 'HOME=/h', 'A=user', 'B=image']);
  assert.equal(document.process.cwd, '/srv');
  assert.deepEqual(document.process.user, { uid: 1, gid: 2, additionalGids: [3] });
  assert.deepEqual(document.root, { path: '/r', readonly: true });
  assert.deepEqual(document.mounts.at(-1), {
    destination: '/d',
    type: 'bind',
    source: '/s',
    options: ['rbind', 'rprivate', 'ro'],
  });
  assert.ok(document.linux.namespaces.some(({ type }) => type === 'network'));
});

test('container config: a network namespace can be given by its path', () => {
  const document = (net: 'host' | { path: string }) =>
    containerConfig({
      ...{ config: { Cmd: ['x'] }, command: [], env: [], volumes: [], readOnly: false, tty: false },
      ...{ user: resolveUser('', { passwd: undefined, group: undefined }), net, hostname: 'name', rootfs: '/r' },
    }) as { linux: { namespaces: { type: string; path?: string }[] } };
  const ofNetwork = (net: 'host' | { path: string }) =>
    document(net).linux.namespaces.filter(({ type }) => type === 'network');
  assert.deepEqual(ofNetwork({ path: '/proc/7/ns/net' }), [{ type: 'network', path: '/proc/7/ns/net' }]);
  assert.deepEqual(ofNetwork('host'), []);
});
