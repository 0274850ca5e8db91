/** One HTTP/1.1 connection over plain TCP with one request on the way at a time. */
import type { Socket } from "bun";
import { failRun } from "./population.ts";

const HEAD_END = "\r\n\r\n";

export class HttpClient {
  private socket: Socket | null = null;
  private rest = "";

  /** `onAnswer` is told the status of each answer, and may send the next request. */
  constructor(private readonly onAnswer: (status: number, body: string) => void) {}

  async connect(port: number): Promise<void> {
    this.socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        data: (_, chunk) => this.read(chunk.toString("latin1")),
        close: () => failRun("an HTTP connection ended"),
      },
    });
  }

  /** A request is far smaller than a socket's buffer, so it is written whole. */
  send(request: string): void {
    this.socket?.write(request);
  }

  private read(text: string): void {
    this.rest += text;
    const end = this.rest.indexOf(HEAD_END);
    if (end < 0) return;
    const length = Number(/content-length: *(\d+)/i.exec(this.rest.slice(0, end))?.[1] ?? 0);
    const whole = end + HEAD_END.length + length;
    if (this.rest.length < whole) return;
    const status = Number(this.rest.slice(9, 12));
    const body = this.rest.slice(end + HEAD_END.length, whole);
    this.rest = this.rest.slice(whole);
    this.onAnswer(status, body);
  }
}
