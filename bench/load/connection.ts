/**
 * One WebSocket client over plain TCP. What is written in a turn of the event loop leaves in one
 * system call, as a client library's corked socket would do it.
 */
import type { Socket } from "bun";
import { present } from "../present.ts";
import { FrameReader, OPCODE_CLOSE, OPCODE_PING, OPCODE_TEXT, pongFrame } from "./frames.ts";

export interface Handshake {
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface ConnectionEvents {
  /** The server switched protocols. */
  onOpen(): void;
  /** The bytes are the socket's: to be read at once. */
  onText(data: Buffer, start: number, end: number): void;
  onEnd(reason: string): void;
}

/** Where frames are written to: a connection of whatever protocol. */
export interface Link {
  /** Takes the bytes as they are: they must not change until the end of the turn. */
  write(frame: Buffer): void;
  /** Writes what waits; for the outbox. */
  flush(): void;
}

/** A key is to keep caches from answering, which nobody between here and loopback does. */
const KEY = "Y2hhdGlmeS1iZW5jaC0wMA==";
const HEAD_END = "\r\n\r\n";

export class Connection implements Link {
  private socket: Socket | null = null;
  private readonly reader = new FrameReader();
  private head: Buffer | null = Buffer.alloc(0);
  private out: Buffer[] = [];
  private outBytes = 0;
  private queued = false;
  private blocked = false;
  private ended = false;

  constructor(
    private readonly outbox: Outbox,
    private readonly handshake: Handshake,
    private readonly events: ConnectionEvents,
  ) {}

  async connect(): Promise<void> {
    const socket = {
      data: (_: Socket, chunk: Buffer) => this.onData(chunk),
      drain: () => this.unblock(),
      close: () => this.end("closed"),
      error: (_: Socket, error: Error) => this.end(error.message),
    };
    this.socket = await Bun.connect({ hostname: "127.0.0.1", port: this.handshake.port, socket });
    const { headers, path, port } = this.handshake;
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    this.socket.write(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\n` +
        `Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n` +
        `${lines.join("")}\r\n`,
    );
  }

  write(frame: Buffer): void {
    this.out.push(frame);
    this.outBytes += frame.length;
    if (this.queued) return;
    this.queued = true;
    this.outbox.add(this);
  }

  flush(): void {
    this.queued = false;
    if (this.blocked || this.ended || this.socket === null || this.outBytes === 0) return;
    const data =
      this.out.length === 1 ? present(this.out[0]) : Buffer.concat(this.out, this.outBytes);
    const written = this.socket.write(data);
    this.blocked = written < data.length;
    this.out = this.blocked ? [Buffer.from(data.subarray(Math.max(0, written)))] : [];
    this.outBytes = this.blocked ? data.length - Math.max(0, written) : 0;
  }

  close(): void {
    this.ended = true;
    this.socket?.terminate();
  }

  private unblock(): void {
    this.blocked = false;
    this.flush();
  }

  private onData(chunk: Buffer): void {
    if (this.head === null) {
      this.reader.read(chunk, this.onFrame);
      return;
    }
    this.head = Buffer.concat([this.head, chunk]);
    const end = this.head.indexOf(HEAD_END);
    if (end < 0) return;
    const head = this.head.toString("latin1", 0, end);
    const rest = this.head.subarray(end + HEAD_END.length);
    if (!head.startsWith("HTTP/1.1 101")) {
      this.end(`${head.split("\r\n", 1)[0]} ${rest}`);
      return;
    }
    this.head = null;
    this.events.onOpen();
    if (rest.length > 0) this.reader.read(rest, this.onFrame);
  }

  private readonly onFrame = (opcode: number, data: Buffer, start: number, end: number): void => {
    if (opcode === OPCODE_TEXT) this.events.onText(data, start, end);
    else if (opcode === OPCODE_PING) this.write(pongFrame(data.subarray(start, end)));
    else if (opcode === OPCODE_CLOSE) {
      const code = end - start >= 2 ? data.readUInt16BE(start) : 1_005;
      this.end(`the server closed with ${code}`);
    }
  };

  private end(reason: string): void {
    if (this.ended) return;
    this.close();
    this.events.onEnd(reason);
  }
}

/** Links that have something to write at the end of this turn. */
export class Outbox {
  private waiting: Link[] = [];

  add(link: Link): void {
    this.waiting.push(link);
    if (this.waiting.length === 1) setImmediate(this.flush);
  }

  private readonly flush = (): void => {
    const now = this.waiting;
    this.waiting = [];
    for (const link of now) link.flush();
  };
}
