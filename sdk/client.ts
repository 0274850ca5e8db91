/** The client: wires link, outbox, inbox and acks together and is what the application holds. */
import type { ClientFrameInput, ServerFrame } from "../src/core/protocol/frames.ts";
import { Acks } from "./acks.ts";
import { ChatifyClientError } from "./client_error.ts";
import { type SdkClock, systemClock, systemRandom, uniqueToken } from "./clock.ts";
import { Emitter, type Handler } from "./emitter.ts";
import { Inbox } from "./inbox.ts";
import { Link } from "./link.ts";
import type {
  ClientEvents,
  ClientState,
  ClientStats,
  ConnectOptions,
  SendOptions,
  SendResult,
  SocketConstructor,
  TargetType,
} from "./options.ts";
import { Outbox } from "./outbox.ts";
import { Watches } from "./watches.ts";
import { CLIENT_MSG_ID_CHARS_MAX, CONTENT_CHARS_MAX, websocketUrl } from "./wire.ts";

/** The server forgets a client_msg_id after 24 hours; a later retry would be another message. */
const SEND_DEADLINE_MAX_MS = 86_400_000;
/** How long close() waits for the handlers that run. */
const CLOSE_GRACE_MS = 2_000;

export class ChatifyClient {
  readonly deviceId: string;
  readonly #clock: SdkClock;
  readonly #instance = uniqueToken();
  readonly #stats: ClientStats = {
    sent: 0,
    retries: 0,
    received: 0,
    duplicates: 0,
    refused: 0,
    acked: 0,
    connections: 0,
  };
  readonly #events: Emitter<ClientEvents>;
  readonly #link: Link;
  readonly #outbox: Outbox;
  readonly #inbox: Inbox;
  readonly #acks: Acks;
  readonly #watches: Watches;
  #state: ClientState = "connecting";
  #userId: string | undefined;
  #counter = 0;
  #closing: Promise<void> | undefined;

  constructor(options: ConnectOptions) {
    const clock = options.clock ?? systemClock;
    const random = options.random ?? systemRandom;
    this.#clock = clock;
    this.deviceId = options.deviceId ?? this.#instance;
    this.#events = new Emitter((name, thrown) => {
      // A failing error handler has nobody left to tell.
      if (name !== "error") this.#fail(`a handler of "${name}" failed`, thrown);
    });
    this.#link = this.#createLink(options, clock, random);
    this.#acks = new Acks(this.#link, clock, this.#stats);
    this.#watches = new Watches(this.#link, clock);
    this.#outbox = new Outbox({
      link: this.#link,
      clock,
      random,
      stats: this.#stats,
      queueMax: options.queueMax ?? 1_000,
      deadlineMs: Math.min(options.sendDeadlineMs ?? 60_000, SEND_DEADLINE_MAX_MS),
      unacceptedPerTargetMax: Math.max(1, options.unacceptedPerTargetMax ?? 1),
      onAccepted: (clientMsgId, callback) => this.#accepted(clientMsgId, callback),
    });
    this.#inbox = new Inbox({
      stats: this.#stats,
      conversationsMax: options.conversationsMax ?? 10_000,
      handler: () => this.#messageHandler(),
      ack: (msgId) => this.#acks.add(msgId),
      onFailure: (message, thrown) => {
        this.#fail(`the handler of message ${message.msg_id} failed; it stays unacked`, thrown);
      },
    });
    this.#link.open();
  }

  get state(): ClientState {
    return this.#state;
  }

  /** Who the token says we are; undefined before the first welcome. */
  get userId(): string | undefined {
    return this.#userId;
  }

  stats(): Readonly<ClientStats> {
    return { ...this.#stats };
  }

  /** Returns the function that takes the handler away again. */
  on<Name extends keyof ClientEvents>(
    name: Name,
    handler: Handler<ClientEvents[Name]>,
  ): () => void {
    const off = this.#events.on(name, handler);
    // Messages wait for their first listener rather than being acked unseen.
    if (name === "message") this.#inbox.resume();
    return off;
  }

  /**
   * Resolves when the message has its number. Rejects with a ChatifyClientError: with the server's
   * code when it refused for good; with `too_large`, `bad_request` or `overloaded` before anything
   * was sent; after the deadline or close() with `unavailable` (never sent) or `outcome_unknown`
   * (the recipient may get it: send again with `error.clientMsgId` to find out).
   */
  async send(options: SendOptions): Promise<SendResult> {
    const clientMsgId =
      options.clientMsgId ?? `${this.#instance}-${(++this.#counter).toString(36)}`;
    const refuse = (code: "too_large" | "bad_request" | "unavailable", text: string): never => {
      throw new ChatifyClientError(code, text, false, { clientMsgId });
    };
    if (this.#closing !== undefined || this.#state === "closed") {
      refuse("unavailable", "the client is closed");
    }
    if (options.content.length > CONTENT_CHARS_MAX) {
      refuse("too_large", `content is longer than ${CONTENT_CHARS_MAX}`);
    }
    if (options.to === "") refuse("bad_request", "the target is empty");
    if (clientMsgId === "" || clientMsgId.length > CLIENT_MSG_ID_CHARS_MAX) {
      refuse("bad_request", `clientMsgId takes 1 to ${CLIENT_MSG_ID_CHARS_MAX} characters`);
    }
    const frame = {
      type: "send" as const,
      client_msg_id: clientMsgId,
      message_type: options.messageType ?? ("CHAT" as const),
      target_type: options.targetType ?? ("USER" as const),
      to_user_id: options.to,
      content: options.content,
      ...(options.expireTime === undefined ? {} : { expire_time: options.expireTime }),
    };
    return this.#outbox.add(frame, options.onAccepted);
  }

  /** Tells a user or group that we are typing; false, and nothing, while not online. */
  typing(to: string, targetType: TargetType = "USER"): boolean {
    return this.#signal({ type: "typing", target_type: targetType, to_user_id: to });
  }

  /** Tells them that we have read up to `seq`; false, and nothing, while not online. */
  read(to: string, seq: number, targetType: TargetType = "USER"): boolean {
    return this.#signal({ type: "read", target_type: targetType, to_user_id: to, seq });
  }

  /** From now on `presence` events tell of these users, across reconnects, until unwatch(). */
  watch(userIds: readonly string[]): void {
    this.#watches.add(userIds);
  }

  /** Stops asking; events may go on until the server's watch ends, at most five minutes later. */
  unwatch(userIds: readonly string[]): void {
    this.#watches.remove(userIds);
  }

  /**
   * Acks what was handled, waits up to 2 s for handlers that run and acks those, too; then ends the
   * connection. Sends that are not decided reject. The acks of what is handled already are written
   * before it returns, so a page may call it while it goes away.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const running = this.#inbox.close();
    this.#acks.flush();
    this.#link.flush();
    if (running !== undefined) {
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = this.#clock.after(CLOSE_GRACE_MS, resolve);
      await Promise.race([running, late]);
      timer.cancel();
      this.#acks.flush();
    }
    this.#link.close();
  }

  #createLink(options: ConnectOptions, clock: SdkClock, random: () => number): Link {
    // The platform's type is wider than what the SDK uses of it.
    const platform = globalThis.WebSocket as unknown as SocketConstructor | undefined;
    const WebSocket = options.WebSocket ?? platform;
    if (WebSocket === undefined) {
      throw new TypeError(
        "no WebSocket on this platform (Node has one from 22): pass options.WebSocket",
      );
    }
    const url = websocketUrl(options.url, this.deviceId);
    const linkOptions = { url, token: options.token, WebSocket, clock, random };
    return new Link(linkOptions, {
      onState: (state) => this.#setState(state),
      onWelcome: (welcome) => {
        this.#stats.connections++;
        this.#userId = welcome.user_id;
        this.#acks.flush();
        this.#outbox.restart();
        this.#watches.restart();
      },
      onFrame: (frame) => this.#receive(frame),
      onBye: () => this.#acks.flush(),
      onDown: () => {
        this.#outbox.pause();
        this.#watches.pause();
      },
      onClosed: (code, reason) => {
        // Whoever ended it, nothing is taken or sent from here on.
        this.#closing ??= Promise.resolve();
        void this.#inbox.close();
        this.#outbox.close();
        this.#events.emit("closed", { code, reason });
      },
      onError: (error) => this.#events.emit("error", error),
    });
  }

  #receive(frame: ServerFrame): void {
    if (frame.type === "message") this.#inbox.receive(frame.message);
    else if (frame.type === "accepted") this.#outbox.accepted(frame);
    else if (frame.type === "sent") this.#outbox.sent(frame);
    else if (frame.type === "rejected") this.#outbox.rejected(frame);
    else if (frame.type === "typing") this.#events.emit("typing", frame);
    else if (frame.type === "read") this.#events.emit("read", frame);
    else if (frame.type === "presence") this.#events.emit("presence", frame);
    else if (frame.type === "error") {
      const { code, message, retryable, retry_after_ms: retryAfterMs } = frame;
      if (code === "outcome_unknown") this.#outbox.outcomeUnknown(retryAfterMs);
      // What was accepted may be gone as well: everything without a number starts again.
      if (code === "data_lost") this.#outbox.restart();
      const error = new ChatifyClientError(code, message, retryable, { retryAfterMs });
      this.#events.emit("error", error);
    }
  }

  #signal(frame: ClientFrameInput): boolean {
    if (!this.#link.ready) return false;
    this.#link.send(frame);
    return true;
  }

  #accepted(clientMsgId: string, callback: (() => void) | undefined): void {
    try {
      callback?.();
    } catch (thrown) {
      this.#fail(`onAccepted of ${clientMsgId} failed`, thrown);
    }
    this.#events.emit("accepted", { client_msg_id: clientMsgId });
  }

  #messageHandler(): ((message: ClientEvents["message"]) => Promise<void>) | undefined {
    const handlers = this.#events.handlers("message");
    if (handlers.length === 0) return undefined;
    return async (message) => {
      await Promise.all(handlers.map((handler) => handler(message)));
    };
  }

  #setState(state: ClientState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#events.emit("state", state);
  }

  #fail(text: string, cause: unknown): void {
    const error = new ChatifyClientError("internal", `${text}: ${String(cause)}`, false, { cause });
    this.#events.emit("error", error);
  }
}
