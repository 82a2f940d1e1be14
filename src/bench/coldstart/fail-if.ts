// Conditions under which a benchmark fails, for CI: `optimized.ready.p50 > 2s`, `lazy.ready.p50 > 1.05 * full-pull.ready.p50`.
// Pure.
import { NaiadError } from '../../base/errors.ts';
import { parseDuration, parseSize } from '../../base/units.ts';
import {
  type ColdstartReport,
  type FailIfResult,
  FIGURES,
  type Figure,
  type Summary,
  type Unit,
  type WayReport,
} from './report-model.ts';
import { PHASES, type Phase } from './way.ts';

export interface FailIf {
  /** As it was written. */
  readonly text: string;
  readonly left: Term;
  readonly operator: Operator;
  readonly right: Term;
}

type Term = Value | Metric;

/** In seconds, bytes or pieces. */
interface Value {
  readonly kind: 'value';
  readonly unit: Unit | 'any';
  readonly value: number;
}

interface Metric {
  readonly kind: 'metric';
  /** A mode, all of its drivers, or one way. */
  readonly way: string;
  readonly figure: Figure | Phase;
  readonly statistic: keyof Summary;
  readonly unit: Unit;
  /** It counts so many times. */
  readonly factor: number;
}

const OPERATORS = {
  '>=': (left: number, right: number) => left >= right,
  '<=': (left: number, right: number) => left <= right,
  '>': (left: number, right: number) => left > right,
  '<': (left: number, right: number) => left < right,
} as const;
type Operator = keyof typeof OPERATORS;

const STATISTICS = ['p50', 'p90', 'min', 'max', 'mean'] as const satisfies (keyof Summary)[];

/** @throws NaiadError USAGE with what is wrong and what could be there */
export function parseFailIf(text: string): FailIf {
  const parts = text.split(/(>=|<=|>|<)/);
  const [left = '', operator = '', right = ''] = parts;
  if (parts.length !== 3) throw wrong(text, 'it has no comparison, or several', "Write 'lazy.ready.p50 > 2s'.");
  const condition = {
    text,
    left: parseTerm(text, left),
    operator: operator as Operator,
    right: parseTerm(text, right),
  };
  const units = [condition.left.unit, condition.right.unit].filter((unit) => unit !== 'any');
  if (units.length === 2 && units[0] !== units[1]) {
    throw wrong(text, `it compares ${units[0]} with ${units[1]}`, 'Times are written 2s or 150ms, sizes 20MB.');
  }
  const [unit] = units;
  if (unit !== undefined && unit !== 'count' && [condition.left, condition.right].some((term) => term.unit === 'any')) {
    throw wrong(text, `a number without a unit is compared with ${unit}`, 'Times are written 2s or 150ms, sizes 20MB.');
  }
  if (condition.left.kind === 'value' && condition.right.kind === 'value') {
    throw wrong(text, 'it names nothing that is measured', "Write 'lazy.ready.p50 > 2s'.");
  }
  return condition;
}

function parseTerm(text: string, written: string): Term {
  const term = written.trim();
  const [, factor, rest] = /^(\d{1,6}(?:\.\d{1,6})?)\s*\*\s*(.*)$/.exec(term) ?? [];
  if (rest !== undefined) return { ...parseMetric(text, rest), factor: Number(factor) };
  if (!/^\d/.test(term)) return parseMetric(text, term);
  if (/^\d{1,15}(\.\d{1,6})?$/.test(term)) return { kind: 'value', unit: 'any', value: Number(term) };
  const duration = parseDuration(term);
  if (duration !== undefined) return { kind: 'value', unit: 'seconds', value: duration / 1000 };
  const size = parseSize(term);
  if (size !== undefined) return { kind: 'value', unit: 'bytes', value: size };
  throw wrong(text, `"${term}" is no time, size or number`, 'Times are written 2s or 150ms, sizes 20MB.');
}

function parseMetric(text: string, term: string): Metric {
  const [way = '', figure = '', statistic = 'p50', ...rest] = term.split('.');
  const known = [...Object.keys(FIGURES), ...PHASES];
  if (!/^[a-z0-9-]+(\/[a-z0-9-]+)?$/.test(way) || rest.length > 0) {
    throw wrong(text, `"${term}" is not MODE.FIGURE.STATISTIC`, "Write 'lazy.ready.p50', or 'lazy/fuse.ready.p50'.");
  }
  if (!known.includes(figure)) throw wrong(text, `there is no figure "${figure}"`, `There are ${known.join(', ')}.`);
  if (!(STATISTICS as readonly string[]).includes(statistic)) {
    throw wrong(text, `there is no statistic "${statistic}"`, `There are ${STATISTICS.join(', ')}.`);
  }
  const unit = figure in FIGURES ? FIGURES[figure as Figure].unit : 'seconds';
  return {
    ...{ kind: 'metric', way, unit, factor: 1 },
    figure: figure as Figure | Phase,
    statistic: statistic as keyof Summary,
  };
}

function wrong(text: string, why: string, hint: string): NaiadError {
  return new NaiadError('USAGE', `--fail-if "${text}": ${why}`, { hint });
}

/** Modes and ways that a condition is about. */
export function waysNamed({ left, right }: FailIf): string[] {
  return [left, right].flatMap((term) => (term.kind === 'metric' ? [term.way] : []));
}

/** True of any of the ways it is about makes it fail; so does a way that was not measured. */
export function checkFailIf(condition: FailIf, { ways }: Pick<ColdstartReport, 'ways'>): FailIfResult {
  const { text, operator } = condition;
  const lefts = valuesOf(condition.left, ways);
  const rights = valuesOf(condition.right, ways);
  for (const [values, term] of [
    [lefts, condition.left],
    [rights, condition.right],
  ] as const) {
    if (values.length === 0) return { text, failed: true, why: `${(term as Metric).way} was not measured` };
  }
  for (const left of lefts) {
    for (const right of rights) {
      const why = `${left.name} ${operator} ${right.name}`;
      if (OPERATORS[operator](left.value, right.value)) return { text, failed: true, why };
    }
  }
  return { text, failed: false, why: `${lefts.map(({ name }) => name).join(', ')}` };
}

function valuesOf(term: Term, ways: readonly WayReport[]): { name: string; value: number }[] {
  if (term.kind === 'value') return [{ name: shown(term.value, term.unit), value: term.value }];
  return ways
    .filter(({ key, mode, runs }) => (key === term.way || mode === term.way) && runs > 0)
    .flatMap((way) => {
      const { figure, statistic, factor, unit } = term;
      const summary = figure in FIGURES ? way.figures[figure as Figure] : way.phases[figure as Phase];
      if (summary === undefined) return [];
      const value = factor * summary[statistic];
      const times = factor === 1 ? '' : `${factor} * `;
      return [{ name: `${times}${way.key}.${figure}.${statistic} = ${shown(value, unit)}`, value }];
    });
}

function shown(value: number, unit: Unit | 'any'): string {
  if (unit === 'seconds') return `${value.toFixed(3)}s`;
  return unit === 'bytes' ? `${Math.round(value)}B` : `${value}`;
}
