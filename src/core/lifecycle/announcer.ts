/**
 * Tells every linked access node which partitions this node owns, in full, at each change and to
 * each link that comes up. Access routes acks and signals by it.
 */
import type { OwnedPartition } from "../registry/contract.ts";
import type { ConsumerGroup } from "../topology.ts";
import type { Trunk } from "../trunk/contract.ts";
import type { NodeId } from "../trunk/node_id.ts";

export class Announcer {
  private readonly group: ConsumerGroup;
  private readonly trunk: Trunk;
  private readonly owned: () => OwnedPartition[];
  private readonly peers = new Set<NodeId>();

  constructor(group: ConsumerGroup, trunk: Trunk, owned: () => OwnedPartition[]) {
    this.group = group;
    this.trunk = trunk;
    this.owned = owned;
  }

  onUp(peer: NodeId): void {
    this.peers.add(peer);
    this.announceTo(peer);
  }

  onDown(peer: NodeId): void {
    this.peers.delete(peer);
  }

  changed(): void {
    for (const peer of this.peers) this.announceTo(peer);
  }

  private announceTo(peer: NodeId): void {
    const owned = this.owned().map(({ partition, epoch }): [number, number] => [partition, epoch]);
    this.trunk.send(peer, { to: "access", t: "claims", group: this.group, owned });
  }
}
