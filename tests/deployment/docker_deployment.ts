/**
 * compose.yml on a Docker engine of the test's own (docker.sh): the image is built from the real
 * Dockerfile, only the three base images are local ones.
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

export class DockerDeployment implements Deployment {
  readonly gateway = `127.0.0.1:${freePort()}`;
  private readonly env: Record<string, string>;

  private constructor(
    private readonly dir: string,
    private readonly envFile: EnvFile,
  ) {
    this.env = {
      DOCKER_HOST: `unix://${dir}/docker.sock`,
      DOCKER_CONFIG: join(PROJECT, ".tools/docker"),
      // The engine that Debian has comes without BuildKit's client.
      DOCKER_BUILDKIT: "0",
      GATEWAY_PUBLISHED: this.gateway,
      BUN_IMAGE: "chatify-test/bun:local",
      RUNTIME_IMAGE: "chatify-test/runtime:local",
      REDIS_IMAGE: "chatify-test/redis:local",
    };
  }

  /** The reason, as text, where no engine can be started. */
  static async start(envFile: EnvFile): Promise<DockerDeployment | string> {
    const deployment = new DockerDeployment(mkdtempSync(join(tmpdir(), "chatify-d-")), envFile);
    try {
      const env = Object.fromEntries(
        Object.entries(process.env).filter((e): e is [string, string] => e[1] !== undefined),
      );
      await run([SCRIPT, "start", deployment.dir], { env, timeoutMs: 300_000 });
      await deployment.compose("up", "--build", "-d");
      await deployment.settle({});
      return deployment;
    } catch (error) {
      await deployment.stop();
      if (error instanceof CommandError && error.code === NO_ENGINE) return error.stderr;
      throw error;
    }
  }

  async scale(replicas: Record<string, number>): Promise<void> {
    const flags = Object.entries(replicas).flatMap(([name, n]) => ["--scale", `${name}=${n}`]);
    await this.compose("up", "-d", ...flags);
    await this.settle(replicas);
  }

  async healthy(service: string): Promise<number> {
    const text = await this.compose("ps", "--format", "json", service);
    const rows = text.split("\n").filter((line) => line !== "");
    return rows.map((row) => JSON.parse(row) as { Health: string }).filter(isHealthy).length;
  }

  async restart(service: string): Promise<void> {
    await this.compose("restart", service);
  }

  async crash(service: string): Promise<void> {
    await this.compose("kill", service);
    await this.compose("up", "-d", "--no-recreate", "--no-deps", service);
  }

  async logs(service: string): Promise<string> {
    return this.compose("logs", "--no-log-prefix", "--no-color", service);
  }

  /** What `docker image inspect` says of the image that was built. */
  async image(): Promise<{ Config: Record<string, unknown>; Size: number }> {
    const [image] = JSON.parse(await this.docker("image", "inspect", "chatify:local")) as [
      { Config: Record<string, unknown>; Size: number },
    ];
    return image;
  }

  async publishedPorts(): Promise<string> {
    return this.docker("ps", "--format", "{{.Names}} {{.Ports}}");
  }

  /** May be called again. */
  async stop(): Promise<void> {
    await run([SCRIPT, "stop", this.dir], { timeoutMs: 120_000 });
  }

  private async settle(replicas: Record<string, number>): Promise<void> {
    const want: [string, number][] = SERVICES.map((name) => [name, replicas[name] ?? 1]);
    for (const [name, count] of want) {
      await eventually(`${count} of ${name} are healthy`, 90_000, async () => {
        return (await this.healthy(name)) === count;
      });
    }
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
