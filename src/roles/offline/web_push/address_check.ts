/**
 * Endpoints come from browsers, so whoever can subscribe could make this server call any address:
 * what is not public is refused, at the subscription and, for the address that a name really has,
 * in the connection itself, so that a name cannot be another address later (DNS rebinding).
 */
import { lookup } from "node:dns";
import { BlockList, isIP } from "node:net";
import { ChatifyError } from "../../../core/protocol/errors.ts";
import type { WebPushConfig } from "../../../core/webhooks/config.ts";

/** https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-: what is not global. */
const PRIVATE: readonly [network: string, prefix: number][] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
  ["::", 96],
  ["64:ff9b::", 95],
  ["100::", 64],
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["fc00::", 7],
  ["fe80::", 10],
  ["ff00::", 8],
];

const blocked = new BlockList();
for (const [network, prefix] of PRIVATE) {
  blocked.addSubnet(network, prefix, network.includes(":") ? "ipv6" : "ipv4");
}

export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && !blocked.check(address, family === 6 ? "ipv6" : "ipv4");
}

type Rules = Pick<WebPushConfig, "allowHttp" | "allowPrivate">;

/** Throws `bad_request` for what can be seen in the URL itself. */
export function checkEndpoint(endpoint: string, rules: Rules): URL {
  const url = new URL(endpoint);
  const refuse = (why: string) => new ChatifyError("bad_request", `endpoint: ${why}`);
  if (url.protocol !== "https:" && !(rules.allowHttp && url.protocol === "http:")) {
    throw refuse("a push service is reached by https");
  }
  if (url.username !== "" || url.password !== "") throw refuse("takes no user and no password");
  const host = hostOf(url);
  const literal = isIP(host) !== 0;
  const local = host === "localhost" || host.endsWith(".localhost");
  if (!rules.allowPrivate && (local || (literal && !isPublicAddress(host)))) {
    throw refuse("this address is not public");
  }
  return url;
}

/** Without the brackets of an IPv6 address. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, "$1");
}

type Found = string | readonly { readonly address: string; readonly family: number }[];
type Callback = (error: Error | null, found: Found, family?: number) => void;

/** A `lookup` for connections, which then go to the very addresses that were checked. */
export function checkedLookup(allowPrivate: boolean) {
  return (host: string, options: { readonly all?: boolean }, done: Callback): void => {
    lookup(host, { all: true }, (error, addresses) => {
      if (error !== null) return done(error, []);
      const allowed = addresses.filter(({ address }) => allowPrivate || isPublicAddress(address));
      const [first] = allowed;
      if (first === undefined) return done(new Error(`${host} has no public address`), []);
      if (options.all) done(null, allowed);
      else done(null, first.address, first.family);
    });
  };
}
