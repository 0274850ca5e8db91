/**
 * compose.yml without an engine: the executable, compiled with the Dockerfile's own command, runs as
 * often as there are replicas, each with its service's environment as Compose computes it; Redis runs
 * with the configuration that compose.yml gives it. Only addresses and ports are the test's own.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { PROJECT, run } from "./command.ts";
import { type ComposeFile, composeConfig, type EnvFile } from "./compose_file.ts";
import { type Deployment, eventually, SERVICES } from "./deployment.ts";
import { freePort } from "./free_port.ts";

/** What Docker waits before its first restart of a container. */
const RESTART_MS = 100;

interface Replica {
  readonly name: string;
  readonly env: Record<string, string>;
  process: Subprocess;
}

export class ProcessDeployment implements Deployment {
  readonly gateway: string;
  private readonly redisPort = freePort();
  private readonly gatewayPort = freePort();
  private readonly replicas = new Map<string, Replica[]>(SERVICES.map((name) => [name, []]));
  private readonly output = new Map<string, string>();
  private redis: Subprocess | null = null;
  private stopping = false;

  private constructor(
    private readonly dir: string,
    private readonly file: ComposeFile,
    private readonly extra: Record<string, string>,
  ) {
    this.gateway = `127.0.0.1:${this.gatewayPort}`;
  }

  /** `extra` goes over the environment of every service. */
  static async start(env: EnvFile, extra: Record<string, string> = {}): Promise<ProcessDeployment> {
    const dir = mkdtempSync(join(tmpdir(), "chatify-p-"));
    const deployment = new ProcessDeployment(dir, await composeConfig(env.path), extra);
    try {
      await run(compileCommand(deployment.executable));
      deployment.startRedis();
      await deployment.scale(Object.fromEntries(SERVICES.map((name) => [name, 1])));
      return deployment;
    } catch (error) {
      await deployment.stop();
      throw error;
    }
  }

  async scale(replicas: Record<string, number>): Promise<void> {
    for (const [name, count] of Object.entries(replicas)) {
      const running = this.of(name);
      while (running.length < count) running.push(this.add(name, running.length));
    }
    for (const [name, count] of Object.entries(replicas)) {
      await eventually(`${count} of ${name} are healthy`, 60_000, async () => {
        return (await this.healthy(name)) === count;
      });
    }
  }

  /** Asked as the image's HEALTHCHECK asks. */
  async healthy(service: string): Promise<number> {
    const answers = this.of(service).map(({ env }) =>
      run([this.executable, "--healthcheck"], { env, cwd: this.dir }).then(
        () => 1,
        () => 0,
      ),
    );
    return (await Promise.all(answers)).reduce<number>((sum, one) => sum + one, 0);
  }

  async restart(service: string): Promise<void> {
    await this.again(service, "SIGTERM");
  }

  async crash(service: string): Promise<void> {
    if (service !== "redis") return this.again(service, "SIGKILL");
    this.redis?.kill("SIGKILL");
    await this.redis?.exited;
    this.startRedis();
  }

  async logs(service: string): Promise<string> {
    return this.output.get(service) ?? "";
  }

  /** The environment of a service's first replica, with its ports and its directory. */
  environmentOf(service: string): Readonly<Record<string, string>> {
    return this.of(service)[0]?.env ?? {};
  }

  /** Runs the executable with an environment of the caller's until it ends, 5 s at most; all that it wrote. */
  async outputOf(env: Record<string, string>): Promise<string> {
    const options = { env, cwd: this.dir, stdin: "ignore", timeout: 5_000 } as const;
    const child = Bun.spawn([this.executable], { ...options, stdout: "pipe", stderr: "pipe" });
    const [out, err] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    return out + err;
  }

  async stop(): Promise<void> {
    this.stopping = true;
    const all = [...this.replicas.values()].flat().map((replica) => replica.process);
    for (const child of all) child.kill("SIGTERM");
    await Promise.all(all.map((child) => child.exited));
    this.redis?.kill("SIGKILL");
    await this.redis?.exited;
    rmSync(this.dir, { recursive: true, force: true });
  }

  private get executable(): string {
    return join(this.dir, "chatify");
  }

  private of(service: string): Replica[] {
    const replicas = this.replicas.get(service);
    if (replicas === undefined) throw new Error(`compose.yml has no service ${service}`);
    return replicas;
  }

  private async again(service: string, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    for (const replica of this.of(service)) {
      const before = replica.process;
      before.kill(signal);
      await eventually(`${replica.name} runs again`, 30_000, async () => {
        return replica.process !== before;
      });
    }
  }

  /** As `restart: unless-stopped`: whatever ended it, it is started again. */
  private async keep(service: string, replica: Replica): Promise<void> {
    for (;;) {
      await replica.process.exited;
      if (this.stopping) return;
      await Bun.sleep(RESTART_MS);
      if (this.stopping) return;
      replica.process = this.spawn(service, replica.env);
    }
  }

  private add(service: string, index: number): Replica {
    const name = `${service}-${index + 1}`;
    const env = this.environment(service, name, index);
    const replica = { name, env, process: this.spawn(service, env) };
    void this.keep(service, replica);
    return replica;
  }

  private environment(service: string, name: string, index: number): Record<string, string> {
    const dataDir = join(this.dir, name);
    mkdirSync(dataDir, { recursive: true });
    const given = Object.entries(this.file.services[service]?.environment ?? {});
    const ports = ["ACCESS", "LOGIC", "PUSH", "OFFLINE", "TRUNK", "ADMIN"];
    return {
      ...Object.fromEntries(given.map(([key, value]) => [key, value ?? ""])),
      ...this.extra,
      // In containers these are the network's: addresses of their own, and the image's data directory.
      REDIS_URL: this.redisUrl(service),
      HOST: "127.0.0.1",
      ADMIN_HOST: "127.0.0.1",
      ADVERTISE_HOST: "127.0.0.1",
      DATA_DIR: dataDir,
      GATEWAY_PORT: `${index === 0 ? this.gatewayPort : freePort()}`,
      ...Object.fromEntries(ports.map((port) => [`${port}_PORT`, `${freePort()}`])),
    };
  }

  private redisUrl(service: string): string {
    const url = new URL(this.file.services[service]?.environment?.REDIS_URL ?? "");
    url.hostname = "127.0.0.1";
    url.port = String(this.redisPort);
    return url.href;
  }

  private spawn(service: string, env: Record<string, string>): Subprocess {
    // No PATH and no HOME: the image has none that is of use.
    const options = { env, cwd: env.DATA_DIR ?? this.dir, stdin: "ignore" } as const;
    const child = Bun.spawn([this.executable], { ...options, stdout: "pipe", stderr: "pipe" });
    void this.collect(service, child.stdout);
    void this.collect(service, child.stderr);
    return child;
  }

  private async collect(service: string, stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      const text = decoder.decode(chunk, { stream: true });
      this.output.set(service, (this.output.get(service) ?? "") + text);
    }
  }

  private startRedis(): void {
    const config = join(this.dir, "redis.conf");
    const data = join(this.dir, "redis");
    mkdirSync(data, { recursive: true });
    const content = this.file.configs.redis?.content ?? "";
    if (!content.includes("dir /data\n")) throw new Error("compose.yml gives Redis no directory");
    writeFileSync(config, content.replace("dir /data\n", `dir ${data}\n`));
    const here = ["--port", String(this.redisPort), "--bind", "127.0.0.1"];
    const quiet = { stdout: "ignore", stderr: "ignore" } as const;
    this.redis = Bun.spawn(["redis-server", config, ...here], quiet);
  }
}

/** The `bun build` of the Dockerfile, with another outfile. */
export function compileCommand(outfile: string): string[] {
  const text = readFileSync(join(PROJECT, "Dockerfile"), "utf8").replaceAll("\\\n", " ");
  const [, words] = /^RUN (bun build .*?) &&/m.exec(text) ?? [];
  if (words === undefined) throw new Error("the Dockerfile has no `RUN bun build`");
  const command = words.trim().split(/\s+/);
  command[command.indexOf("--outfile") + 1] = outfile;
  return command;
}
