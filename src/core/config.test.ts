import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, type Env, readConfig, VARIABLES } from "./config.ts";
import { ROLES } from "./topology.ts";

const machine = {
  random: { fraction: () => 0, token: (length: number) => "x".repeat(length) },
  keptSecret: () => "kept",
  address: () => "10.1.2.3",
};
const read = (env: Env) => readConfig(env, machine);

function problems(env: Env): readonly string[] {
  try {
    read(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

/** A configuration of one node among others, which is right. */
const clustered = {
  ROLE: "gateway,access",
  REDIS_URL: "redis://redis:6379",
  CLUSTER_SECRET: "s".repeat(16),
  JWT_SECRET: "j".repeat(32),
};

test("nothing set means all roles, embedded, in dev mode, on loopback only", () => {
  expect(read({})).toMatchObject({
    roles: ROLES,
    nodeId: "n-xxxxxxxx",
    embedded: true,
    redisUrl: null,
    authMode: "dev",
    host: "127.0.0.1",
    advertiseHost: "127.0.0.1",
    durability: "fsync",
    offlineDatabaseUrl: `sqlite:${join(process.cwd(), ".chatify", "offline.db")}`,
    clusterSecret: "kept",
    traceSampleRatio: 1,
    ports: { gateway: 8080, access: 8032, logic: 8034, push: 8033, offline: 8023, trunk: 8031 },
  });
});

test("a node among others listens everywhere, checks tokens and samples little", () => {
  expect(read(clustered)).toMatchObject({
    roles: ["gateway", "access"],
    embedded: false,
    redisUrl: clustered.REDIS_URL,
    authMode: "jwt",
    host: "0.0.0.0",
    advertiseHost: "10.1.2.3",
    clusterSecret: clustered.CLUSTER_SECRET,
    traceSampleRatio: 0.01,
  });
});

test("all roles given one by one are embedded too, in the order of the topology", () => {
  const config = read({ ROLE: "offline, push,logic,access,gateway,gateway" });
  expect(config.roles).toEqual([...ROLES]);
  expect(config.embedded).toBe(true);
});

test("an empty variable counts as absent", () => {
  const env = Object.fromEntries(Object.keys(VARIABLES).map((name) => [name, ""]));
  expect(read(env)).toEqual(read({}));
});

const wrong: Partial<Record<keyof typeof VARIABLES, string>> = {
  ROLE: "gateway,cook",
  NODE_ID: "a b",
  REDIS_URL: "http://user:hunter2@redis",
  KEY_PREFIX: "{x}",
  DURABILITY: "disk",
  OFFLINE_DATABASE_URL: "mysql://user:hunter2@db",
  AUTH_MODE: "none",
  JWT_SECRET: "hunter2",
  JWKS_URL: "keys.json",
  API_KEYS: "hunter2",
  ALLOWED_ORIGINS: "https://a.example/path",
  CLUSTER_SECRET: "hunter2",
  HOST: "a b",
  ADVERTISE_HOST: "http://a",
  GATEWAY_PORT: "65536",
  ACCESS_PORT: "-1",
  LOGIC_PORT: "1.5",
  PUSH_PORT: "0x10",
  OFFLINE_PORT: "eighty",
  TRUNK_PORT: " 80",
  ADMIN_HOST: "/",
  ADMIN_PORT: "1e3",
  CHAT_PARTITIONS: "0",
  USER_PARTITIONS: "1025",
  LOG_LEVEL: "loud",
  OTEL_EXPORTER_OTLP_ENDPOINT: "127.0.0.1:4318",
  TRACE_SAMPLE_RATIO: "1.1",
};

test("everything wrong is told at once: the variable, what it got, what it takes", () => {
  const told = problems(wrong);
  for (const [name, value] of Object.entries(wrong)) {
    const line = told.find((problem) => problem.startsWith(`${name}: `)) ?? "";
    const { secret, takes } = VARIABLES[name as keyof typeof VARIABLES];
    expect(line).toContain(takes);
    expect(line).toContain(secret ? `a secret of ${value.length} characters` : `"${value}"`);
  }
  expect(told).toHaveLength(Object.keys(wrong).length);
  expect(told.join()).not.toContain("hunter2");
});

test("a part of the roles needs a Redis, a cluster secret and a way to check tokens", () => {
  const told = problems({ ROLE: "gateway" });
  expect(told.map((line) => line.split(":")[0])).toEqual([
    "REDIS_URL",
    "CLUSTER_SECRET",
    "JWT_SECRET",
  ]);
  expect(problems({ ...clustered, ROLE: "logic", JWT_SECRET: undefined })).toEqual([]);
});

test("dev mode refuses to listen beyond loopback", () => {
  expect(problems({ HOST: "0.0.0.0" })[0]).toContain("AUTH_MODE=dev");
  for (const HOST of ["localhost", "::1", "127.0.0.2"]) expect(problems({ HOST })).toEqual([]);
});

test("the embedded Redis has no replica to wait for", () => {
  expect(problems({ DURABILITY: "replicated" })[0]).toContain("has no replica");
});

test("two listeners of one process may not share a port, unless it is 0", () => {
  expect(problems({ LOGIC_PORT: "8080" })[0]).toBe(
    'LOGIC_PORT: got "8080"; GATEWAY_PORT has the same port',
  );
  expect(problems({ LOGIC_PORT: "0", PUSH_PORT: "0" })).toEqual([]);
  expect(problems({ ...clustered, LOGIC_PORT: "8080" })).toEqual([]);
});

test("the cluster secret of an embedded start is made once and readable by its owner only", () => {
  const DATA_DIR = join(mkdtempSync(join(tmpdir(), "chatify-")), "data");
  const { clusterSecret } = readConfig({ DATA_DIR });
  expect(clusterSecret).toHaveLength(32);
  expect(readConfig({ DATA_DIR }).clusterSecret).toBe(clusterSecret);
  expect(statSync(join(DATA_DIR, "cluster_secret")).mode & 0o777).toBe(0o600);
});

test(".env.example names every variable, and its defaults are the defaults", () => {
  const text = readFileSync(join(import.meta.dir, "../../.env.example"), "utf8");
  const lines = [...text.matchAll(/^(# )?([A-Z_]+)=(.*)$/gm)];
  const names = lines.map(([, , name]) => name ?? "");
  expect(names.toSorted()).toEqual(Object.keys(VARIABLES).toSorted());
  const set = lines.filter(([, commented]) => commented === undefined);
  expect(read(Object.fromEntries(set.map(([, , name, value]) => [name, value])))).toEqual(read({}));
  for (const [, , name, value] of set) {
    const { schema } = VARIABLES[name as keyof typeof VARIABLES];
    expect(schema.parse(value)).toEqual(schema.parse(undefined));
  }
});
