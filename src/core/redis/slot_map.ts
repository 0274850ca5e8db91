/**
 * Which master of a Redis Cluster serves which slot, as its nodes last told. A node that was cut off
 * tells an old story, so of two claims to a slot the one with the later configuration epoch stands;
 * a MOVED reply is believed at once.
 */
import type { Endpoint } from "./address.ts";

export const SLOTS = 16_384;

const NOBODY = -1;

export class SlotMap {
  private readonly owners = new Int32Array(SLOTS).fill(NOBODY);
  private readonly epochs = new Float64Array(SLOTS).fill(NOBODY);
  private readonly endpoints: Endpoint[] = [];
  private readonly numbers = new Map<string, number>();

  ownerOf(slot: number): Endpoint | null {
    return this.endpoints[this.owners[slot] ?? NOBODY] ?? null;
  }

  /** Everybody who serves a slot. */
  masters(): Endpoint[] {
    return [...new Set(this.owners)].flatMap((number) => this.endpoints[number] ?? []);
  }

  isWhole(): boolean {
    return this.owners.every((owner) => owner !== NOBODY);
  }

  /** Takes what a MOVED reply says: `MOVED <slot> <host>:<port>`; the host may be absent. */
  moved(message: string, from: Endpoint): void {
    const [, slot, host, port] = /^MOVED (\d+) (.*):(\d+)$/.exec(message) ?? [];
    if (slot === undefined || Number(slot) >= SLOTS) return;
    const endpoint = { host: host || from.host, port: Number(port) };
    this.owners[Number(slot)] = this.numberOf(endpoint);
  }

  /** Takes the reply to CLUSTER NODES of the node at `from`. */
  learn(nodes: string, from: Endpoint, byName: boolean): void {
    for (const line of nodes.split("\n")) {
      const [, address = "", flags = "", , , , epoch = "", , ...ranges] = line.trim().split(" ");
      if (!flags.split(",").includes("master") || ranges.length === 0) continue;
      const owner = this.numberOf(endpointOf(address, from, byName));
      for (const range of ranges) this.claim(range, owner, Number(epoch));
    }
  }

  private claim(range: string, owner: number, epoch: number): void {
    // In brackets: a slot that is on its way to or from this node, which still is where it was.
    const [, first, last] = /^(\d+)(?:-(\d+))?$/.exec(range) ?? [];
    if (first === undefined) return;
    for (let slot = Number(first); slot <= Number(last ?? first) && slot < SLOTS; slot++) {
      if (epoch < (this.epochs[slot] ?? NOBODY)) continue;
      this.epochs[slot] = epoch;
      this.owners[slot] = owner;
    }
  }

  private numberOf(endpoint: Endpoint): number {
    const name = nameOf(endpoint);
    let number = this.numbers.get(name);
    if (number === undefined) {
      number = this.endpoints.push(endpoint) - 1;
      this.numbers.set(name, number);
    }
    return number;
  }
}

export function nameOf({ host, port }: Endpoint): string {
  return `${host}:${port}`;
}

/** `ip:port@cport[,hostname]`; a node that nobody met yet does not know its own address. */
function endpointOf(address: string, from: Endpoint, byName: boolean): Endpoint {
  const [place = "", hostname = ""] = address.split(",");
  const [, ip = "", port = ""] = /^(.*):(\d+)(?:@\d+)?$/.exec(place) ?? [];
  const named = byName ? hostname || ip : ip || hostname;
  return { host: named || from.host, port: Number(port) };
}
