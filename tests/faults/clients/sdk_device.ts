/**
 * A device that runs the SDK. A new login is a new instance of it; what the last one had not decided
 * is sent again under the same client message ids.
 */
import { type ChatifyClient, ChatifyClientError, connect } from "../../../sdk/chatify.ts";
import { writeDevToken } from "../../../src/core/auth/dev_tokens.ts";
import type { Device, DeviceDeps, Submission } from "./device.ts";
import { BALANCER, type RecordingSocket, socketConstructor } from "./recording_socket.ts";

const TRIES_MAX = 4;
const REPEATED = new Set(["outcome_unknown", "unavailable", "overloaded"]);

export class SdkDevice implements Device {
  readonly software = "sdk";
  private client: ChatifyClient | null = null;
  private socket: RecordingSocket | null = null;
  private readonly open = new Map<string, { submission: Submission; tries: number }>();
  private dying: number | null = null;
  private stopped = false;

  constructor(
    readonly user: string,
    readonly device: string,
    private readonly deps: DeviceDeps,
  ) {
    this.comeBack();
  }

  get online(): boolean {
    return this.client?.state === "online";
  }

  get undecided(): number {
    return this.open.size;
  }

  submit(submission: Submission): void {
    this.open.set(submission.op, { submission, tries: 0 });
    this.send(submission.op);
  }

  leave(how: "close" | "kill"): void {
    const { client } = this;
    this.client = null;
    if (how === "kill") this.socket?.kill();
    void client?.close();
  }

  comeBack(): void {
    if (this.client !== null || this.stopped) return;
    const { user, device } = this;
    const recording = {
      ...this.deps,
      party: { user, device },
      onDial: (socket: RecordingSocket) => {
        this.socket = socket;
      },
      onDelivered: (socket: RecordingSocket) => this.delivered(socket),
    };
    const client = connect({
      url: `ws://${BALANCER}`,
      token: writeDevToken(user),
      deviceId: device,
      WebSocket: socketConstructor(recording),
    });
    this.client = client;
    const handled = new Set<string>();
    client.on("message", ({ msg_id }) => {
      if (handled.has(msg_id)) this.deps.log.handedTwice.push(`${user}/${device} ${msg_id}`);
      handled.add(msg_id);
    });
    client.on("closed", () => this.sentAway(client));
    for (const op of [...this.open.keys()]) this.send(op);
  }

  dieBeforeAck(backAfterMs: number): void {
    this.dying = backAfterMs;
  }

  loginAgain(): void {
    const old = this.client;
    this.client = null;
    this.comeBack();
    // The first instance is told that it was replaced, or is closed here in the end.
    setTimeout(() => void old?.close(), 3_000);
  }

  forgeAcks(msgIds: readonly string[]): void {
    this.socket?.send(JSON.stringify({ type: "ack", msg_ids: msgIds }));
  }

  stop(): void {
    this.stopped = true;
    this.leave("close");
  }

  private send(op: string): void {
    const { client } = this;
    const entry = this.open.get(op);
    if (client === null || entry === undefined) return;
    entry.tries++;
    const { content, expireTime, target: targetType, to } = entry.submission;
    client.send({ to, targetType, content, clientMsgId: op, expireTime }).then(
      () => void this.open.delete(op),
      (error: unknown) => this.failed(client, op, error),
    );
  }

  private failed(client: ChatifyClient, op: string, error: unknown): void {
    const entry = this.open.get(op);
    if (entry === undefined) return;
    const repeats = error instanceof ChatifyClientError && REPEATED.has(error.code);
    if (!repeats || !entry.submission.retried || entry.tries >= TRIES_MAX) {
      this.open.delete(op);
    } else if (client === this.client) {
      this.send(op);
    }
  }

  private delivered(socket: RecordingSocket): void {
    const { dying } = this;
    if (dying === null || socket !== this.socket) return;
    this.dying = null;
    this.leave("kill");
    setTimeout(() => this.comeBack(), dying);
  }

  /** The server said that coming back will not help; a person would start the application again. */
  private sentAway(client: ChatifyClient): void {
    if (client !== this.client) return;
    this.client = null;
    setTimeout(() => this.comeBack(), 1_000);
  }
}
