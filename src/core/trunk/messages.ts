/**
 * What travels on the trunk. Each message carries a batch: everything that one node had for another
 * in one turn of the event loop. Tuples instead of objects where there is one per client message.
 *
 * gateway ⇄ access   register, unregister, uplink, acks, signals ⇄ registered, write, kick
 * access ⇄ push      claims, deliver, close ⇄ acks, relay, watch
 * access ⇄ logic     claims, write, relay ⇄ signals
 */
import type { CloseReason } from "../protocol/errors.ts";
import type { NodeId } from "./contract.ts";

/** A client connection, numbered by its gateway; with the gateway's node id it is unique for ever. */
export type ConnId = number;

/** [user, device, conn, since (unix ms of the handshake)] */
export type RegisterTuple = [user: string, device: string, conn: ConnId, since: number];
/** [conn, client message id, chat_input partition, encoded ChatInput item] */
export type UplinkTuple = [conn: ConnId, clientMsgId: string, partition: number, item: string];
/** Text (one or more encoded frames, comma-separated) for some connections of one gateway. */
export type WriteTuple = [conns: ConnId[], frames: string];
/** A typing or read signal on its way to be resolved: the frame is what recipients will get. */
export type SignalTuple = [
  conversation: string,
  from: string,
  target: "USER" | "GROUP",
  to: string,
  frame: string,
];
/** [gateway, conn, session epoch] */
export type Address = [gateway: NodeId, conn: ConnId, epoch: number];

export type TrunkMessage =
  | { readonly t: "register"; readonly conns: RegisterTuple[] }
  | { readonly t: "unregister"; readonly conns: ConnId[] }
  /** Answers `register`: the session epoch of each connection, or why it was refused. */
  | { readonly t: "registered"; readonly conns: [ConnId, epoch: number, refused: CloseReason | ""][] }
  | { readonly t: "uplink"; readonly items: UplinkTuple[] }
  | { readonly t: "signals"; readonly items: SignalTuple[] }
  /** Access → gateway: frames for connections. Logic → access: the same for one of its gateways. */
  | { readonly t: "write"; readonly gateway: NodeId; readonly items: WriteTuple[] }
  /** Push → access → gateway: messages for sessions; dropped where the epoch is not current. */
  | { readonly t: "deliver"; readonly items: [to: Address[], frames: string][] }
  | { readonly t: "close"; readonly conns: [Address, reason: CloseReason][] }
  /** Gateway → access: what clients confirmed. */
  | { readonly t: "acks"; readonly items: [conn: ConnId, msgIds: string[]][] }
  /** Access → push: the same, by user, to the owner of the user's partition. */
  | { readonly t: "userAcks"; readonly items: [user: string, Address, msgIds: string[]][] }
  /** Push or logic → access: the partitions that the sender owns, in full, with their epochs. */
  | { readonly t: "claims"; readonly group: "logic" | "push"; readonly owned: [number, number][] }
  /** Logic → access → push: a frame for all devices of users; never stored, best effort. */
  | { readonly t: "relay"; readonly items: [users: string[], frame: string][] }
  /** Gateway → access → push: `Address` wants the presence of these users. */
  | { readonly t: "watch"; readonly items: [Address, users: string[]][] };
