/**
 * Many users on light connections: each notes the ids of what it gets, acks that, and connects again
 * when it is cut off, as a client does.
 */
import type { Message } from "../../src/core/protocol/message.ts";

const CONNECTING_MAX = 100;
const AGAIN_MS = 300;

class Member {
  /** Message ids by job or content, in the order in which they first came. */
  readonly ids = new Set<string>();
  frames = 0;
  socket: WebSocket | null = null;
  welcome: (() => void) | null = null;

  constructor(readonly user: string) {}
}

export class Crowd {
  private readonly members: Member[] = [];
  private closed = false;
  private turn = 0;

  private constructor(private readonly gateways: () => readonly string[]) {}

  /** Resolves when all of them have been welcomed. */
  static async connect(
    gateways: () => readonly string[],
    count: number,
    userOf: (i: number) => string,
  ): Promise<Crowd> {
    const crowd = new Crowd(gateways);
    const names = Array.from({ length: count }, (_, i) => userOf(i));
    const worker = async () => {
      for (let user = names.shift(); user !== undefined; user = names.shift()) {
        const member = new Member(user);
        crowd.members.push(member);
        await new Promise<void>((resolve) => {
          member.welcome = resolve;
          crowd.dial(member);
        });
      }
    };
    await Promise.all(Array.from({ length: CONNECTING_MAX }, worker));
    return crowd;
  }

  get frames(): number {
    return this.members.reduce((sum, { frames }) => sum + frames, 0);
  }

  /** How many got something. */
  users(): number {
    return this.members.filter(({ ids }) => ids.size > 0).length;
  }

  /** Users who got two different messages of one job: the first 17 characters of an id are the job. */
  faults(): string[] {
    return this.members.flatMap(({ ids, user }) => {
      const jobs = [...ids].map((id) => id.slice(0, 17));
      return new Set(jobs).size === jobs.length ? [] : [`${user} got ${[...ids].join()}`];
    });
  }

  close(): void {
    this.closed = true;
    for (const { socket } of this.members) socket?.close();
  }

  private dial(member: Member): void {
    const live = this.gateways();
    const host = live[this.turn++ % Math.max(1, live.length)] ?? "127.0.0.1:1";
    const path = `/chatify/access/v1/ws?token=dev:${member.user}:d1`;
    const socket = new WebSocket(`ws://${host}${path}`, "chatify.v1");
    member.socket = socket;
    socket.addEventListener("message", ({ data }) => this.onText(member, socket, String(data)));
    socket.addEventListener("close", () => {
      if (!this.closed) setTimeout(() => this.dial(member), AGAIN_MS);
    });
  }

  private onText(member: Member, socket: WebSocket, text: string): void {
    const value: unknown = JSON.parse(text);
    const acks: string[] = [];
    for (const frame of (Array.isArray(value) ? value : [value]) as Record<string, unknown>[]) {
      if (frame.type === "welcome") member.welcome?.();
      if (frame.type !== "message") continue;
      const { msg_id } = frame.message as Message;
      member.frames++;
      member.ids.add(msg_id);
      acks.push(msg_id);
    }
    if (acks.length > 0) socket.send(JSON.stringify({ type: "ack", msg_ids: acks }));
  }
}
