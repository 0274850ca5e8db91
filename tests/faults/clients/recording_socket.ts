/**
 * A WebSocket that dials whichever gateway is next, as behind a load balancer, and writes down what
 * passes through it in both directions before anybody else sees it.
 */
import type { SocketConstructor } from "../../../sdk/options.ts";
import type { Message } from "../../../src/core/protocol/message.ts";
import type { Frame } from "../../integration/raw_client.ts";
import type { ClientLog, Party } from "./client_log.ts";

/** The host that a recording socket replaces by a gateway's. */
export const BALANCER = "balancer.invalid";

export interface Recording {
  readonly log: ClientLog;
  readonly party: Party;
  readonly gateway: () => string;
  /** The socket that was dialled last. */
  onDial?(socket: RecordingSocket): void;
  /** A message was written down; the client has not seen it yet. */
  onDelivered?(socket: RecordingSocket): void;
}

export class RecordingSocket extends WebSocket {
  readonly number: number;
  /** The client has ended it, one way or another: nothing passes any more. */
  private gone = false;
  private welcomed = false;

  constructor(
    url: string,
    protocols: string[],
    private readonly recording: Recording,
  ) {
    super(url.replace(BALANCER, recording.gateway()), protocols);
    const { log, party } = recording;
    this.number = log.nextConnection(party);
    this.addEventListener("message", (event) => this.incoming(String(event.data)));
    this.addEventListener("close", (event) => this.ended(event.code));
    // A close event follows.
    this.addEventListener("error", () => {});
    recording.onDial?.(this);
  }

  get isGone(): boolean {
    return this.gone;
  }

  override send(text: string): void {
    if (this.gone || this.readyState !== WebSocket.OPEN) return;
    for (const frame of framesOf(text)) {
      if (frame.type === "send") this.recording.log.sent(this.recording.party, frame);
    }
    super.send(text);
  }

  override close(code?: number, reason?: string): void {
    this.ended(0);
    super.close(code, reason);
  }

  /** Ends without a word, as a client that is killed does. */
  kill(): void {
    this.ended(0);
    (this as unknown as { terminate(): void }).terminate();
  }

  private incoming(text: string): void {
    if (this.gone) return;
    const { log, party } = this.recording;
    let delivered = false;
    for (const frame of framesOf(text)) {
      if (frame.type === "message") {
        log.delivered(party, this.number, frame.message as Message);
        delivered = true;
      } else if (frame.type === "welcome") {
        this.welcomed = true;
        log.welcomed(party, this.number);
      } else if (frame.type === "accepted" || frame.type === "sent" || frame.type === "rejected") {
        log.answered(party, frame);
      }
    }
    if (delivered) this.recording.onDelivered?.(this);
  }

  private ended(code: number): void {
    if (this.gone) return;
    this.gone = true;
    if (this.welcomed) this.recording.log.closed(this.recording.party, this.number, code);
  }
}

/** For the SDK, which is given a constructor. */
export function socketConstructor(recording: Recording): SocketConstructor {
  class Recorded extends RecordingSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols, recording);
    }
  }
  return Recorded as unknown as SocketConstructor;
}

export function framesOf(text: string): Frame[] {
  const value: unknown = JSON.parse(text);
  return (Array.isArray(value) ? value : [value]) as Frame[];
}
