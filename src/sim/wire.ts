/**
 * A WebSocket between a simulated client and a gateway's hub, with the network between them: each
 * way keeps its order. What the client does not take in time fills a buffer of few texts, and past
 * that the gateway's `send` drops, as Bun's does.
 */
import type { ClientSocket, Connection, Identity } from "../roles/gateway/connection.ts";
import type { Hub } from "../roles/gateway/hub.ts";
import type { Host } from "./host.ts";
import type { SeededRandom } from "./seeded_random.ts";

export interface WireEnd {
  /** A text arrived. */
  onText(text: string): void;
  /** The connection is gone; the code is that of the WebSocket, 1006 for none. */
  onClose(code: number): void;
}

export interface WireOptions {
  readonly host: Host;
  readonly hub: Hub;
  readonly identity: Identity;
  readonly random: SeededRandom;
  readonly end: WireEnd;
  /** Texts that may be on their way down at once. */
  readonly bufferMax: number;
  /** What `send` returns for a text that it dropped. */
  readonly droppedSend: number;
}

const LOST = 1006;
/** After so long without a sign of life the gateway gives a client up. */
const IDLE_MS = 30_000;

export class Wire implements ClientSocket {
  private conn: Connection | null = null;
  private lastUp = 0;
  private lastDown = 0;
  private inBuffer = 0;
  /** False once this side has ended it, or has heard that it ended. */
  private clientOpen = true;
  private serverOpen = true;
  /** The client is gone without a word, or reads nothing. */
  private deaf = false;
  /** How long each text takes to be read beside its way. */
  readMs = 0;

  constructor(private readonly options: WireOptions) {
    this.upwards(() => {
      const { host, hub, identity } = this.options;
      if (!host.alive) {
        this.closeClient(LOST);
        return;
      }
      host.deliver("client", () => {
        if (!this.serverOpen) return;
        this.conn = hub.create(identity);
        hub.open(this.conn, this);
      });
    });
    options.host.whenKilled(() => this.downwards(1_200, () => this.closeClient(LOST)));
  }

  get isOpen(): boolean {
    return this.clientOpen;
  }

  /** The client sends. */
  write(text: string): void {
    if (!this.clientOpen) return;
    this.upwards(() => {
      const { host, hub } = this.options;
      host.deliver("client", () => {
        if (this.conn !== null && this.serverOpen) hub.receive(this.conn, text);
      });
    });
  }

  /** The client ends the connection, so that the gateway sees it. */
  end(): void {
    this.clientOpen = false;
    this.upwards(() => this.options.host.deliver("client", () => this.closeServer(LOST)));
  }

  /** The client is gone and nobody tells the gateway, which finds out late. */
  vanish(): void {
    this.clientOpen = false;
    this.deaf = true;
    const { host } = this.options;
    host.scheduler.after(IDLE_MS, () => host.deliver("client", () => this.closeServer(LOST)));
  }

  /** The gateway sends. */
  send(text: string): number {
    const { bufferMax, droppedSend } = this.options;
    if (this.inBuffer >= bufferMax) return droppedSend;
    this.inBuffer++;
    if (this.deaf) return -1;
    this.downwards(1, () => {
      this.inBuffer--;
      if (this.clientOpen && !this.deaf) this.options.end.onText(text);
    });
    return text.length;
  }

  /** The gateway closes, after what it sent. */
  close(code: number): void {
    if (!this.deaf) this.downwards(1, () => this.closeClient(code));
    const { host } = this.options;
    host.scheduler.after(0, () => host.deliver("client", () => this.closeServer(code)));
  }

  /** Something that another client was sent arrives here: for a planted bug. */
  leak(text: string): void {
    this.downwards(1, () => {
      if (this.clientOpen && !this.deaf) this.options.end.onText(text);
    });
  }

  private closeClient(code: number): void {
    if (!this.clientOpen) return;
    this.clientOpen = false;
    this.options.end.onClose(code);
  }

  private closeServer(code: number): void {
    if (!this.serverOpen) return;
    this.serverOpen = false;
    if (this.conn !== null) this.options.hub.ended(this.conn, code);
  }

  private upwards(fn: () => void): void {
    const { host, random } = this.options;
    const { scheduler } = host;
    this.lastUp = Math.max(this.lastUp, scheduler.now() + random.between(0.3, 3));
    scheduler.at(this.lastUp, fn);
  }

  private downwards(spread: number, fn: () => void): void {
    const { host, random } = this.options;
    const { scheduler } = host;
    const due = scheduler.now() + random.between(0.3, 2 + spread) + this.readMs;
    this.lastDown = Math.max(this.lastDown, due);
    scheduler.at(this.lastDown, fn);
  }
}
