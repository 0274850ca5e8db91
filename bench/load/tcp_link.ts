/** A TCP connection whose writes of one turn leave together. */
import type { Socket } from "bun";
import { present } from "../present.ts";
import type { Link, Outbox } from "./connection.ts";
import { failRun } from "./population.ts";

export class TcpLink implements Link {
  private socket: Socket | null = null;
  private rest: Buffer | null = null;
  private out: Buffer[] = [];
  private queued = false;
  private blocked = false;

  /** `onData` returns how many of the bytes it took; the others come again with the next ones. */
  constructor(
    private readonly outbox: Outbox,
    private readonly onData: (data: Buffer) => number,
  ) {}

  async connect(port: number): Promise<void> {
    this.socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        data: (_, chunk) => {
          const data = this.rest === null ? chunk : Buffer.concat([this.rest, chunk]);
          const taken = this.onData(data);
          this.rest = taken === data.length ? null : Buffer.from(data.subarray(taken));
        },
        drain: () => {
          this.blocked = false;
          this.flush();
        },
        close: () => failRun("a connection ended"),
      },
    });
  }

  write(frame: Buffer): void {
    this.out.push(frame);
    if (this.queued) return;
    this.queued = true;
    this.outbox.add(this);
  }

  flush(): void {
    this.queued = false;
    if (this.blocked || this.socket === null || this.out.length === 0) return;
    const data = this.out.length === 1 ? present(this.out[0]) : Buffer.concat(this.out);
    const written = Math.max(0, this.socket.write(data));
    this.blocked = written < data.length;
    this.out = this.blocked ? [Buffer.from(data.subarray(written))] : [];
  }
}
