/**
 * What travels on the trunk. Each message carries a batch: everything that one node had for another
 * in one turn of the event loop. Tuples instead of objects where there is one per client message.
 *
 * gateway ⇄ access   register, unregister, uplink, acks, signals, watch ⇄ registered, write,
 *                    deliver, close
 * push ⇄ access      claims, deliver, close ⇄ userAcks, relay, watch
 * logic ⇄ access     claims, write, relay ⇄ signals
 *
 * Gateways, logic and push dial; access nodes listen, and dial each other.
 */
import type { CloseReason } from "../protocol/errors.ts";
import type { NodeId } from "./node_id.ts";

/** A client connection, numbered by its gateway; with the gateway's node id it is unique for ever. */
export type ConnId = number;

/**
 * [user, device, conn, since (unix ms of the handshake, and one more at each registration), when the
 * token was issued (unix s; 0 when it does not say)]
 */
export type RegisterTuple = [
  user: string,
  device: string,
  conn: ConnId,
  since: number,
  issuedAt: number,
];
export type RegisteredTuple = [conn: ConnId, epoch: number, refused: CloseReason | ""];
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
/** A frame for all devices of some users. */
export type RelayTuple = [users: string[], frame: string];
/** Encoded frames, comma-separated, for some sessions; the trace context only when it is sampled. */
export type DeliverTuple = [to: Address[], frames: string, trace?: string];
/** [gateway, conn, session epoch] */
export type Address = [gateway: NodeId, conn: ConnId, epoch: number];

/**
 * `to` names the role that the message is for: one process may run several roles, and then every
 * role's handler sees every message of the process and takes only its own.
 */
export type TrunkMessage = ToAccess | ToGateway | ToPush | ToLogic;

export type ToAccess = { readonly to: "access" } & AccessMessage;
export type ToGateway = { readonly to: "gateway" } & GatewayMessage;
export type ToPush = { readonly to: "push" } & PushMessage;
export type ToLogic = { readonly to: "logic" } & LogicMessage;

type AccessMessage =
  | { readonly t: "register"; readonly conns: RegisterTuple[] }
  | { readonly t: "unregister"; readonly conns: ConnId[] }
  | { readonly t: "uplink"; readonly items: UplinkTuple[] }
  /** Typing and read signals of clients; their conversations' logic owners resolve them. */
  | { readonly t: "signals"; readonly items: SignalTuple[] }
  /** Gateway: what clients confirmed. */
  | { readonly t: "acks"; readonly items: [conn: ConnId, msgIds: string[]][] }
  /** Gateway: a connection wants the presence of these users. */
  | { readonly t: "watch"; readonly items: [conn: ConnId, users: string[]][] }
  /** Push: messages for sessions. */
  | { readonly t: "deliver"; readonly items: DeliverTuple[] }
  /** Push, or another access node: sessions to end. */
  | { readonly t: "close"; readonly conns: [Address, reason: CloseReason][] }
  /** Logic: frames for connections of `gateway`. */
  | { readonly t: "write"; readonly gateway: NodeId; readonly items: WriteTuple[] }
  /** Logic: a frame for all devices of users; never stored, best effort. */
  | { readonly t: "relay"; readonly items: RelayTuple[] }
  /** Push or logic: the partitions that the sender owns, in full, with their epochs. */
  | { readonly t: "claims"; readonly group: "logic" | "push"; readonly owned: [number, number][] };

type GatewayMessage =
  /** Answers `register`: the session epoch of each connection, or why it was refused. */
  | { readonly t: "registered"; readonly conns: RegisteredTuple[] }
  | { readonly t: "write"; readonly items: WriteTuple[] }
  /** Dropped for connections whose current epoch is another one. */
  | { readonly t: "deliver"; readonly items: DeliverTuple[] }
  | { readonly t: "close"; readonly conns: [Address, reason: CloseReason][] };

type PushMessage =
  /** What clients confirmed, by user, for the owner of the user's partition. */
  | { readonly t: "userAcks"; readonly items: [user: string, Address, msgIds: string[]][] }
  | { readonly t: "relay"; readonly items: RelayTuple[] }
  | { readonly t: "watch"; readonly items: [Address, users: string[]][] };

type LogicMessage = { readonly t: "signals"; readonly items: SignalTuple[] };
