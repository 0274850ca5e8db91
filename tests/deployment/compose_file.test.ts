/** compose.yml as a file: what every service of every profile must have, and where secrets come from. */
import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { PROJECT, run } from "./command.ts";
import {
  type ComposeFile,
  type ComposeService,
  composeConfig,
  type EnvFile,
  readEnv,
  writeEnv,
} from "./compose_file.ts";
import { SERVICES } from "./deployment.ts";
import { ensureTools, TOOLS_MS } from "./tools.ts";

const ONCE = ["elasticsearch-setup", "kibana-setup"];
const OBSERVABILITY = [
  "alertmanager",
  "elasticsearch",
  "elasticsearch-setup",
  "filebeat",
  "grafana",
  "jaeger",
  "jaeger-retention",
  "kibana",
  "kibana-setup",
  "prometheus",
];

let env: EnvFile;
let file: ComposeFile;
let services: [string, ComposeService][];

beforeAll(async () => {
  await ensureTools();
  env = await writeEnv("--postgres", "--observability");
  file = await composeConfig(env.path, true);
  services = Object.entries(file.services);
}, TOOLS_MS);

describe("scripts/env", () => {
  test("makes every secret anew, of 48 hexadecimal digits, for its owner alone to read", async () => {
    const other = await writeEnv("--postgres", "--observability");
    const secrets = Object.keys(env.values).filter((name) => /PASSWORD|SECRET|KEY/.test(name));
    expect(secrets.length).toBe(11);
    for (const name of secrets) {
      expect(env.values[name]).toMatch(/^[\da-f]{48}$/);
      expect(other.values[name]).not.toBe(env.values[name] as string);
    }
    expect(statSync(env.path).mode & 0o777).toBe(0o600);
  });

  test("leaves what .env has, and adds what a profile needs later", async () => {
    const first = await writeEnv();
    expect(Object.keys(first.values)).not.toContain("COMPOSE_PROFILES");
    await run(["scripts/env", "--postgres", "--file", first.path]);
    await run(["scripts/env", "--observability", "--file", first.path]);
    const { values } = readEnv(first.path);
    expect(values).toMatchObject(first.values);
    expect(values.COMPOSE_PROFILES).toBe("postgres,observability");
  });

  test("without its file Compose says which command writes it", async () => {
    const failed = await composeConfig("/dev/null").catch((error: Error) => error.message);
    expect(failed).toContain("run scripts/env first");
  });
});

describe("compose.yml", () => {
  test("has the five roles and Redis, and the rest in profiles", () => {
    const named = (profile: string | undefined) =>
      services.filter(([, { profiles }]) => profiles?.[0] === profile).map(([name]) => name);
    expect(named(undefined).sort()).toEqual([...SERVICES, "redis"].sort());
    expect(named("postgres")).toEqual(["postgres"]);
    expect(named("observability").sort()).toEqual(OBSERVABILITY);
  });

  test("publishes the gateway and nothing else", () => {
    const published = services.filter(([, service]) => (service.ports ?? []).length > 0);
    expect(published.map(([name]) => name)).toEqual(["gateway"]);
    expect(file.services.gateway?.ports?.map(({ target }) => target)).toEqual([8080]);
  });

  test("restarts, limits, checks and confines every service", () => {
    // The image of the roles brings its own health check.
    const image = readFileSync(join(PROJECT, "Dockerfile"), "utf8");
    expect(image).toMatch(/^HEALTHCHECK /m);
    for (const [name, service] of services) {
      const { memory, cpus } = service.deploy?.resources?.limits ?? {};
      expect([name, Number(memory) > 0, Number(cpus) > 0]).toEqual([name, true, true]);
      expect([name, service.restart]).toEqual([
        name,
        ONCE.includes(name) ? "no" : "unless-stopped",
      ]);
      const own = (SERVICES as readonly string[]).includes(name);
      const checked = service.healthcheck?.test !== undefined || own || ONCE.includes(name);
      expect([name, checked]).toEqual([name, true]);
      expect(service.security_opt).toContain("no-new-privileges:true");
      expect(service.privileged ?? false).toBe(false);
    }
  });

  test("mounts only files that are in the project, and Docker's socket nowhere", () => {
    for (const [name, service] of services) {
      for (const volume of service.volumes ?? []) {
        expect(volume.source).not.toContain("docker.sock");
        if (volume.type === "volume") expect(Object.keys(file.volumes)).toContain(volume.source);
        else if (!volume.source.startsWith("/var/lib/docker")) {
          expect([name, volume.source, existsSync(volume.source)]).toEqual([
            name,
            volume.source,
            true,
          ]);
        }
      }
    }
  });

  test("pins every image that is not built here", () => {
    for (const [name, { image = "" }] of services) {
      if ((SERVICES as readonly string[]).includes(name)) expect(image).toBe("chatify:local");
      else
        expect([name, image]).toEqual([
          name,
          expect.stringMatching(/:v?\d+\.\d+[\w.-]*$|:\d+-\w+$/),
        ]);
    }
  });

  test("has no secret that .env did not give it", async () => {
    const text = readFileSync(join(PROJECT, "compose.yml"), "utf8");
    for (const [, name, rest] of text.matchAll(
      /^ +([A-Z_]*(?:PASSWORD|SECRET|KEY|KEYS)): (.*)$/gm,
    )) {
      expect([name, rest]).toEqual([name, expect.stringMatching(/^"?\$\{\w+(:\?[^}]*|:-)?\}"?$/)]);
    }
    const withoutProfiles = await writeEnv();
    const all = JSON.stringify(await composeConfig(withoutProfiles.path, true));
    expect(all).not.toMatch(/changeme|admin:admin|:secret@/);
  });

  test("hands every variable of chatify.env to the roles", async () => {
    const text = readFileSync(join(PROJECT, "compose.yml"), "utf8");
    expect(text).toContain("env_file: [{ path: chatify.env, required: false }]");
    expect(readFileSync(join(PROJECT, ".gitignore"), "utf8").split("\n")).toContain("chatify.env");
  });

  test("gives the roles variables that the program knows", () => {
    const known = readFileSync(join(PROJECT, ".env.example"), "utf8");
    for (const role of SERVICES) {
      for (const name of Object.keys(file.services[role]?.environment ?? {})) {
        expect([role, name, known.includes(`${name}=`)]).toEqual([role, name, true]);
      }
    }
  });

  test("sends traces to Jaeger with the profile observability, and nowhere without it", async () => {
    const endpoint = (of: ComposeFile) =>
      of.services.push?.environment?.OTEL_EXPORTER_OTLP_ENDPOINT;
    expect(endpoint(file)).toBe("http://jaeger:4318");
    expect(endpoint(await composeConfig((await writeEnv()).path))).toBe("");
  });

  test("the consoles are published on loopback alone, and only when asked for", async () => {
    const files = ["-f", "compose.yml", "-f", "deploy/compose.consoles.yml"];
    const command = ["docker-compose", ...files, "--env-file", env.path, "--profile", "*"];
    const merged = JSON.parse(await run([...command, "config", "--format", "json"])) as ComposeFile;
    for (const [name, { ports = [] }] of Object.entries(merged.services)) {
      for (const port of ports as readonly { host_ip?: string }[]) {
        if (name !== "gateway") expect([name, port.host_ip]).toEqual([name, "127.0.0.1"]);
      }
    }
  });
});
