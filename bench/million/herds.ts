/** All herds: who of them has room for more users, and what they saw together. */
import { join } from "node:path";
import { present } from "../present.ts";
import { JWT_SECRET, WS_PATH } from "../targets/target.ts";
import type { Failures, HerdJob, HerdReport, Order } from "./orders.ts";

/** A process may have 20 000 files open. */
export const HERD_USERS_MAX = 19_000;
/** Handshakes under way at once, of all herds together. */
const HANDSHAKES_AT_ONCE = 300;

interface Member {
  readonly child: Bun.Subprocess<"pipe", "pipe", "inherit">;
  users: number;
  report: HerdReport | null;
}

export interface Totals {
  readonly here: number;
  readonly messages: number;
  readonly repeated: number;
  readonly pings: number;
  readonly ended: number;
  readonly byes: number;
  readonly failed: Failures;
}

export class Herds {
  private readonly members: Member[] = [];
  private closing = false;

  pids(): number[] {
    return this.members.map(({ child }) => child.pid);
  }

  /** Connects `users` more, as `rooms` (port → users that it still takes) allows; updates `rooms`. */
  connect(users: number, rooms: Map<number, number>): void {
    const parts: [Member, number][] = [];
    for (let left = users; left > 0; ) {
      const member = this.withRoom();
      const part = Math.min(left, HERD_USERS_MAX - member.users);
      member.users += part;
      left -= part;
      parts.push([member, part]);
    }
    const atOnce = Math.max(2, Math.floor(HANDSHAKES_AT_ONCE / parts.length));
    this.tellPorts([...rooms.keys()]);
    for (const [member, part] of parts) {
      tell(member, { order: "connect", to: spread(part, rooms), atOnce });
    }
  }

  /** Where those who lose their connection go from now on. */
  tellPorts(ports: readonly number[]): void {
    for (const member of this.members) tell(member, { order: "ports", ports });
  }

  totals(): Totals {
    const sum = (pick: (report: HerdReport) => number) =>
      this.members.reduce((total, { report }) => total + (report === null ? 0 : pick(report)), 0);
    return {
      here: sum(({ here }) => here),
      messages: sum(({ messages }) => messages),
      repeated: sum(({ repeated }) => repeated),
      pings: sum(({ pings }) => pings),
      ended: sum(({ ended }) => ended),
      byes: sum(({ byes }) => byes),
      failed: {
        refused: sum(({ failed }) => failed.refused),
        unanswered: sum(({ failed }) => failed.unanswered),
        unwelcomed: sum(({ failed }) => failed.unwelcomed),
      },
    };
  }

  /** Of all users: the worst herd's percentiles, because histograms of processes cannot be joined. */
  times(which: "welcomeMs" | "awayMs"): { p50: number; p99: number; max: number } {
    const all = this.members.flatMap(({ report }) => (report === null ? [] : [report[which]]));
    const worst = (pick: (figures: (typeof all)[number]) => number) =>
      Math.max(0, ...all.map(pick));
    return { p50: worst(({ p50 }) => p50), p99: worst(({ p99 }) => p99), max: worst((f) => f.max) };
  }

  async stop(): Promise<void> {
    this.closing = true;
    for (const { child } of this.members) child.kill("SIGKILL");
    await Promise.all(this.members.map(({ child }) => child.exited));
  }

  private withRoom(): Member {
    const last = this.members.at(-1);
    if (last !== undefined && last.users < HERD_USERS_MAX) return last;
    const herd = this.members.length;
    const job: HerdJob = {
      firstUser: herd * HERD_USERS_MAX,
      path: WS_PATH,
      secret: JWT_SECRET,
      herd,
    };
    const child = Bun.spawn(
      ["bun", "--smol", join(import.meta.dir, "herd_main.ts"), JSON.stringify(job)],
      { stdin: "pipe", stdout: "pipe", stderr: "inherit" },
    );
    const member: Member = { child, users: 0, report: null };
    this.members.push(member);
    void this.listen(member);
    return member;
  }

  private async listen(member: Member): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of member.child.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      const last = lines.at(-1);
      if (last !== undefined) member.report = JSON.parse(last) as HerdReport;
    }
    if (!this.closing) process.stderr.write("a herd of clients ended by itself\n");
  }
}

function tell(member: Member, order: Order): void {
  member.child.stdin.write(`${JSON.stringify(order)}\n`);
  void member.child.stdin.flush();
}

/** In proportion to the room that each has. */
function spread(users: number, rooms: Map<number, number>): [port: number, users: number][] {
  const total = [...rooms.values()].reduce((sum, room) => sum + room, 0);
  if (total < users) throw new Error("the gateways have no room for so many");
  const parts = new Map<number, number>();
  let left = users;
  for (const [port, room] of rooms) {
    const part = Math.floor((users * room) / total);
    parts.set(port, part);
    left -= part;
  }
  for (const [port, room] of rooms) {
    const more = Math.min(left, room - present(parts.get(port)));
    parts.set(port, present(parts.get(port)) + more);
    left -= more;
  }
  for (const [port, part] of parts) rooms.set(port, present(rooms.get(port)) - part);
  return [...parts].filter(([, part]) => part > 0);
}
