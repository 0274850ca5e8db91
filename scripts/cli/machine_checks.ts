/** What the doctor looks at on this machine, whether Chatify runs or not. */
import { accessSync, constants, existsSync, statfsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import pack from "../../package.json";
import { systemRandom } from "../../src/core/clock.ts";
import { type Config, ConfigError, readConfig } from "../../src/core/config.ts";
import { LIMITS } from "../../src/core/limits.ts";
import { type Finding, fail, finding, ok, warn } from "./check.ts";
import { bytes } from "./table.ts";

const REDIS_MAJOR_MIN = 7;
/** Sockets, files and Redis connections beside the clients. */
const FILES_BESIDE_CLIENTS = 1_500;
const FILES_MIN = 1_024;
const DISK_WARN_BYTES = 2 * 1_024 ** 3;
const DISK_FAIL_BYTES = 200 * 1_024 ** 2;
const PROBE_MS = 1_000;

/** The configuration that a start from here would have; null when it would be refused. */
export function checkConfiguration(): { config: Config | null; finding: Finding } {
  // Looking must not leave a secret behind, as the first start does.
  const machine = {
    random: systemRandom,
    keptSecret: () => "a secret that nobody uses",
    address: () => "127.0.0.1",
  };
  try {
    const config = readConfig(process.env, machine);
    return { config, finding: ok("configuration", `ROLE=${config.roles.join(",")}`) };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const found = error.problems.join("; ");
    return { config: null, finding: fail("configuration", found, "correct it, or unset it") };
  }
}

export function checkBun(): Finding {
  const wanted = pack.engines.bun.replace(/^\D+/, "");
  const enough = Bun.semver.order(Bun.version.replace(/-.*/, ""), wanted) >= 0;
  const advice = `Chatify needs Bun ${wanted} or later: scripts/up gets it`;
  return finding(enough ? "ok" : "fail", "bun", Bun.version, advice);
}

/** Asked only where Chatify runs its own Redis. */
export function checkRedisServer(path: string): Finding {
  const names = path === "redis-server" ? [path, "valkey-server"] : [path];
  const found = names.map((name) => Bun.which(name)).find((candidate) => candidate !== null);
  if (found === undefined || found === null) {
    return fail("redis-server", `${path} is not there`, "run scripts/up, or set REDIS_URL");
  }
  const said = Bun.spawnSync([found, "--version"]).stdout.toString();
  const version = /v=(\d+)[.\d]*/.exec(said);
  const enough = Number(version?.[1] ?? 0) >= REDIS_MAJOR_MIN;
  const advice = `Redis ${REDIS_MAJOR_MIN}.0 or later is needed, or Valkey`;
  const text = `${found} ${version?.[0].slice(2) ?? "says no version"}`;
  return finding(enough ? "ok" : "fail", "redis-server", text, advice);
}

export function checkOpenFiles(): Finding {
  const said = Bun.spawnSync(["sh", "-c", "ulimit -n"]).stdout.toString().trim();
  const wanted = LIMITS.CONNECTIONS_MAX + FILES_BESIDE_CLIENTS;
  const limit = said === "unlimited" ? Number.POSITIVE_INFINITY : Number(said);
  const advice = `a full gateway needs ${wanted}: \`ulimit -n ${wanted}\`, or LimitNOFILE= in systemd`;
  const level = limit >= wanted ? "ok" : limit >= FILES_MIN ? "warn" : "fail";
  return finding(level, "open files", said, advice);
}

export function checkDataDir(dataDir: string): Finding[] {
  const existing = nearestExisting(dataDir);
  try {
    accessSync(existing, constants.W_OK | constants.X_OK);
  } catch {
    const advice = "give this user the right to write there, or set DATA_DIR";
    return [fail("data directory", `${existing} cannot be written`, advice)];
  }
  const { bavail, bsize } = statfsSync(existing);
  const free = bavail * bsize;
  const level = free < DISK_FAIL_BYTES ? "fail" : free < DISK_WARN_BYTES ? "warn" : "ok";
  const advice = "Redis stops taking writes when the disk is full: make room, or move DATA_DIR";
  const there = existing === dataDir ? dataDir : `${dataDir} (made at the first start)`;
  return [ok("data directory", there), finding(level, "disk space", `${bytes(free)} free`, advice)];
}

function nearestExisting(path: string): string {
  let at = resolve(path);
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at);
  return at;
}

/** Each port that a start from here would take: free, or Chatify's already. */
export async function checkPorts(config: Config): Promise<Finding[]> {
  const { adminHost, adminPort, host, ports, roles } = config;
  const own: [variable: string, host: string, port: number][] = roles
    .filter((role) => role !== "access")
    .map((role) => [`${role.toUpperCase()}_PORT`, host, ports[role]]);
  own.push(["ADMIN_PORT", adminHost, adminPort]);
  const fixed = own.filter(([, , port]) => port !== 0);
  const findings = await Promise.all(fixed.map((one) => checkPort(...one)));
  if (!roles.includes("access") || ports.trunk === 0) return findings;
  return [...findings, checkTrunkPort(config, findings.some(isOurs))];
}

const isOurs = ({ found }: Finding) => found.startsWith("Chatify");

/** The trunk speaks no HTTP: whose it is shows in who has the other ports. */
function checkTrunkPort({ host, ports }: Config, running: boolean): Finding {
  const name = `TRUNK_PORT ${ports.trunk}`;
  if (isFree(host, ports.trunk)) return ok(name, "free");
  if (running) return ok(name, "Chatify, as the other ports");
  return fail(name, "taken by another program", "end that program, or set TRUNK_PORT");
}

function isFree(host: string, port: number): boolean {
  try {
    Bun.listen({ hostname: host, port, exclusive: true, socket: { data() {} } }).stop(true);
    return true;
  } catch {
    return false;
  }
}

async function checkPort(variable: string, host: string, port: number): Promise<Finding> {
  const name = `${variable} ${port}`;
  if (isFree(host, port)) return ok(name, "free");
  const near = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
  const state = await readiness(`http://${near}:${port}/readyz`);
  if (state === "ready") return ok(name, "Chatify, ready");
  const advice = "what keeps it is in the answer of /readyz";
  if (state !== null) return warn(name, `Chatify, ${state}`, advice);
  return fail(name, "taken by another program", `end that program, or set ${variable}`);
}

/** What a Chatify says there; null when it is somebody else. */
async function readiness(url: string): Promise<string | null> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(PROBE_MS) });
    const body = (await answer.json()) as { status?: unknown; blockers?: unknown };
    if (body.status === "ready") return "ready";
    if (body.status !== "not ready") return null;
    return `not ready: ${[body.blockers].flat().join(", ")}`;
  } catch {
    return null;
  }
}
