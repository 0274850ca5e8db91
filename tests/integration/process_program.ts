/**
 * One process of Chatify as an operator starts it: the source or the compiled binary, with an
 * environment of its own and free ports. Unlike a Cluster it need not become ready: how it refuses
 * to start is what some tests look at.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const PROJECT = join(import.meta.dir, "../..");
const PORTS = ["gateway", "access", "logic", "push", "offline", "trunk", "admin"] as const;
const READY_MS = 30_000;
/** More than enough for what refuses to start; a hang is a failure. */
const REFUSAL_MS = 20_000;

export interface ProgramOptions {
  readonly env?: Record<string, string>;
  /** Default: the source, run by Bun. */
  readonly command?: readonly string[];
}

export class Program {
  readonly ports: Record<string, number> = {};
  readonly process: Bun.Subprocess;
  private text = "";
  private readonly collected: Promise<unknown>;

  constructor(options: ProgramOptions) {
    const env: Record<string, string> = { PATH: process.env.PATH ?? "", LOG_LEVEL: "info" };
    const free = freePorts(PORTS.length);
    for (const [i, name] of PORTS.entries()) {
      this.ports[name] = free[i] as number;
      env[`${name.toUpperCase()}_PORT`] = `${free[i]}`;
    }
    const child = Bun.spawn([...(options.command ?? ["bun", "src/main.ts"])], {
      cwd: PROJECT,
      env: { ...env, ...options.env },
      stdout: "pipe",
      stderr: "pipe",
    });
    this.process = child;
    this.collected = Promise.all([this.collect(child.stdout), this.collect(child.stderr)]);
  }

  /** Everything it wrote to stdout and stderr so far. */
  get output(): string {
    return this.text;
  }

  get gateway(): string {
    return `127.0.0.1:${this.ports.gateway}`;
  }

  url(port: string, path: string): string {
    return `http://127.0.0.1:${this.ports[port]}${path}`;
  }

  async ready(): Promise<this> {
    const until = performance.now() + READY_MS;
    while (performance.now() < until && this.process.exitCode === null) {
      if ((await this.readiness()) === 200) return this;
      await Bun.sleep(30);
    }
    throw new Error(`it did not become ready:\n${this.text}`);
  }

  /** The status of /readyz; 0 when nobody answers. */
  async readiness(): Promise<number> {
    const answer = await fetch(this.url("admin", "/readyz")).catch(() => null);
    await answer?.body?.cancel();
    return answer?.status ?? 0;
  }

  /** Waits for the end that it is expected to come to by itself. */
  async refusal(): Promise<{ code: number; output: string }> {
    const timer = setTimeout(() => this.process.kill("SIGKILL"), REFUSAL_MS);
    const code = await this.process.exited;
    clearTimeout(timer);
    await this.collected;
    return { code, output: this.text };
  }

  async kill(signal: NodeJS.Signals): Promise<number> {
    this.process.kill(signal);
    return this.process.exited;
  }

  private async collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      this.text = (this.text + decoder.decode(chunk, { stream: true })).slice(-200_000);
    }
  }
}

/** What a test starts and makes, taken away at its end. */
export class Workshop {
  private readonly dirs: string[] = [];
  private readonly programs: Program[] = [];

  dir(): string {
    const dir = mkdtempSync(join(tmpdir(), "chatify-process-"));
    this.dirs.push(dir);
    return dir;
  }

  start(options: ProgramOptions): Program {
    const program = new Program(options);
    this.programs.push(program);
    return program;
  }

  /** All roles and the embedded Redis in one process, on `dir`. */
  startAll(dir: string, env: Record<string, string> = {}): Program {
    return this.start({ env: { ROLE: "all", DATA_DIR: dir, HOME: dir, ...env } });
  }

  async clear(): Promise<void> {
    const programs = this.programs.splice(0);
    for (const { process } of programs) if (process.exitCode === null) process.kill("SIGTERM");
    await Promise.all(programs.map(({ process }) => process.exited));
    for (const dir of this.dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
  }
}

/**
 * Below 32768, where the kernel takes no port for an outgoing connection before they are used. Held
 * together before any is given back, so that they differ from each other, and taken from a place of
 * this process's own, so that test runs beside it take others.
 */
let nextPort = (process.pid * 64 + 32) % 22_000;
export function freePorts(count: number): number[] {
  const listeners: { readonly port: number; stop(force: boolean): void }[] = [];
  while (listeners.length < count) {
    const port = 10_000 + (nextPort++ % 22_000);
    try {
      listeners.push(Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }));
    } catch {
      // Somebody has it.
    }
  }
  for (const listener of listeners) listener.stop(true);
  return listeners.map(({ port }) => port);
}

/** The pid of the embedded Redis that serves `dataDir`. */
export function redisPid(dataDir: string): number {
  return Number.parseInt(readFileSync(join(dataDir, "redis/server.pid"), "utf8"), 10);
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  if (process.platform !== "linux") return true;
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  ms = 15_000,
) {
  const deadline = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms for ${what}`);
    await Bun.sleep(10);
  }
}
