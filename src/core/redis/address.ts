/**
 * Where Redis is, read from REDIS_URL:
 *
 *   redis://[user:password@]host[:port][/db]                     one server; rediss:// with TLS
 *   /absolute/path, unix:///absolute/path                        one server, on a unix socket
 *   redis+sentinel://[user:password@]host[:port],…/name[/db]     whom the Sentinels call primary
 *   redis+cluster://[user:password@]host[:port],…                the masters of a Redis Cluster
 *
 * `rediss+sentinel` and `rediss+cluster` are the same with TLS, to Sentinels too. Sentinels that ask
 * for a password of their own get `?sentinel_user=…&sentinel_password=…`.
 */

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

interface Access {
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly tls: boolean;
}

export type RedisAddress =
  | (Access & { readonly kind: "single"; readonly at: Endpoint | string; readonly db: number })
  | (Access & {
      readonly kind: "sentinel";
      readonly sentinels: readonly Endpoint[];
      readonly name: string;
      readonly db: number;
      readonly sentinelUsername: string | undefined;
      readonly sentinelPassword: string | undefined;
    })
  | (Access & { readonly kind: "cluster"; readonly seeds: readonly Endpoint[] });

export const REDIS_URL_TAKES =
  "redis://[user:password@]host:port[/db], the absolute path of a unix socket, " +
  "redis+sentinel://host:port,host:port/name[/db] or redis+cluster://host:port,host:port; " +
  "rediss for TLS";

const SHAPE =
  /^(?<scheme>rediss?(?:\+(?:sentinel|cluster))?):\/\/(?:(?<access>[^@/]*)@)?(?<hosts>[^/?#]+)(?<path>\/[^?#]*)?(?:\?(?<query>[^#]*))?$/;
const PORT = { redis: 6379, sentinel: 26379 };

/** Throws with what is wrong. The URL itself is not repeated, as it may hold a password. */
export function parseRedisUrl(url: string): RedisAddress {
  const socket = /^(?:(?:redis\+)?unix:\/\/)?(\/.*)$/.exec(url)?.[1];
  if (socket !== undefined) {
    const nobody = { username: undefined, password: undefined, tls: false };
    return { kind: "single", at: socket, db: 0, ...nobody };
  }
  const parts = SHAPE.exec(url)?.groups;
  if (parts === undefined) throw new Error(`it takes ${REDIS_URL_TAKES}`);
  const [protocol, mode = "single"] = (parts.scheme ?? "").split("+");
  const [username, password] = accessOf(parts.access);
  const access = { username, password, tls: protocol === "rediss" };
  const fallback = mode === "sentinel" ? PORT.sentinel : PORT.redis;
  const hosts = (parts.hosts ?? "").split(",").map((text) => endpoint(text, fallback));
  const path = (parts.path ?? "").split("/").slice(1).filter(Boolean).map(decodeURIComponent);
  if (mode === "cluster") {
    if (path.length > 0) throw new Error("a Redis Cluster has one database only, without a number");
    return { kind: "cluster", seeds: hosts, ...access };
  }
  if (mode === "sentinel") {
    const [name, db] = path;
    if (name === undefined) throw new Error("the Sentinels' name of the primary is missing");
    const query = new URLSearchParams(parts.query ?? "");
    return {
      kind: "sentinel",
      sentinels: hosts,
      name,
      db: database(db),
      sentinelUsername: query.get("sentinel_user") ?? undefined,
      sentinelPassword: query.get("sentinel_password") ?? undefined,
      ...access,
    };
  }
  const [at, ...further] = hosts;
  if (at === undefined || further.length > 0) {
    throw new Error("several hosts need redis+sentinel:// or redis+cluster://");
  }
  return { kind: "single", at, db: database(path[0]), ...access };
}

export function isRedisUrl(url: string): boolean {
  try {
    parseRedisUrl(url);
    return true;
  } catch {
    return false;
  }
}

function accessOf(text: string | undefined): [string | undefined, string | undefined] {
  if (text === undefined) return [undefined, undefined];
  const colon = text.indexOf(":");
  const user = colon === -1 ? text : text.slice(0, colon);
  const password = colon === -1 ? undefined : decodeURIComponent(text.slice(colon + 1));
  return [user === "" ? undefined : decodeURIComponent(user), password];
}

function endpoint(text: string, fallback: number): Endpoint {
  const [, host, port] = /^(\[[\da-fA-F:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(text) ?? [];
  const number = Number(port ?? fallback);
  if (host === undefined || number < 1 || number > 65_535) {
    throw new Error("a host must be a name or an address, with a port of 1 to 65535 after a colon");
  }
  return { host: host.replaceAll(/[[\]]/g, ""), port: number };
}

function database(text: string | undefined): number {
  if (text === undefined) return 0;
  if (!/^\d{1,4}$/.test(text)) throw new Error("the database must be a number");
  return Number(text);
}
