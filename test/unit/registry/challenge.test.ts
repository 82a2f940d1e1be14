import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChallenges } from '../../../src/registry/challenge.ts';

type Plain = readonly [scheme: string, parameters: Record<string, string>];

const cases: readonly (readonly [name: string, header: string | string[] | undefined, want: Plain[]])[] = [
  ['nothing', undefined, []],
  ['an empty value', '', []],
  ['Basic', 'Basic realm="a b"', [['basic', { realm: 'a b' }]]],
  [
    'Bearer with commas and spaces inside values',
    'Bearer realm="https://auth.x/token",service="reg.x",scope="repository:a:pull,push repository:b:pull"',
    [
      [
        'bearer',
        { realm: 'https://auth.x/token', service: 'reg.x', scope: 'repository:a:pull,push repository:b:pull' },
      ],
    ],
  ],
  [
    'escapes, any case, spaces around =',
    'BEARER Realm = "a\\"b\\\\c" , SERVICE=x',
    [['bearer', { realm: 'a"b\\c', service: 'x' }]],
  ],
  [
    'two in one value',
    'Basic realm="a", Bearer realm="b"',
    [
      ['basic', { realm: 'a' }],
      ['bearer', { realm: 'b' }],
    ],
  ],
  [
    'two headers',
    ['Negotiate', 'Basic realm="a"'],
    [
      ['negotiate', {}],
      ['basic', { realm: 'a' }],
    ],
  ],
  [
    'a scheme with data of its own',
    'Negotiate YII==, Basic realm="a"',
    [
      ['negotiate', {}],
      ['basic', { realm: 'a' }],
    ],
  ],
  ['a scheme alone', 'Basic', [['basic', {}]]],
  ['an open quote: what came before counts', 'Bearer realm="b",service="x', [['bearer', { realm: 'b' }]]],
  ['the first of doubles', 'Bearer realm="a",realm="b"', [['bearer', { realm: 'a' }]]],
  ['a parameter without a scheme', '="x", Basic', []],
  [
    '__proto__ as a name',
    'Bearer __proto__="x",realm="b"',
    [
      [
        'bearer',
        Object.fromEntries([
          ['__proto__', 'x'],
          ['realm', 'b'],
        ]),
      ],
    ],
  ],
];

for (const [name, header, want] of cases) {
  test(`challenge: ${name}`, () => {
    const got = parseChallenges(header).map(({ scheme, parameters }) => [
      scheme,
      Object.fromEntries(Object.entries(parameters)),
    ]);
    assert.deepEqual(got, want);
  });
}

test('challenge: long hostile input ends quickly', () => {
  const started = process.cpuUsage();
  for (const text of [
    'Bearer '.repeat(10_000),
    'a="'.repeat(10_000),
    '"\\'.repeat(10_000),
    'A/'.repeat(20_000),
    ','.repeat(50_000),
  ]) {
    parseChallenges(text);
  }
  assert.ok(process.cpuUsage(started).user < 1_000_000);
});
