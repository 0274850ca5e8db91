/** Mistakes on the way between nodes, at the gateway's sockets, and in clients. */
import { type ChatInputTuple, encodeChatInput } from "../../core/protocol/chat_input.ts";
import type { Address, TrunkMessage } from "../../core/trunk/messages.ts";
import type { Seams } from "../seams.ts";
import type { PlantedBug } from "./planted_bug.ts";

type Receive = (message: TrunkMessage, self: string) => readonly TrunkMessage[];

/** One `receive` per process and peer. */
function receiving(make: () => Receive): Seams {
  return {
    trunk: () => {
      const byPeer = new Map<string, Receive>();
      return {
        receive(self, peer, message) {
          const receive = byPeer.get(peer) ?? make();
          byPeer.set(peer, receive);
          return receive(message, self);
        },
      };
    },
  };
}

/** The item as a gateway would write it that believes what the client says about itself. */
function asClaimed(item: string): string {
  const input = JSON.parse(item) as ChatInputTuple;
  const { claim } = JSON.parse(input[7]) as { claim?: string };
  if (claim !== undefined) input[1] = claim;
  return encodeChatInput(input);
}

export const TRUNK_BUGS: readonly PlantedBug[] = [
  {
    name: "trunk_reorders",
    mistake: "a delivery overtakes the one before it",
    seams: () =>
      receiving(() => {
        let held: TrunkMessage | null = null;
        let count = 0;
        return (message) => {
          if (message.t !== "deliver") return [message];
          if (held !== null) {
            const both = [message, held];
            held = null;
            return both;
          }
          if (++count % 9 !== 0) return [message];
          held = message;
          return [];
        };
      }),
  },
  {
    name: "trunk_drops_silently",
    mistake: "a delivery is lost and the link stays up",
    seams: () =>
      receiving(() => {
        let count = 0;
        return (message) => (message.t === "deliver" && ++count % 11 === 0 ? [] : [message]);
      }),
  },
  {
    name: "link_up_not_heard",
    mistake: "push does not send again what was on its way when a link broke",
    seams: () => ({
      trunk: ({ role }) => {
        const seen = new Set<string>();
        return {
          up(_self, peer) {
            const again = seen.has(peer);
            seen.add(peer);
            return role !== "push" || !again;
          },
        };
      },
    }),
  },
  {
    name: "link_down_not_heard",
    mistake: "a gateway does not register its connections again when it loses their access node",
    seams: () => ({ trunk: ({ role }) => ({ down: () => role !== "gateway" }) }),
  },
  {
    name: "acks_count_for_everybody",
    mistake: "push looks for an acked message in every feed, not in that of the user who acked",
    seams: () => ({
      trunk: ({ users }) => ({
        receive(_self, _peer, message) {
          if (message.t !== "userAcks") return [message];
          const items = message.items.flatMap(([, address, msgIds]) =>
            users.map((user): [string, Address, string[]] => [user, address, msgIds]),
          );
          return [{ ...message, items }];
        },
      }),
    }),
  },
  {
    name: "sender_as_claimed",
    mistake: "the sender of a message is who the client says",
    seams: () =>
      receiving(() => (message) => {
        if (message.t !== "uplink") return [message];
        const items = message.items.map(
          ([conn, id, partition, item]): [number, string, number, string] => [
            ...([conn, id, partition] as const),
            asClaimed(item),
          ],
        );
        return [{ ...message, items }];
      }),
  },
  {
    name: "dropped_send_ignored",
    mistake: "a gateway takes send() = 0 for sent, and keeps the connection",
    seams: () => ({ droppedSend: 1 }),
  },
  {
    name: "leak_to_another_user",
    mistake: "a message is also written to somebody else's connection",
    seams: () => ({ leak: true }),
  },
  {
    name: "repeated_under_a_new_id",
    mistake: "a client repeats a send without an answer under a new client message id",
    seams: () => ({ freshClientIds: true }),
  },
];
