/**
 * compose.yml on a Docker engine of the test's own (docker.sh): the image is built from the real
 * Dockerfile; only the images that a registry would have are local ones.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CommandError, PROJECT, run } from "./command.ts";
import type { EnvFile } from "./compose_file.ts";
import { type Deployment, eventually, SERVICES } from "./deployment.ts";
import { freePort } from "./free_port.ts";

const SCRIPT = join(import.meta.dir, "docker.sh");
const NO_ENGINE = 3;
const HEALTHY_MS = 120_000;

export interface Container {
  readonly Name: string;
  readonly RestartCount: number;
  /** Where the driver json-file writes; Filebeat reads it. */
  readonly LogPath: string;
  readonly State: { readonly Pid: number; readonly Health: { readonly Status: string } };
  readonly Config: { readonly User: string; readonly Labels: Record<string, string> };
  readonly HostConfig: {
    readonly Memory: number;
    readonly NanoCpus: number;
    readonly Privileged: boolean;
    readonly ReadonlyRootfs: boolean;
    readonly CapDrop: readonly string[] | null;
    readonly RestartPolicy: { readonly Name: string };
  };
  readonly NetworkSettings: { readonly Ports: Record<string, { readonly HostPort: string }[]> };
}

export interface Image {
  readonly Config: { readonly User: string; readonly Healthcheck: { readonly Test: string[] } };
  readonly Size: number;
}

/** Where no engine can be started: why. */
export async function startEngine(): Promise<DockerEngine | string> {
  const dir = mkdtempSync(join(tmpdir(), "chatify-d-"));
  const env = Object.fromEntries(
    Object.entries(process.env).filter((e): e is [string, string] => e[1] !== undefined),
  );
  try {
    await run([SCRIPT, "start", dir, String(process.pid)], { env, timeoutMs: 300_000 });
    return new DockerEngine(dir);
  } catch (error) {
    await new DockerEngine(dir).stop();
    if (error instanceof CommandError && error.code === NO_ENGINE) return error.stderr.trim();
    throw error;
  }
}

export class DockerEngine {
  constructor(readonly dir: string) {}

  /** May be called again. */
  async stop(): Promise<void> {
    await run([SCRIPT, "stop", this.dir], { timeoutMs: 120_000 });
  }
}

export class DockerDeployment implements Deployment {
  readonly gateway = `127.0.0.1:${freePort()}`;
  private readonly env: Record<string, string>;

  constructor(
    engine: DockerEngine,
    private readonly envFile: EnvFile,
  ) {
    const local = (name: string) => `chatify-test/${name}:local`;
    this.env = {
      DOCKER_HOST: `unix://${engine.dir}/docker.sock`,
      DOCKER_CONFIG: join(PROJECT, ".tools/docker"),
      // The engine that Debian has comes without BuildKit's client.
      DOCKER_BUILDKIT: "0",
      GATEWAY_PUBLISHED: this.gateway,
      HEALTH_INTERVAL: "2s",
      BUN_IMAGE: local("bun"),
      RUNTIME_IMAGE: local("runtime"),
      REDIS_IMAGE: local("redis"),
      POSTGRES_IMAGE: local("postgres"),
      PROMETHEUS_IMAGE: local("prometheus"),
      ALERTMANAGER_IMAGE: local("alertmanager"),
    };
  }

  async start(): Promise<void> {
    await this.compose("up", "--build", "-d");
    await this.settle({});
  }

  async scale(replicas: Record<string, number>): Promise<void> {
    const flags = Object.entries(replicas).flatMap(([name, n]) => ["--scale", `${name}=${n}`]);
    await this.compose("up", "-d", ...flags);
    await this.settle(replicas);
  }

  /** Services of a profile, which are started by name, with the environment of `more` as well. */
  async up(services: readonly string[], more: Record<string, string> = {}): Promise<void> {
    Object.assign(this.env, more);
    await this.compose("up", "-d", ...services);
    for (const name of services) await this.untilHealthy(name, 1);
  }

  async healthy(service: string): Promise<number> {
    const text = await this.compose("ps", "--format", "json", service);
    const rows = text.split("\n").filter((line) => line !== "");
    return rows.map((row) => JSON.parse(row) as { Health: string }).filter(isHealthy).length;
  }

  async restart(service: string): Promise<void> {
    await this.compose("restart", service);
  }

  /** From the host: an engine that is asked to kill a container takes that for the operator's wish. */
  async crash(service: string): Promise<void> {
    const before = await this.containers(service);
    for (const { State } of before) process.kill(State.Pid, "SIGKILL");
    await eventually(`the engine has started ${service} again`, 30_000, async () => {
      const now = await this.containers(service);
      return now.every((container, i) => {
        const { Pid } = container.State;
        return Pid !== 0 && Pid !== before[i]?.State.Pid && container.RestartCount > 0;
      });
    });
  }

  async logs(service: string): Promise<string> {
    return this.compose("logs", "--no-log-prefix", "--no-color", service);
  }

  /** What `docker image inspect` says of the image that was built. */
  async image(): Promise<Image> {
    const [image] = JSON.parse(await this.docker("image", "inspect", "chatify:local")) as [Image];
    return image;
  }

  /** Those that run, of one service or of all; by name. */
  async containers(service?: string): Promise<Container[]> {
    const ids = await this.compose("ps", "-q", ...(service === undefined ? [] : [service]));
    const all = await this.docker("inspect", ...ids.split("\n").filter((id) => id !== ""));
    return (JSON.parse(all) as Container[]).sort((a, b) => a.Name.localeCompare(b.Name));
  }

  /** The lines of Docker's own file of a service's first container. */
  async logFile(service: string): Promise<string[]> {
    const [first] = await this.containers(service);
    const text = await Bun.file(first?.LogPath ?? "").text();
    return text.split("\n").filter((line) => line !== "");
  }

  /** Runs a program inside the first container of a service, and gives what it wrote. */
  exec(service: string, ...command: string[]): Promise<string> {
    return this.compose("exec", "-T", service, ...command);
  }

  /** The containers and their volumes go; the engine stays. */
  async stop(): Promise<void> {
    await this.compose("--profile", "*", "down", "--volumes", "--timeout", "5");
  }

  private async settle(replicas: Record<string, number>): Promise<void> {
    for (const name of ["redis", ...SERVICES]) await this.untilHealthy(name, replicas[name] ?? 1);
  }

  private untilHealthy(service: string, count: number): Promise<void> {
    return eventually(`${count} of ${service} are healthy`, HEALTHY_MS, async () => {
      return (await this.healthy(service)) === count;
    });
  }

  private docker(...args: string[]): Promise<string> {
    return run(["docker", ...args], { env: this.env, timeoutMs: 300_000 });
  }

  private compose(...args: string[]): Promise<string> {
    return this.docker("compose", "--env-file", this.envFile.path, ...args);
  }
}

function isHealthy(row: { Health: string }): boolean {
  return row.Health === "healthy";
}
