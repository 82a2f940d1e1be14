// Text that comes from registries, layouts and people.
import { NaiadError } from '../../../src/base/errors.ts';
import { bootstrapLayer, isBlobLayer, isConvertedEntry } from '../../../src/format/oci/annotations.ts';
import { parseConfig, parseDocument, parseIndex, parseManifest } from '../../../src/format/oci/manifest.ts';
import { layerKind } from '../../../src/format/oci/media-types.ts';
import { formatReference, parseReference } from '../../../src/format/oci/reference.ts';
import { parseChallenges } from '../../../src/registry/challenge.ts';
import type { FuzzTarget } from '../target.ts';

const JSON_WORDS = [
  ...[
    'null',
    'true',
    '-1',
    '1e400',
    '1.5',
    '9007199254740993',
    '""',
    '"\\u0000"',
    '[]',
    '{}',
    '[[[[[[',
    '{"":{"":',
    ']',
    '}',
  ],
  ...[
    '"__proto__":{}',
    '"constructor":1',
    '"mediaType":""',
    '"digest":"sha256:"',
    '"size":-1',
    '"layers":[]',
    '\ufffe',
  ],
  ...[
    '"application/vnd.oci.image.index.v1+json"',
    '"application/vnd.docker.distribution.manifest.v1+prettyjws"',
    '"urls":["x"]',
  ],
];

export const documentTarget: FuzzTarget = {
  name: 'document',
  run(input) {
    const failures: unknown[] = [];
    const attempt = (step: () => void) => {
      try {
        step();
      } catch (error) {
        if (!(error instanceof NaiadError) || error.code === 'BUG') throw error;
        failures.push(error);
      }
    };
    attempt(() => {
      const document = parseDocument(input);
      if (document.kind === 'index') for (const entry of document.index.manifests) isConvertedEntry(entry);
      else {
        bootstrapLayer(document.manifest);
        for (const layer of document.manifest.layers) if (!isBlobLayer(layer)) layerKind(layer.mediaType);
      }
    });
    attempt(() => parseManifest(input));
    attempt(() => parseIndex(input));
    attempt(() => parseConfig(input));
    if (failures.length === 4) throw failures[0];
  },
  dictionary: JSON_WORDS,
};

export const referenceTarget: FuzzTarget = {
  name: 'reference',
  run(input) {
    const reference = parseReference(input.toString('utf8'));
    const again = formatReference(parseReference(formatReference(reference)));
    if (again !== formatReference(reference)) throw new Error('a formatted reference parses to another one');
  },
  dictionary: [
    '/',
    ':',
    '@',
    '@sha256:',
    '//',
    'docker.io',
    'localhost:',
    '[::1]',
    '..',
    '--',
    '__',
    ' ',
    'ä',
    '\0',
    'A'.repeat(130),
  ],
  inputSizeMax: 4096,
};

export const challengeTarget: FuzzTarget = {
  name: 'challenge',
  run(input) {
    parseChallenges(input.toString('latin1').split('\n'));
  },
  dictionary: [
    'Bearer ',
    'Basic ',
    'realm="',
    '",',
    '\\"',
    '=',
    ',',
    'Negotiate YII=',
    'service=x',
    ' '.repeat(64),
    '\\'.repeat(64),
  ],
};
