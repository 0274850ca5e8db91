/**
 * Who owns which partition, as the owners themselves say over their links. Used for what is best
 * effort (acks, signals, watches): a wrong guess only means that somebody repeats.
 */
import type { ConsumerGroup } from "../../core/topology.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";

interface Claim {
  readonly node: NodeId;
  readonly epoch: number;
}

export class Claims {
  private readonly owners: Record<ConsumerGroup, Map<number, Claim>> = {
    logic: new Map(),
    push: new Map(),
  };

  /** Replaces what `node` claims; where two nodes claim a partition the later epoch counts. */
  set(group: ConsumerGroup, node: NodeId, owned: readonly (readonly [number, number])[]): void {
    this.dropNode(group, node);
    for (const [partition, epoch] of owned) {
      const known = this.owners[group].get(partition);
      if (known === undefined || known.epoch <= epoch) {
        this.owners[group].set(partition, { node, epoch });
      }
    }
  }

  drop(node: NodeId): void {
    this.dropNode("logic", node);
    this.dropNode("push", node);
  }

  ownerOf(group: ConsumerGroup, partition: number): NodeId | null {
    return this.owners[group].get(partition)?.node ?? null;
  }

  private dropNode(group: ConsumerGroup, node: NodeId): void {
    for (const [partition, claim] of this.owners[group]) {
      if (claim.node === node) this.owners[group].delete(partition);
    }
  }
}
