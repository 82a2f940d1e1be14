import { KeeperChannel } from '../../src/keeper/channel.ts';

/** Stops a keeper that has no daemon, whatever it still holds: nothing of that may be read any more. False when there is
 *  none. @throws NaiadError KEEPER_REFUSED when it has a daemon. */
export async function stopKeeper(socketPath: string): Promise<boolean> {
  using channel = KeeperChannel.connect(socketPath);
  if (!channel) return false;
  await channel.demand('stop', { error: 1 });
  return true;
}
