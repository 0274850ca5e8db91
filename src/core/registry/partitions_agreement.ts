import type { Partitions } from "../topology.ts";

/** A start with other partition counts than the data was written with: keys would not be found. */
export function partitionsDisagree(configured: Partitions, agreed: Partitions): Error {
  const say = ({ chat, user }: Partitions) => `${chat} chat and ${user} user partitions`;
  return new Error(`configured are ${say(configured)}, but the data has ${say(agreed)}`);
}
