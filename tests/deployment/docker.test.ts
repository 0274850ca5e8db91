/**
 * compose.yml brought up on a Docker engine: image, health checks, replicas, restarts, crashes, and
 * the profiles as far as their programs are on this machine. Where no engine can be started, the
 * executable is run with each service's environment instead, by process.test.ts, and this file checks
 * that the reason is one that a machine can have.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  documentOf,
  mappedFields,
  misfits,
  readFilebeat,
  readTemplate,
} from "../observability/log_pipeline.ts";
import { run } from "./command.ts";
import { readEnv, writeEnv } from "./compose_file.ts";
import { Conversation } from "./conversation.ts";
import { eventually, SERVICES } from "./deployment.ts";
import { type Container, DockerDeployment, startEngine } from "./docker_deployment.ts";
import { describeScenario } from "./scenario.ts";
import { ensureTools, TOOLS_MS } from "./tools.ts";

const START_MS = 600_000;
const STEP_MS = 180_000;
const IMAGE_BYTES_MAX = 150_000_000;

const engine = await startEngine();

if (typeof engine === "string") {
  test("no Docker engine can be started here, for a reason of the machine's", () => {
    process.stdout.write(`${engine}\n`);
    expect(engine).toStartWith("no Docker engine can be started: ");
  });
} else {
  describe("compose.yml on an engine", async () => {
    const env = await writeEnv();
    const deployment = new DockerDeployment(engine, env);

    beforeAll(async () => {
      await ensureTools();
      await deployment.start();
    }, START_MS + TOOLS_MS);
    afterAll(async () => {
      await deployment.stop();
      await engine.stop();
    }, STEP_MS);

    test("the image is small, runs as nobody, and checks its own health", async () => {
      const image = await deployment.image();
      process.stdout.write(`the image has ${(image.Size / 1e6).toFixed(0)} MB\n`);
      expect(image.Size).toBeLessThan(IMAGE_BYTES_MAX);
      expect(image.Config.User).toBe("65532:65532");
      expect(image.Config.Healthcheck.Test).toEqual([
        "CMD",
        "/usr/local/bin/chatify",
        "--healthcheck",
      ]);
    });

    test("no container but the gateway's publishes anything, and none is privileged", async () => {
      const all = await deployment.containers();
      for (const { State } of all) expect(State.Health.Status).toBe("healthy");
      const names = all.map((container) => serviceOf(container));
      expect(names.sort()).toEqual([...SERVICES, "redis"].sort());
      for (const container of all) {
        const { HostConfig, NetworkSettings } = container;
        const published = Object.values(NetworkSettings.Ports).filter((port) => port !== null);
        const name = serviceOf(container);
        expect([name, published.length]).toEqual([name, name === "gateway" ? 1 : 0]);
        expect(HostConfig.Privileged).toBe(false);
        expect(HostConfig.RestartPolicy.Name).toBe("unless-stopped");
        expect([name, HostConfig.Memory > 0, HostConfig.NanoCpus > 0]).toEqual([name, true, true]);
        if (name === "redis") continue;
        expect([name, HostConfig.ReadonlyRootfs, HostConfig.CapDrop]).toEqual([
          name,
          true,
          ["ALL"],
        ]);
        const status = await Bun.file(`/proc/${container.State.Pid}/status`).text();
        expect(status).toMatch(/^Uid:\t65532\t65532\t65532\t65532$/m);
        expect(status).toMatch(/^CapEff:\t0{16}$/m);
      }
    });

    describeScenario({ deployment: () => deployment, secrets: secretsOf(env.values) });

    test("Filebeat's configuration takes what Docker wrote of the roles, and nothing else", async () => {
      const config = readFilebeat();
      const fields = mappedFields(readTemplate().template.mappings);
      for (const service of [...SERVICES, "redis"]) {
        const lines = await deployment.logFile(service);
        const documents = lines.map((line) => documentOf(config, line));
        expect([service, documents.length > 3]).toEqual([service, true]);
        const sent = documents.filter((document) => document !== null);
        expect([service, sent.length]).toEqual([service, service === "redis" ? 0 : lines.length]);
        expect(sent.flatMap((document) => misfits(fields, document))).toEqual([]);
      }
    });

    test(
      "with its profile Postgres keeps the offline messages, of two offline nodes",
      async () => {
        await run(["scripts/env", "--postgres", "--file", env.path]);
        await deployment.up(["postgres"]);
        await deployment.scale({ access: 3, push: 2, offline: 2 });
        for (const { Config } of await deployment.containers("offline")) {
          expect(Config.User).toBe("65532:65532");
        }
        const { JWT_SECRET } = secretsOf(readEnv(env.path).values);
        const conversation = new Conversation(deployment.gateway, JWT_SECRET, "postgres");
        await conversation.bobLeaves();
        conversation.send(20);
        await Bun.sleep(1_000);
        conversation.bobReturns();
        await conversation.settle(60_000);
        await conversation.close();
        expect(await deployment.logs("postgres")).not.toContain("FATAL");
      },
      STEP_MS,
    );

    test(
      "Prometheus finds every replica by itself, and has an Alertmanager to call",
      async () => {
        await run(["scripts/env", "--observability", "--file", env.path]);
        await deployment.up(["prometheus", "alertmanager"]);
        const ask = async (path: string) =>
          JSON.parse(
            await deployment.exec(
              "prometheus",
              "wget",
              "-q",
              "-O",
              "-",
              `http://localhost:9090${path}`,
            ),
          ) as { data: Record<string, { health: string; labels: Record<string, string> }[]> };
        const want = { access: 3, gateway: 1, logic: 1, offline: 2, push: 2 };
        await eventually("every replica is scraped", 60_000, async () => {
          const { data } = await ask("/api/v1/targets");
          const up = (data.activeTargets ?? []).filter(
            ({ health, labels }) => health === "up" && labels.job === "chatify",
          );
          const found = Object.keys(want).map((name) => [
            name,
            up.filter(({ labels }) => labels.service === name).length,
          ]);
          return Bun.deepEquals(Object.fromEntries(found), want);
        });
        await eventually("Prometheus knows the Alertmanager", 60_000, async () => {
          return (await ask("/api/v1/alertmanagers")).data.activeAlertmanagers?.length === 1;
        });
      },
      STEP_MS,
    );
  });
}

function serviceOf(container: Container): string {
  return container.Config.Labels["com.docker.compose.service"] ?? "";
}

function secretsOf(values: Record<string, string>): { JWT_SECRET: string; API_KEYS: string } {
  const { API_KEYS = "", JWT_SECRET = "" } = values;
  expect(JWT_SECRET).toHaveLength(48);
  expect(API_KEYS).toHaveLength(48);
  return { JWT_SECRET, API_KEYS };
}
