// The drivers as tests see them: which there are, what each needs here, and what it cannot express.
import { tmpdir } from 'node:os';
import { DRIVER_NAMES, type DriverName } from '../../src/mount/driver.ts';
import { chooseDriver } from '../../src/mount/drivers.ts';
import { type Requirement, requirement } from './requires.ts';
import { assertSameFuseTree, assertSameTree } from './tree.ts';

export interface DriverTraits {
  readonly name: DriverName;
  /** Names and xattr names pass as bytes; else as text, with what is none of it escaped. */
  readonly byteNames: boolean;
  /** A killed daemon is started again and goes on with the mount; readers wait meanwhile. */
  readonly resumes: boolean;
  /** ENOSPC reaches the reader. What EROFS in the kernel reads through the page cache fails with EIO, whatever the reason. */
  readonly passesErrnos: boolean;
  /** Compares whole trees as far as the driver can express them. */
  readonly assertSameTree: typeof assertSameTree;
}

/** Drivers whose mounts outlive the process that serves them. */
const RESUMING: readonly string[] = ['erofs', 'fuse'];

/** Every driver there is, in the order of `DRIVER_NAMES`. */
export const DRIVERS: readonly DriverTraits[] = DRIVER_NAMES.map((name) => {
  const asText = name === 'fuse-native';
  const resumes = RESUMING.includes(name);
  return {
    name,
    byteNames: !asText,
    resumes,
    passesErrnos: name !== 'erofs',
    assertSameTree: asText ? assertSameFuseTree : assertSameTree,
  };
});

/** Met when `name` can mount here. In REQUIRE it is called `driver-NAME`. */
export function driver(name: DriverName): Requirement {
  return requirement(`driver-${name}`, () => {
    try {
      chooseDriver(name, tmpdir());
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  });
}
