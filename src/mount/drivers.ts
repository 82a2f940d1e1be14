// Which drivers there are, and which one a mount takes.
import { NaiadError } from '../base/errors.ts';
import { DRIVER_NAMES, type Driver, type DriverName } from './driver.ts';
import { erofsDriver } from './erofs-driver.ts';
import { fuseDriver } from './fuse-driver.ts';
import { fuseNativeDriver } from './fuse-native-driver.ts';

/** In order of preference. */
const DRIVERS: readonly Driver[] = [erofsDriver, fuseDriver, fuseNativeDriver];

export interface DriverChoice {
  readonly driver: Driver;
  readonly why: string;
}

/** The driver `name`, or under `auto` the first that works here with the cache directory `cache`.
 *  @throws NaiadError DRIVER_UNAVAILABLE with the reasons. */
export function chooseDriver(name: DriverName | 'auto', cache: string): DriverChoice {
  const reasons: NaiadError[] = [];
  for (const driver of DRIVERS) {
    if (name !== 'auto' && driver.name !== name) continue;
    const reason = driver.unavailable(cache);
    if (!reason) {
      if (name !== 'auto') return { driver, why: `Driver ${driver.name}, as asked.` };
      const passed = reasons.map(({ message }) => ` Not ${message}.`).join('');
      return { driver, why: `Driver ${driver.name}: the fastest that works here.${passed}` };
    }
    reasons.push(reason);
  }
  const [only, ...others] = reasons;
  if (only && others.length === 0) throw only;
  const hints = [...new Set(reasons.flatMap(({ hint }) => hint ?? []))];
  throw new NaiadError('DRIVER_UNAVAILABLE', reasons.map(({ message }) => message).join('; '), {
    hint: hints.join(' '),
  });
}

export interface DriverReason {
  readonly name: DriverName;
  /** Why it cannot be used; undefined when it can. */
  readonly reason: NaiadError | undefined;
}

/** Each driver, in order of preference, and what keeps it from working with the cache directory `cache`; or only some. */
export function driverReasons(cache: string, names: readonly DriverName[] = DRIVER_NAMES): DriverReason[] {
  const asked = DRIVERS.filter(({ name }) => names.includes(name));
  return asked.map((driver) => ({ name: driver.name, reason: driver.unavailable(cache) }));
}
