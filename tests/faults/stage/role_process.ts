/**
 * One process of one role, and what supervises it: it is started again on the same ports whenever it
 * ends, as a container would be. How it ended, and whether anybody had asked for that, is kept.
 */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { PROJECT } from "../../integration/process_program.ts";

export interface RoleProcessOptions {
  readonly name: string;
  readonly role: string;
  readonly env: Readonly<Record<string, string>>;
  readonly adminPort: number;
  readonly logPath: string;
  readonly now: () => number;
}

export interface Exit {
  readonly at: number;
  readonly name: string;
  readonly pid: number;
  readonly code: number;
  /** Somebody here sent it the signal that it ended by. */
  readonly asked: boolean;
}

export interface Usage {
  readonly at: number;
  readonly rssBytes: number;
  readonly descriptors: number;
}

const RESTART_MS = 200;
const POLL_MS = 40;

export class RoleProcess {
  readonly exits: Exit[] = [];
  readonly usage: Usage[] = [];
  private child: Subprocess | null = null;
  private asked = false;
  private supervised = true;
  private timer: Timer | null = null;

  constructor(readonly options: RoleProcessOptions) {}

  get name(): string {
    return this.options.name;
  }

  get role(): string {
    return this.options.role;
  }

  get pid(): number {
    return this.child?.pid ?? 0;
  }

  start(): void {
    const { env, logPath } = this.options;
    const log = openSync(logPath, "a");
    const child = Bun.spawn(["bun", "src/main.ts"], {
      cwd: PROJECT,
      env: { ...env },
      stdout: log,
      stderr: log,
      stdin: "ignore",
    });
    closeSync(log);
    void child.exited.then((code) => this.ended(child, code));
    this.asked = false;
    this.child = child;
  }

  /** SIGKILL and SIGTERM end it, and it is started again; SIGSTOP waits for goOn(). */
  signal(signal: "SIGKILL" | "SIGTERM" | "SIGSTOP"): void {
    if (signal !== "SIGSTOP") this.asked = true;
    this.child?.kill(signal);
  }

  goOn(): void {
    this.child?.kill("SIGCONT");
  }

  async isReady(): Promise<boolean> {
    const url = `http://127.0.0.1:${this.options.adminPort}/readyz`;
    const answer = await fetch(url, { signal: AbortSignal.timeout(1_000) }).catch(() => null);
    await answer?.body?.cancel();
    return answer?.status === 200;
  }

  async ready(ms = 60_000): Promise<void> {
    const until = performance.now() + ms;
    while (performance.now() < until) {
      if (await this.isReady()) return;
      await Bun.sleep(POLL_MS);
    }
    throw new Error(`${this.name} did not become ready; its log is ${this.options.logPath}`);
  }

  /** Ends it for good. */
  async stop(): Promise<void> {
    this.supervised = false;
    if (this.timer !== null) clearTimeout(this.timer);
    const child = this.child;
    if (child === null || child.exitCode !== null) return;
    this.asked = true;
    child.kill("SIGCONT");
    child.kill("SIGTERM");
    const killer = setTimeout(() => child.kill("SIGKILL"), 12_000);
    await child.exited;
    clearTimeout(killer);
  }

  abort(): void {
    this.supervised = false;
    this.child?.kill("SIGKILL");
  }

  measure(): void {
    const { pid } = this;
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      const rssKib = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
      const descriptors = readdirSync(`/proc/${pid}/fd`).length;
      this.usage.push({ at: this.options.now(), rssBytes: rssKib * 1_024, descriptors });
    } catch {
      // It is between two lives.
    }
  }

  log(): string {
    return readFileSync(this.options.logPath, "utf8");
  }

  private ended(child: Subprocess, code: number): void {
    const { name } = this;
    const { asked } = this;
    this.exits.push({ at: this.options.now(), name, pid: child.pid, code, asked });
    if (!this.supervised) return;
    this.timer = setTimeout(() => this.start(), RESTART_MS);
  }
}

/** Whether /proc tells about descriptors; only Linux has it. */
export function hasProc(): boolean {
  try {
    return readlinkSync(join("/proc", "self")).length > 0;
  } catch {
    return false;
  }
}
