import type { FuzzTarget } from '../target.ts';
import { answerTarget } from './answer.ts';
import { archiveTarget } from './archive.ts';
import { blobTarget } from './blob.ts';
import { bootstrapTarget } from './bootstrap.ts';
import { chunkMapTarget } from './chunk-map.ts';
import { challengeTarget, documentTarget, referenceTarget } from './documents.ts';
import { layerTarget } from './layer.ts';
import { layerRecordTarget } from './layer-record.ts';
import { chunkTarget, streamTarget } from './streams.ts';
import { traceTarget } from './trace.ts';
import { unpackTarget } from './unpack.ts';

export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  bootstrapTarget,
  blobTarget,
  layerTarget,
  layerRecordTarget,
  streamTarget,
  chunkTarget,
  documentTarget,
  referenceTarget,
  challengeTarget,
  answerTarget,
  chunkMapTarget,
  archiveTarget,
  unpackTarget,
  traceTarget,
];

export function fuzzTarget(name: string): FuzzTarget {
  const target = FUZZ_TARGETS.find((known) => known.name === name);
  if (!target)
    throw new Error(`no fuzz target ${name}; there are ${FUZZ_TARGETS.map((known) => known.name).join(', ')}`);
  return target;
}
