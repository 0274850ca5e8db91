/**
 * `sent` and `rejected` go back to the sender's connection, through the access node that it came in
 * by. Best effort: a sender that hears nothing repeats the message and gets the same answer.
 */
import type { Trunk } from "../../core/trunk/contract.ts";
import type { ConnId, WriteTuple } from "../../core/trunk/messages.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";
import type { Reply } from "./numbering.ts";

/** One trunk message per access node and gateway, one text per connection. */
export function sendReplies(trunk: Trunk, replies: readonly Reply[]): void {
  const byAccess = new Map<NodeId, Map<NodeId, Map<ConnId, string>>>();
  for (const { input, frame } of replies) {
    const byGateway = getOrAdd(byAccess, input.accessNodeId, () => new Map());
    const conns = getOrAdd(byGateway, input.gatewayNodeId, () => new Map());
    const before = conns.get(input.connId);
    conns.set(input.connId, before === undefined ? frame : `${before},${frame}`);
  }
  for (const [access, byGateway] of byAccess) {
    for (const [gateway, conns] of byGateway) {
      const items: WriteTuple[] = [];
      for (const [conn, text] of conns) items.push([[conn], text]);
      trunk.send(access, { to: "access", t: "write", gateway, items });
    }
  }
}

function getOrAdd<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
