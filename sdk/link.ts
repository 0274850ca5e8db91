/**
 * Keeps one connection: dials, waits for `welcome`, beats, notices silence, comes back. It promises
 * nothing about delivery: what it was given while not `ready` is dropped, and what was on its way
 * when a connection ended may or may not have arrived. The outbox and the acks repeat themselves.
 */
import { mayReconnect } from "../src/core/protocol/errors.ts";
import type { ClientFrameInput, ServerFrame } from "../src/core/protocol/frames.ts";
import { backoffMs } from "./backoff.ts";
import { ChatifyClientError } from "./client_error.ts";
import type { SdkClock, SdkTimer } from "./clock.ts";
import type { ClientState, SocketConstructor, SocketLike } from "./options.ts";
import { FRAME_BYTES_MAX, FRAMES_PER_MESSAGE_MAX, isSubprotocol, SUBPROTOCOL } from "./wire.ts";

/** From dialling to `welcome`; the server itself gives up after 15 000. */
const WELCOME_TIMEOUT_MS = 20_000;
/** From `ping` to anything at all. */
export const PONG_TIMEOUT_MS = 10_000;
/** From `bye` to the close; a server that forgets is closed from here. */
const BYE_GRACE_MS = 2_000;
/** A connection that lived this long forgives the failures before it; `welcome` all but these. */
const STABLE_MS = 10_000;
const FAILURES_AFTER_WELCOME_MAX = 3;
const TOKEN_EXPIRED = 4102;
const HEARTBEAT_TIMEOUT = 4003;

type Welcome = Extract<ServerFrame, { type: "welcome" }>;
type Bye = Extract<ServerFrame, { type: "bye" }>;

export interface LinkOptions {
  readonly url: string;
  readonly token: string | (() => string | Promise<string>);
  readonly WebSocket: SocketConstructor;
  readonly clock: SdkClock;
  readonly random: () => number;
}

export interface LinkHandlers {
  onState(state: ClientState): void;
  onWelcome(welcome: Welcome): void;
  onFrame(frame: ServerFrame): void;
  /** The server takes its leave: the last moment to write on this connection. */
  onBye(): void;
  /** A connection that had been welcomed is gone. */
  onDown(): void;
  onClosed(code: number, reason: string): void;
  onError(error: ChatifyClientError): void;
}

export class Link {
  readonly #options: LinkOptions;
  readonly #handlers: LinkHandlers;
  readonly #timers = new Map<string, SdkTimer>();
  #socket: SocketLike | undefined;
  /** Tells events of this connection from those of an earlier one. */
  #generation = 0;
  #welcomed = false;
  #ready = false;
  #attempt = 0;
  #ended = false;
  #bye: { frame: Bye; at: number } | undefined;
  #out: string[] = [];
  #frameBytesMax = FRAME_BYTES_MAX;
  #framesMax = FRAMES_PER_MESSAGE_MAX;
  /** Whether anything but heartbeats came and went since the last beat. */
  #heard = false;
  #spoke = false;

  constructor(options: LinkOptions, handlers: LinkHandlers) {
    this.#options = options;
    this.#handlers = handlers;
  }

  /** True between `welcome` and `bye` or the end of the connection. */
  get ready(): boolean {
    return this.#ready;
  }

  open(): void {
    const generation = ++this.#generation;
    this.#handlers.onState("connecting");
    this.#arm("welcome", WELCOME_TIMEOUT_MS, () => this.#down(1006, "no welcome in time"));
    this.#dial(generation).catch((thrown: unknown) => {
      if (generation !== this.#generation) return;
      const text = `could not dial: ${String(thrown)}`;
      const error = new ChatifyClientError("unavailable", text, true, { cause: thrown });
      this.#handlers.onError(error);
      this.#down(1006, text);
    });
  }

  /** Writes `frame` together with all others of this turn; dropped when not `ready`. */
  send(frame: ClientFrameInput): void {
    if (!this.#ready) return;
    if (frame.type !== "ping") this.#spoke = true;
    if (this.#out.push(JSON.stringify(frame)) === 1) queueMicrotask(() => this.flush());
  }

  flush(): void {
    const frames = this.#out;
    this.#out = [];
    let batch: string[] = [];
    let bytes = 0;
    for (const frame of frames) {
      // A UTF-16 unit takes at most three bytes in UTF-8, so this never underestimates.
      const more = frame.length * 3 + 1;
      if (batch.length === this.#framesMax || bytes + more > this.#frameBytesMax) {
        this.#write(batch);
        batch = [];
        bytes = 0;
      }
      batch.push(frame);
      bytes += more;
    }
    this.#write(batch);
  }

  /** Asks for a sign of life; without one in PONG_TIMEOUT_MS the connection is given up. */
  probe(): void {
    if (!this.#ready || this.#timers.has("pong")) return;
    this.send({ type: "ping" });
    this.#arm("pong", PONG_TIMEOUT_MS, () => this.#down(HEARTBEAT_TIMEOUT, "no pong in time"));
  }

  /** Ends for good, after writing what was given to send(). */
  close(): void {
    this.flush();
    this.#end(1000, "closed by the application");
  }

  async #dial(generation: number): Promise<void> {
    const { token, url, WebSocket } = this.#options;
    const text = typeof token === "function" ? await token() : token;
    if (generation !== this.#generation) return;
    const socket = isSubprotocol(text)
      ? new WebSocket(url, [SUBPROTOCOL, text])
      : new WebSocket(`${url}&token=${encodeURIComponent(text)}`, [SUBPROTOCOL]);
    this.#socket = socket;
    socket.onmessage = (event) => {
      if (generation === this.#generation) this.#receive(String(event.data));
    };
    socket.onclose = (event) => {
      if (generation === this.#generation) this.#down(event.code, event.reason);
    };
    // A close event follows every error event and says more.
    socket.onerror = () => {};
  }

  #receive(text: string): void {
    this.#disarm("pong");
    const generation = this.#generation;
    for (const frame of parse(text)) {
      if (generation !== this.#generation) return;
      if (frame.type !== "pong") this.#heard = true;
      if (frame.type === "welcome") this.#welcome(frame);
      else if (frame.type === "bye") this.#leave(frame);
      else if (this.#welcomed || frame.type === "error") this.#handlers.onFrame(frame);
    }
  }

  #welcome(frame: Welcome): void {
    this.#disarm("welcome");
    this.#welcomed = true;
    this.#ready = true;
    this.#attempt = Math.min(this.#attempt, FAILURES_AFTER_WELCOME_MAX);
    this.#frameBytesMax = frame.limits?.frame_bytes_max ?? FRAME_BYTES_MAX;
    this.#framesMax = frame.limits?.frames_per_message_max ?? FRAMES_PER_MESSAGE_MAX;
    this.#arm("stable", STABLE_MS, () => {
      this.#attempt = 0;
    });
    this.#beat(Math.max(1_000, frame.heartbeat_ms));
    this.#handlers.onWelcome(frame);
    if (this.#ready) this.#handlers.onState("online");
  }

  /** A silence in either direction is probed: the server closes mute clients, too. */
  #beat(ms: number): void {
    this.#heard = false;
    this.#spoke = false;
    this.#arm("beat", ms, () => {
      if (!this.#heard || !this.#spoke) this.probe();
      this.#beat(ms);
    });
  }

  #leave(frame: Bye): void {
    this.#handlers.onBye();
    this.flush();
    this.#ready = false;
    this.#bye = { frame, at: this.#options.clock.now() };
    this.#arm("bye", BYE_GRACE_MS, () => this.#down(1001, frame.reason));
  }

  #write(frames: string[]): void {
    if (frames.length === 0) return;
    this.#socket?.send(frames.length === 1 ? (frames[0] as string) : `[${frames.join(",")}]`);
  }

  #down(code: number, reason: string): void {
    if (!this.#mayReturn(code)) {
      this.#end(code, reason || (this.#bye?.frame.reason ?? ""));
      return;
    }
    const { clock, random } = this.#options;
    const hint = this.#bye?.frame.reconnect_after_ms;
    const waited = clock.now() - (this.#bye?.at ?? 0);
    const delay =
      hint === undefined ? backoffMs(this.#attempt++, random) : Math.max(0, hint - waited);
    this.#detach();
    this.#handlers.onState("offline");
    // A handler may have called close() just now, and that is the last word.
    if (!this.#ended) this.#arm("retry", delay, () => this.open());
  }

  #mayReturn(code: number): boolean {
    // A token function can bring what was missing, once: refused again, it is the end.
    if (code === TOKEN_EXPIRED) return this.#welcomed && typeof this.#options.token === "function";
    if (!mayReconnect(code)) return false;
    const sentAway = this.#bye !== undefined && this.#bye.frame.reconnect_after_ms === undefined;
    return !sentAway || (code >= 4000 && code <= 4099);
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#detach();
    this.#handlers.onState("closed");
    this.#handlers.onClosed(code, reason);
  }

  #detach(): void {
    this.#generation++;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    const socket = this.#socket;
    const wasUp = this.#welcomed;
    this.#socket = undefined;
    this.#welcomed = false;
    this.#ready = false;
    this.#bye = undefined;
    this.#out = [];
    socket?.close(1000);
    if (wasUp) this.#handlers.onDown();
  }

  #arm(name: string, ms: number, fn: () => void): void {
    this.#disarm(name);
    const timer = this.#options.clock.after(ms, () => {
      this.#timers.delete(name);
      fn();
    });
    this.#timers.set(name, timer);
  }

  #disarm(name: string): void {
    this.#timers.get(name)?.cancel();
    this.#timers.delete(name);
  }
}

/** The frames of one WebSocket message; what is none is skipped, as a newer server may send it. */
function parse(text: string): ServerFrame[] {
  try {
    const value: unknown = JSON.parse(text);
    const frames: unknown[] = Array.isArray(value) ? value : [value];
    return frames.filter((frame): frame is ServerFrame => {
      return typeof (frame as { type?: unknown } | null)?.type === "string";
    });
  } catch {
    return [];
  }
}
