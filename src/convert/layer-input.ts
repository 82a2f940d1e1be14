// A layer on its way through a conversion: not read yet, and converted.
import type { Skipped } from '../tar/xattrs.ts';
import type { ConvertedLayer, LayerOptions } from './convert-layer.ts';

/** One layer of the source, not read yet. */
export interface LayerInput {
  /** Names its content, as stored and as a tar; undefined where that is not known before it is read. */
  readonly id?: string;
  /** Bytes as stored: the unit of progress. Undefined where they are not known before. */
  readonly size: number | undefined;
  /** Called once. */
  convert(context: LayerContext): Promise<Converted>;
}

export interface LayerContext {
  readonly into: LayerOptions;
  readonly signal: AbortSignal;
  readonly onSkipped: (what: Skipped) => void;
  /** Counts bytes of the stored layer, as they are read. */
  readonly onRead: (bytes: number) => void;
}

export interface Converted extends ConvertedLayer {
  readonly tarSize: number;
  /** True when it was taken over from a build cache: the target has its blob. */
  readonly cached?: boolean;
}
