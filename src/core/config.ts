/**
 * The configuration: the only file that reads the environment. `readConfig` checks every variable
 * and how they go together, and reports everything that is wrong at once, each with what it got and
 * what it takes. A secret's value is never repeated in an error.
 */
import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { type Random, systemRandom } from "./clock.ts";
import {
  fraction,
  integer,
  list,
  matching,
  port,
  scheme,
  secret,
  variable,
} from "./config_variable.ts";
import { LIMITS } from "./limits.ts";
import { isRedisUrl, REDIS_URL_TAKES } from "./redis/address.ts";
import { ROLES, type Role } from "./topology.ts";
import {
  WEBHOOK_VARIABLES,
  type WebhookConfig,
  webhookConfig,
  webhookProblems,
} from "./webhooks/config.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** What a configuration takes from outside the environment, so that a test can replace it. */
export interface Machine {
  readonly random: Random;
  /** The secret kept in `dataDir`; made at first use. */
  keptSecret(dataDir: string): string;
  /** The address at which other machines reach this one. */
  address(): string;
}

const isOrigin = (value: string) =>
  value === "*" || (URL.canParse(value) && new URL(value).origin === value);
const allRoles: z.ZodType<readonly Role[], string> = z
  .string()
  .transform((value) => (value === "all" ? [...ROLES] : value.split(",").map((r) => r.trim())))
  .pipe(z.array(z.enum(ROLES)).min(1))
  .transform((roles) => ROLES.filter((role) => roles.includes(role)));

/** Every variable there is. `.env.example` lists the same ones; a test holds the two together. */
export const VARIABLES = {
  ROLE: variable(
    allRoles.default(ROLES),
    `all (the default), or a comma list of ${ROLES.join(", ")}`,
  ),
  NODE_ID: variable(
    matching(/^[\w.-]{1,64}$/).optional(),
    "1 to 64 letters, digits, dots, dashes or underscores; unique in the cluster",
  ),
  REDIS_URL: secret(z.string().refine(isRedisUrl).optional(), REDIS_URL_TAKES),
  REDIS_CA_FILE: variable(
    z.string().optional(),
    "the path of a PEM file: whom TLS to Redis believes, instead of the machine's own authorities",
  ),
  KEY_PREFIX: variable(
    matching(/^[\w.-]{0,32}$/).default(""),
    "1 to 32 letters, digits, dots, dashes or underscores; nothing for no prefix",
  ),
  DURABILITY: variable(
    z.enum(["fsync", "replicated", "memory"]).default("fsync"),
    "fsync, replicated or memory",
  ),
  OFFLINE_DATABASE_URL: secret(
    scheme("sqlite:", "postgres:", "postgresql:").optional(),
    "sqlite:path/to/file.db or postgres://user:password@host:port/database",
  ),
  DATA_DIR: variable(z.string().default(".chatify"), "a directory that this process may write"),
  AUTH_MODE: variable(z.enum(["dev", "jwt"]).optional(), "dev or jwt"),
  JWT_SECRET: secret(z.string().min(32).optional(), "the HS256 secret, 32 characters or more"),
  JWKS_URL: variable(scheme("http:", "https:").optional(), "the http(s) URL of a JSON Web Key Set"),
  JWT_AUDIENCE: variable(z.string().optional(), "the `aud` that a token must name"),
  JWT_ISSUER: variable(z.string().optional(), "the `iss` that a token must name"),
  API_KEYS: secret(
    list(z.string().min(16)).default([]),
    "a comma list of keys for pushing and administration, 16 characters or more each",
  ),
  ALLOWED_ORIGINS: variable(
    list(z.string().refine(isOrigin)).default([]),
    "a comma list of browser origins such as https://chat.example.org, or * for any",
  ),
  CLUSTER_SECRET: secret(
    z.string().min(16).optional(),
    "one secret for all nodes of the cluster, 16 characters or more",
  ),
  HOST: variable(matching(/^[\w.:-]+$/).optional(), "the address to listen on"),
  ADVERTISE_HOST: variable(
    matching(/^[\w.:-]+$/).optional(),
    "the host name or address at which other nodes reach this one",
  ),
  GATEWAY_PORT: port(8080),
  ACCESS_PORT: port(8032),
  LOGIC_PORT: port(8034),
  PUSH_PORT: port(8033),
  OFFLINE_PORT: port(8023),
  TRUNK_PORT: port(8031),
  ADMIN_HOST: variable(
    matching(/^[\w.:-]+$/).default("127.0.0.1"),
    "the address that serves metrics and health",
  ),
  ADMIN_PORT: port(9464),
  ADMISSION_RATE: variable(
    integer(1, 1_000_000).default(LIMITS.ADMISSIONS_PER_SECOND),
    "how many clients one gateway takes per second, 1 to 1000000",
  ),
  CHAT_PARTITIONS: variable(integer(1, 1_024).default(8), "a whole number, 1 to 1024"),
  USER_PARTITIONS: variable(integer(1, 1_024).default(8), "a whole number, 1 to 1024"),
  PUSH_RATE: variable(
    integer(0, 100_000_000).optional(),
    "messages per second that one logic process takes for pushing; 0 for no limit",
  ),
  PUSH_RATE_PER_CALLER: variable(
    integer(0, 100_000_000).optional(),
    "messages per second that one caller may push through one logic process; 0 for no limit",
  ),
  PUSH_BACKLOG_MB: variable(
    integer(1, 1_000_000).default(64),
    "megabytes that may wait in Redis to be delivered before pushes wait, too",
  ),
  JOB_RETENTION_DAYS: variable(
    integer(1, 365).default(7),
    "for how many days a push job is kept after its end, 1 to 365",
  ),
  LEDGER_RETENTION_HOURS: variable(
    integer(0, 8_760).default(24),
    "a whole number of hours, 0 to 8760; 0 keeps no ledger",
  ),
  LEDGER_RETENTION_MB: variable(
    integer(1, 1_048_576).default(1_024),
    "a whole number of megabytes, 1 to 1048576",
  ),
  LEDGER_SAMPLE_RATIO: variable(fraction.default(1), "a fraction, 0 to 1"),
  ...WEBHOOK_VARIABLES,
  SENSITIVE_WORDS_FILE: variable(z.string().optional(), "the path of a file, one word a line"),
  LOG_LEVEL: variable(
    z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).default("info"),
    "trace, debug, info, warn, error, fatal or silent",
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: variable(
    scheme("http:", "https:").optional(),
    "the http(s) base URL of an OTLP/HTTP collector, such as http://127.0.0.1:4318",
  ),
  TRACE_SAMPLE_RATIO: variable(fraction.optional(), "a fraction, 0 to 1"),
  REDIS_SERVER_PATH: variable(
    z.string().default("redis-server"),
    "the name or path of the redis-server to run when REDIS_URL is absent",
  ),
} as const;

export type VariableName = keyof typeof VARIABLES;
type Values = { [N in VariableName]: z.output<(typeof VARIABLES)[N]["schema"]> };

export interface Ports {
  readonly gateway: number;
  readonly access: number;
  readonly logic: number;
  readonly push: number;
  readonly offline: number;
  readonly trunk: number;
}

export interface Config {
  readonly roles: readonly Role[];
  readonly nodeId: string;
  /** True: this process runs all roles and its own Redis, and nobody else joins it. */
  readonly embedded: boolean;
  /** Null exactly when `embedded`. Otherwise what parseRedisUrl takes. */
  readonly redisUrl: string | null;
  readonly redisCaFile: string | null;
  readonly keyPrefix: string;
  readonly durability: "fsync" | "replicated" | "memory";
  /** `sqlite:<path>` or `postgres://…`. */
  readonly offlineDatabaseUrl: string;
  /** Absolute. */
  readonly dataDir: string;
  readonly authMode: "dev" | "jwt";
  readonly jwtSecret: string | null;
  readonly jwksUrl: string | null;
  readonly jwtAudience: string | null;
  readonly jwtIssuer: string | null;
  readonly apiKeys: readonly string[];
  readonly allowedOrigins: readonly string[];
  readonly clusterSecret: string;
  readonly host: string;
  readonly advertiseHost: string;
  readonly ports: Ports;
  readonly adminHost: string;
  readonly adminPort: number;
  readonly admissionRate: number;
  readonly partitions: { readonly chat: number; readonly user: number };
  /** Messages per second, all callers together and each; 0 for no limit. */
  readonly pushRate: number;
  readonly pushRatePerCaller: number;
  readonly pushBacklogBytes: number;
  readonly jobRetentionDays: number;
  /** 0: no ledger is kept. */
  readonly ledgerRetentionHours: number;
  readonly ledgerRetentionMb: number;
  /** Share of chat messages whose straight way is in the ledger. */
  readonly ledgerSampleRatio: number;
  readonly webhooks: WebhookConfig;
  readonly sensitiveWordsFile: string | null;
  readonly logLevel: Values["LOG_LEVEL"];
  readonly otlpEndpoint: string | null;
  readonly traceSampleRatio: number;
  readonly redisServerPath: string;
}

/** Everything that is wrong with the environment, one line each. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  constructor(readonly problems: readonly string[]) {
    super(["the configuration is wrong:", ...problems.map((line) => `  ${line}`)].join("\n"));
  }
}

/** Throws a ConfigError that lists every problem. An empty variable counts as absent. */
export function readConfig(env: Env = process.env, machine: Machine = thisMachine): Config {
  const problems = new Map<VariableName, string>();
  const values = readValues(env, problems);
  const embedded = values.REDIS_URL === undefined && values.ROLE.length === ROLES.length;
  const authMode = values.AUTH_MODE ?? (embedded ? "dev" : "jwt");
  const host = values.HOST ?? (authMode === "dev" ? "127.0.0.1" : "0.0.0.0");
  const facts = { embedded, authMode, host } as const;
  for (const [name, reason] of contradictions(values, facts)) {
    if (!problems.has(name)) problems.set(name, explain(name, env[name], reason));
  }
  if (problems.size > 0) throw new ConfigError([...problems.values()]);
  return assemble(values, facts, machine);
}

/** Reads each variable by itself; one that is wrong is reported and then counts as absent. */
function readValues(env: Env, problems: Map<VariableName, string>): Values {
  const values: Partial<Record<VariableName, unknown>> = {};
  for (const name of Object.keys(VARIABLES) as VariableName[]) {
    const { schema, takes } = VARIABLES[name];
    const got = env[name] === "" ? undefined : env[name];
    const result = schema.safeParse(got);
    if (!result.success) problems.set(name, explain(name, got, `it takes ${takes}`));
    values[name] = result.success ? result.data : schema.parse(undefined);
  }
  return values as Values;
}

function explain(name: VariableName, got: string | undefined, reason: string): string {
  const shown = VARIABLES[name].secret ? `a secret of ${got?.length} characters` : `"${got}"`;
  return `${name}: got ${got === undefined || got === "" ? "nothing" : shown}; ${reason}`;
}

/** Unless somebody else sets them, or it is a machine for trying things out. */
const PUSH_RATE = 100_000;
const PUSH_RATE_PER_CALLER = 20_000;

type Facts = Pick<Config, "embedded" | "authMode" | "host">;

/** What single variables cannot know: how they go together. */
function contradictions(values: Values, facts: Facts): [VariableName, string][] {
  const found: [VariableName, string][] = [];
  const roles = values.ROLE;
  const need = (ok: boolean, name: VariableName, reason: string) => {
    if (!ok) found.push([name, `${reason}; it takes ${VARIABLES[name].takes}`]);
  };
  const parted = `ROLE=${roles.join(",")} shares its Redis with the other roles`;
  need(facts.embedded || values.REDIS_URL !== undefined, "REDIS_URL", parted);
  const joins = values.CLUSTER_SECRET !== undefined || facts.embedded;
  need(joins, "CLUSTER_SECRET", "nodes that share a Redis prove with it that they belong");
  if (facts.embedded && values.DURABILITY === "replicated") {
    found.push(["DURABILITY", "the embedded Redis has no replica; set REDIS_URL, or take fsync"]);
  }
  if (facts.authMode === "dev" && !isLoopback(facts.host)) {
    const reason = "AUTH_MODE=dev believes what everyone says, so it listens on 127.0.0.1 only";
    found.push(["HOST", `${reason}; set AUTH_MODE=jwt to listen elsewhere`]);
  }
  const checksTokens = facts.authMode === "jwt" && roles.includes("gateway");
  const hasKey = values.JWT_SECRET !== undefined || values.JWKS_URL !== undefined;
  need(!checksTokens || hasKey, "JWT_SECRET", "AUTH_MODE=jwt needs JWT_SECRET or JWKS_URL");
  for (const [name, reason] of webhookProblems(values)) need(false, name, reason);
  return [...found, ...portClashes(values, roles)];
}

function portClashes(values: Values, roles: readonly Role[]): [VariableName, string][] {
  const found: [VariableName, string][] = [];
  const taken = new Map<number, VariableName>();
  const own = roles.map((role) => `${role.toUpperCase()}_PORT` as Uppercase<`${Role}_port`>);
  for (const name of [...own, "TRUNK_PORT", "ADMIN_PORT"] as const) {
    const other = taken.get(values[name]);
    if (other !== undefined) found.push([name, `${other} has the same port`]);
    if (values[name] !== 0) taken.set(values[name], name);
  }
  return found;
}

function assemble(values: Values, facts: Facts, machine: Machine): Config {
  const dataDir = resolve(values.DATA_DIR);
  const dev = facts.authMode === "dev";
  const reachable = facts.host === "0.0.0.0" || facts.host === "::" ? null : facts.host;
  return {
    ...facts,
    roles: values.ROLE,
    nodeId: values.NODE_ID ?? `n-${machine.random.token(8)}`,
    redisUrl: values.REDIS_URL ?? null,
    redisCaFile: values.REDIS_CA_FILE ?? null,
    keyPrefix: values.KEY_PREFIX,
    durability: values.DURABILITY,
    offlineDatabaseUrl: values.OFFLINE_DATABASE_URL ?? `sqlite:${join(dataDir, "offline.db")}`,
    dataDir,
    jwtSecret: values.JWT_SECRET ?? null,
    jwksUrl: values.JWKS_URL ?? null,
    jwtAudience: values.JWT_AUDIENCE ?? null,
    jwtIssuer: values.JWT_ISSUER ?? null,
    apiKeys: values.API_KEYS,
    allowedOrigins: values.ALLOWED_ORIGINS,
    clusterSecret: values.CLUSTER_SECRET ?? machine.keptSecret(dataDir),
    advertiseHost: values.ADVERTISE_HOST ?? reachable ?? machine.address(),
    ports: {
      gateway: values.GATEWAY_PORT,
      access: values.ACCESS_PORT,
      logic: values.LOGIC_PORT,
      push: values.PUSH_PORT,
      offline: values.OFFLINE_PORT,
      trunk: values.TRUNK_PORT,
    },
    adminHost: values.ADMIN_HOST,
    adminPort: values.ADMIN_PORT,
    admissionRate: values.ADMISSION_RATE,
    partitions: { chat: values.CHAT_PARTITIONS, user: values.USER_PARTITIONS },
    pushRate: values.PUSH_RATE ?? (dev ? 0 : PUSH_RATE),
    pushRatePerCaller: values.PUSH_RATE_PER_CALLER ?? (dev ? 0 : PUSH_RATE_PER_CALLER),
    pushBacklogBytes: values.PUSH_BACKLOG_MB * 1_000_000,
    jobRetentionDays: values.JOB_RETENTION_DAYS,
    ledgerRetentionHours: values.LEDGER_RETENTION_HOURS,
    ledgerRetentionMb: values.LEDGER_RETENTION_MB,
    ledgerSampleRatio: values.LEDGER_SAMPLE_RATIO,
    webhooks: webhookConfig(values, dev),
    sensitiveWordsFile: values.SENSITIVE_WORDS_FILE ?? null,
    logLevel: values.LOG_LEVEL,
    otlpEndpoint: values.OTEL_EXPORTER_OTLP_ENDPOINT ?? null,
    traceSampleRatio: values.TRACE_SAMPLE_RATIO ?? (dev ? 1 : 0.01),
    redisServerPath: values.REDIS_SERVER_PATH,
  };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

const thisMachine: Machine = {
  random: systemRandom,
  keptSecret,
  address() {
    const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
    const outside = all.find((address) => address.family === "IPv4" && !address.internal);
    return outside?.address ?? "127.0.0.1";
  },
};

/** Linked into place, so that two processes that start together end with the same whole secret. */
function keptSecret(dataDir: string): string {
  const path = join(dataDir, "cluster_secret");
  const draft = `${path}.${systemRandom.token(12)}`;
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  writeFileSync(draft, `${systemRandom.token(32)}\n`, { mode: 0o600 });
  chmodSync(draft, 0o600);
  try {
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft);
  }
  return readFileSync(path, "utf8").trim();
}
