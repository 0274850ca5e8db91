/** A real Prometheus, and a real Alertmanager, on free ports, for as long as a test takes. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import type { Cluster } from "../integration/cluster.ts";

export const MONITORING = join(import.meta.dir, "../../monitoring");

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [at: number, value: string];
}

export interface PrometheusOptions {
  readonly cluster: Cluster;
  /** Rule files by name; those of the project when absent. */
  readonly rules?: Readonly<Record<string, string>>;
  /** `host:port` of an Alertmanager. */
  readonly alertmanager?: string;
}

class Server {
  readonly dir = mkdtempSync(join(tmpdir(), "chatify-monitoring-"));
  readonly port = freePort();
  private process: Subprocess | null = null;
  private output = "";

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async start(command: string[]): Promise<void> {
    const child = Bun.spawn(command, { cwd: this.dir, stdout: "ignore", stderr: "pipe" });
    this.process = child;
    void (async () => {
      const decoder = new TextDecoder();
      for await (const chunk of child.stderr) {
        this.output = (this.output + decoder.decode(chunk)).slice(-20_000);
      }
    })();
    for (let i = 0; i < 200 && child.exitCode === null; i++) {
      const answer = await fetch(`http://${this.address}/-/ready`).catch(() => null);
      if (answer?.status === 200) return;
      await Bun.sleep(50);
    }
    throw new Error(`${command[0]} did not become ready:\n${this.output}`);
  }

  async stop(): Promise<void> {
    this.process?.kill("SIGTERM");
    await this.process?.exited;
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export class Prometheus {
  private readonly server = new Server();

  static async start(options: PrometheusOptions): Promise<Prometheus> {
    const prometheus = new Prometheus();
    await prometheus.boot(options);
    return prometheus;
  }

  stop(): Promise<void> {
    return this.server.stop();
  }

  /** The series of an instant query, or of none; throws what Prometheus says of a bad one. */
  async query(expr: string): Promise<Sample[]> {
    const body = new URLSearchParams({ query: expr });
    const answer = await fetch(`http://${this.server.address}/api/v1/query`, {
      method: "POST",
      body,
    });
    const result = (await answer.json()) as {
      status: string;
      error?: string;
      data: { result: Sample[] };
    };
    if (result.status !== "success") throw new Error(`${expr}: ${result.error}`);
    return result.data.result;
  }

  async targets(): Promise<{ readonly health: string; readonly lastError: string }[]> {
    const answer = await fetch(`http://${this.server.address}/api/v1/targets`);
    const { data } = (await answer.json()) as {
      data: { activeTargets: { health: string; lastError: string }[] };
    };
    return data.activeTargets;
  }

  private async boot({ alertmanager, cluster, rules }: PrometheusOptions): Promise<void> {
    const { dir, address } = this.server;
    mkdirSync(join(dir, "rules"));
    for (const [name, text] of Object.entries(rules ?? {})) {
      writeFileSync(join(dir, "rules", name), text);
    }
    const ruleFiles = rules ? "rules/*.yml" : join(MONITORING, "prometheus/rules/*.yml");
    const config = {
      global: { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" },
      rule_files: [ruleFiles],
      alerting: {
        alertmanagers: alertmanager ? [{ static_configs: [{ targets: [alertmanager] }] }] : [],
      },
      scrape_configs: [
        {
          job_name: "chatify",
          static_configs: cluster.nodes.map((node) => ({
            targets: [`127.0.0.1:${node.ports.admin}`],
            labels: { service: node.roles },
          })),
        },
      ],
    };
    // JSON is YAML.
    writeFileSync(join(dir, "prometheus.yml"), JSON.stringify(config));
    const flags = [`--storage.tsdb.path=${dir}/data`, `--web.listen-address=${address}`];
    await this.server.start(["prometheus", `--config.file=${dir}/prometheus.yml`, ...flags]);
  }
}

export interface FiringAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly receivers: readonly { readonly name: string }[];
  readonly status: { readonly state: string; readonly inhibitedBy: readonly string[] };
}

export class Alertmanager {
  private readonly server = new Server();

  static async start(configFile: string): Promise<Alertmanager> {
    const alertmanager = new Alertmanager();
    const { address, dir } = alertmanager.server;
    const flags = [`--storage.path=${dir}/data`, `--web.listen-address=${address}`];
    // Debian has it under the longer name, everybody else under the shorter.
    const name = Bun.which("prometheus-alertmanager") ?? "alertmanager";
    const command = [name, `--config.file=${configFile}`, ...flags];
    await alertmanager.server.start([...command, "--cluster.listen-address="]);
    return alertmanager;
  }

  get address(): string {
    return this.server.address;
  }

  stop(): Promise<void> {
    return this.server.stop();
  }

  async alerts(): Promise<FiringAlert[]> {
    const answer = await fetch(`http://${this.address}/api/v2/alerts`);
    return (await answer.json()) as FiringAlert[];
  }
}

function freePort(): number {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = server;
  server.stop(true);
  return port;
}
