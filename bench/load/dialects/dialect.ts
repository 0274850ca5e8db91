/**
 * How a server wants to be spoken to: the loops, the clock and the counting of the chat load are the
 * same for ours, the floor and every peer, and this is what differs.
 */
import type { ChatJob } from "../../job.ts";
import type { Link, Outbox } from "../connection.ts";

/** Content begins with the sender's index (6 digits), a counter (10) and microseconds (14). */
export const INDEX_DIGITS = 6;
export const COUNTER_DIGITS = 10;
export const STAMP_DIGITS = 30;

export interface Receiver {
  /** A delivery; `ackId` is what the client will ack it with. */
  onMessage(index: number, ackId: string, stamp: string): void;
  /** All that came at once, deliveries included. */
  onText(index: number, text: string): void;
}

/** The bytes of one message of one user; the places are patched for each, nothing is encoded. */
export interface Template {
  readonly frame: Buffer;
  /** Where counter and microseconds belong. */
  readonly stampAt: readonly number[];
  /** Where a number of two bytes belongs that no other message on the way has; or nowhere. */
  readonly packetIdAt: number | null;
}

export interface Dialect {
  /** Connects all users, in turn over the ports; resolves when all may send. */
  connect(job: ChatJob, outbox: Outbox, receiver: Receiver): Promise<Link[]>;
  template(index: number, job: ChatJob): Template;
  /** One frame for several acks; null where the protocol has none. */
  ack(ids: readonly string[]): Buffer | null;
}

/** The same content for everybody: the stamp, then text. */
export function bodyOf(index: number, bytes: number): string {
  return indexed(index).padEnd(bytes, "lorem ipsum dolor ");
}

export function indexed(index: number): string {
  return String(index).padStart(INDEX_DIGITS, "0").padEnd(STAMP_DIGITS, "0");
}

/** The places behind each occurrence of the index in `frame`. */
export function placesOf(frame: Buffer, index: number): number[] {
  const places: number[] = [];
  const text = indexed(index);
  for (let at = frame.indexOf(text); at >= 0; at = frame.indexOf(text, at + 1)) {
    places.push(at + INDEX_DIGITS);
    at += STAMP_DIGITS - 1;
  }
  return places;
}
