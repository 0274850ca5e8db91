/**
 * Sends that are not decided yet, in the order of their calls. Each is repeated with its own
 * client_msg_id until the server answers `sent` or a final `rejected`, or its deadline passes:
 * after a reconnect, a retryable refusal, `error outcome_unknown`, and a silence. The server knows
 * a repeated id for 24 hours, so repeating is always safe.
 *
 * Order: the sends to one target form a lane. Only the first `unacceptedPerTargetMax` of a lane are
 * on the wire, and one that was refused keeps its place, so those behind it wait for it.
 */
import type { SendFrameInput, ServerFrame } from "../src/core/protocol/frames.ts";
import { backoffMs } from "./backoff.ts";
import { ChatifyClientError } from "./client_error.ts";
import type { SdkClock, SdkTimer } from "./clock.ts";
import type { Link } from "./link.ts";
import type { ClientStats, SendResult } from "./options.ts";

/** From a send to its `accepted`, and from there to its `sent`; doubled at each repetition. */
export const SILENCE_MS = 5_000;
const SILENCE_MAX_MS = 30_000;

interface Send {
  readonly ordinal: number;
  readonly frame: SendFrameInput;
  readonly lane: Lane;
  readonly promise: Promise<SendResult>;
  readonly resolve: (result: SendResult) => void;
  readonly reject: (error: ChatifyClientError) => void;
  readonly onAccepted: (() => void) | undefined;
  readonly deadline: SdkTimer;
  state: "waiting" | "on_the_wire" | "accepted";
  announced: boolean;
  attempts: number;
  /** Silences on this connection; each one doubles the next. */
  silences: number;
  silence: SdkTimer | undefined;
}

/** Unaccepted sends to one target, oldest first. */
interface Lane {
  readonly key: string;
  readonly sends: Send[];
  /** Sends that belong here, the accepted ones included; without any the lane is dropped. */
  undecided: number;
  /** Set while the first of them must not be tried again yet. */
  held: SdkTimer | undefined;
}

type Reply<Type extends ServerFrame["type"]> = Extract<ServerFrame, { type: Type }>;

export interface OutboxOptions {
  readonly link: Pick<Link, "ready" | "send" | "probe">;
  readonly clock: SdkClock;
  readonly random: () => number;
  readonly stats: ClientStats;
  readonly queueMax: number;
  readonly deadlineMs: number;
  readonly unacceptedPerTargetMax: number;
  /** `callback` is what the caller of send() gave. */
  onAccepted(clientMsgId: string, callback: (() => void) | undefined): void;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #sends = new Map<string, Send>();
  readonly #lanes = new Map<string, Lane>();
  #ordinal = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** The same promise again for an id that is not decided yet. */
  add(frame: SendFrameInput, onAccepted: (() => void) | undefined): Promise<SendResult> {
    const id = frame.client_msg_id;
    const known = this.#sends.get(id);
    if (known !== undefined) return known.promise;
    const { clock, deadlineMs, queueMax } = this.#options;
    if (this.#sends.size >= queueMax) {
      const text = `${queueMax} sends are waiting already`;
      const more = { clientMsgId: id, retryAfterMs: SILENCE_MS };
      return Promise.reject(new ChatifyClientError("overloaded", text, true, more));
    }
    const send: Send = {
      ...Promise.withResolvers<SendResult>(),
      ordinal: this.#ordinal++,
      frame,
      lane: this.#laneOf(`${frame.target_type ?? "USER"}:${frame.to_user_id}`),
      onAccepted,
      deadline: clock.after(deadlineMs, () => this.#giveUp(send, `in ${deadlineMs} ms`)),
      state: "waiting",
      announced: false,
      attempts: 0,
      silences: 0,
      silence: undefined,
    };
    this.#sends.set(id, send);
    send.lane.sends.push(send);
    send.lane.undecided++;
    this.#advance(send.lane);
    return send.promise;
  }

  accepted(reply: Reply<"accepted">): void {
    const send = this.#sends.get(reply.client_msg_id);
    if (send === undefined) return;
    this.#announce(send);
    if (send.state === "accepted") return;
    send.state = "accepted";
    this.#expectReply(send);
    this.#leaveLane(send);
  }

  sent(reply: Reply<"sent">): void {
    const send = this.#sends.get(reply.client_msg_id);
    if (send === undefined) return;
    this.#options.stats.sent++;
    // `sent` says more than `accepted`, and may overtake it.
    this.#announce(send);
    const { type: _, ...result } = reply;
    this.#settle(send);
    send.resolve(result);
  }

  rejected(reply: Reply<"rejected">): void {
    const send = this.#sends.get(reply.client_msg_id);
    if (send === undefined) return;
    if (reply.retryable) {
      this.#tryLater(send, reply.retry_after_ms);
      return;
    }
    this.#settle(send);
    const more = { retryAfterMs: reply.retry_after_ms, clientMsgId: reply.client_msg_id };
    send.reject(new ChatifyClientError(reply.code, reply.message, false, more));
  }

  /** The server does not know what became of some sends: every unaccepted one is tried again. */
  outcomeUnknown(retryAfterMs: number | undefined): void {
    for (const send of this.#sends.values()) {
      if (send.state === "on_the_wire") this.#tryLater(send, retryAfterMs);
    }
  }

  /** A new connection: everything undecided starts again, in its first order. */
  restart(): void {
    for (const lane of this.#lanes.values()) {
      lane.held?.cancel();
      lane.held = undefined;
      lane.sends.length = 0;
    }
    for (const send of this.#sends.values()) {
      this.#wait(send);
      send.silences = 0;
      send.lane.sends.push(send);
    }
    for (const lane of this.#lanes.values()) this.#advance(lane);
  }

  /** The connection is gone: nothing is expected on it any more. */
  pause(): void {
    for (const send of this.#sends.values()) send.silence?.cancel();
  }

  close(): void {
    for (const send of this.#sends.values()) this.#giveUp(send, "before the client was closed");
  }

  #laneOf(key: string): Lane {
    const known = this.#lanes.get(key);
    if (known !== undefined) return known;
    const lane: Lane = { key, sends: [], undecided: 0, held: undefined };
    this.#lanes.set(key, lane);
    return lane;
  }

  #advance(lane: Lane): void {
    const { link, unacceptedPerTargetMax } = this.#options;
    if (!link.ready || lane.held !== undefined) return;
    for (const send of lane.sends.slice(0, unacceptedPerTargetMax)) {
      if (send.state === "waiting") this.#write(send);
    }
  }

  #write(send: Send): void {
    if (send.state === "waiting") send.state = "on_the_wire";
    if (send.attempts++ > 0) this.#options.stats.retries++;
    this.#options.link.send(send.frame);
    this.#expectReply(send);
  }

  #expectReply(send: Send): void {
    send.silence?.cancel();
    const ms = Math.min(SILENCE_MAX_MS, SILENCE_MS * 2 ** Math.min(send.silences, 8));
    send.silence = this.#options.clock.after(ms, () => {
      if (!this.#options.link.ready) return;
      // The silence may be the connection's rather than this message's.
      this.#options.link.probe();
      send.silences++;
      this.#write(send);
    });
  }

  #tryLater(send: Send, afterMs: number | undefined): void {
    const { clock, random } = this.#options;
    const lane = send.lane;
    if (send.state === "accepted") {
      const behind = lane.sends.findIndex((other) => other.ordinal > send.ordinal);
      lane.sends.splice(behind < 0 ? lane.sends.length : behind, 0, send);
    }
    this.#wait(send);
    lane.held?.cancel();
    lane.held = clock.after(afterMs ?? backoffMs(send.attempts, random), () => {
      lane.held = undefined;
      this.#advance(lane);
    });
  }

  #wait(send: Send): void {
    send.state = "waiting";
    send.silence?.cancel();
  }

  #announce(send: Send): void {
    if (send.announced) return;
    send.announced = true;
    this.#options.onAccepted(send.frame.client_msg_id, send.onAccepted);
  }

  #leaveLane(send: Send): void {
    const { lane } = send;
    const index = lane.sends.indexOf(send);
    if (index >= 0) lane.sends.splice(index, 1);
    this.#advance(lane);
  }

  #settle(send: Send): void {
    send.deadline.cancel();
    send.silence?.cancel();
    this.#sends.delete(send.frame.client_msg_id);
    this.#leaveLane(send);
    if (--send.lane.undecided > 0) return;
    send.lane.held?.cancel();
    this.#lanes.delete(send.lane.key);
  }

  #giveUp(send: Send, when: string): void {
    const tried = send.attempts > 0;
    this.#settle(send);
    const text = `${tried ? "no final answer" : "not connected"} ${when}`;
    const more = { clientMsgId: send.frame.client_msg_id };
    const code = tried ? "outcome_unknown" : "unavailable";
    send.reject(new ChatifyClientError(code, text, true, more));
  }
}
