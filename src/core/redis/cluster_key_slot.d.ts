/** The package has no types of its own. */
declare module "cluster-key-slot" {
  /** The slot, 0 to 16 383, of a key: of its hash tag, where it has one. */
  export default function calculateSlot(key: string): number;
}
