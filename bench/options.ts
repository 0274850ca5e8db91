/** The command line of `bun run bench`. */
import { parseArgs } from "node:util";
import { PEERS, type PeerName } from "./targets/peers.ts";
import { DURABILITIES, type Durability } from "./targets/redis_server.ts";

export const BENCHES = ["chat", "push", "fanout", "connect", "idle", "latency"] as const;
export type BenchName = (typeof BENCHES)[number];

export interface Options {
  readonly bench: BenchName;
  readonly json: boolean;
  readonly profile: boolean;
  readonly processes: 1 | 5;
  readonly replicas: number;
  readonly inFlight: number;
  /** 0: as many as the bench takes by itself. */
  readonly users: number;
  /** 0: closed loop. */
  readonly rate: number;
  readonly durability: Durability;
  /** False: LEDGER_RETENTION_HOURS=0, to see what the ledger costs. */
  readonly ledger: boolean;
  readonly seconds: number;
  readonly warmup: number;
  readonly rounds: number;
  /** Pushes go through the gateway, as from outside, instead of straight to logic. */
  readonly viaGateway: boolean;
  /** Above 0: that many idle connections, over as many gateways as they need. */
  readonly connections: number;
  /** Connections that each of those gateways gets; it takes 18 500 at most. */
  readonly perGateway: number;
  /** After which no further stage is waited for. */
  readonly minutes: number;
  /** Chat goes on until so many were delivered, however long that takes. */
  readonly messages: number;
  /** Replicas beside a single one of each role, instead of beside the floor. */
  readonly growth: boolean;
  readonly peers: readonly PeerName[];
}

export const USAGE = `bun run bench <${BENCHES.join("|")}>
  --json          one JSON line on stdout, the table on stderr
  --profile       leaves .cpuprofile files in .bench/ (open them in Chrome's or VS Code's profiler)
  --processes N   1 (default: ROLE=all, embedded Redis), or 5: each role in a process
  --replicas N    so many processes of each role (implies --processes 5)
  --in-flight N   messages on the way per user (4)
  --users N       users, in pairs (chat 200, fanout 10000, connect and idle 18000)
  --rate R        open loop: R messages a second of all users together
  --no-ledger     messages leave no trail
  --durability D  ${DURABILITIES.join(", ")}: before each answer, once a second, never,
                  once a second with a replica that has it before each answer (fsync)
  --everysec      the same as --durability everysec
  --messages N    chat only: at least N messages, however long they take
  --growth        with --replicas N: the floor is our own five processes
  --seconds N     measured time per run (5)
  --warmup N      time before it (4)
  --rounds N      runs of each, in alternation; figures are medians (3)
  --via-gateway   push only: through the gateway, instead of straight to logic
  --connections N idle only: N connections in stages, over as many gateways as they need
  --per-gateway N connections of each of those (17500, which leaves room for others' at a restart)
  --minutes N     with --connections: gives up what is not reached by then (30)
  --peers A,B     chat only, beside it: socketio, mosquitto, centrifuge, or all`;

const whole = (text: string | undefined, fallback: number): number => {
  if (text === undefined) return fallback;
  if (!/^\d+$/.test(text)) throw new Error(`takes a whole number, got ${text}`);
  return Number(text);
};

function peersOf(text: string): PeerName[] {
  const names = text === "all" ? PEERS : text.split(",").filter((name) => name !== "");
  return names.map((name) => {
    const peer = PEERS.find((known) => known === name);
    if (peer === undefined)
      throw new Error(`--peers takes ${PEERS.join(", ")} or all, got ${name}`);
    return peer;
  });
}

function durabilityOf(text: string): Durability {
  const found = DURABILITIES.find((name) => name === text);
  if (found === undefined) {
    throw new Error(`--durability takes ${DURABILITIES.join(", ")}, got ${text}`);
  }
  return found;
}

/** Throws with a sentence for the user. */
export function readOptions(args: readonly string[]): Options {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      profile: { type: "boolean", default: false },
      everysec: { type: "boolean", default: false },
      "no-ledger": { type: "boolean", default: false },
      "via-gateway": { type: "boolean", default: false },
      processes: { type: "string" },
      replicas: { type: "string" },
      "in-flight": { type: "string" },
      users: { type: "string" },
      rate: { type: "string" },
      seconds: { type: "string" },
      warmup: { type: "string" },
      rounds: { type: "string" },
      connections: { type: "string" },
      "per-gateway": { type: "string" },
      durability: { type: "string" },
      minutes: { type: "string" },
      messages: { type: "string" },
      growth: { type: "boolean", default: false },
      peers: { type: "string", default: "" },
    },
  });
  const bench = BENCHES.find((name) => name === positionals[0]);
  if (bench === undefined) throw new Error(USAGE);
  const replicas = Math.max(1, whole(values.replicas, 1));
  const processes = values.replicas === undefined ? whole(values.processes, 1) : 5;
  if (processes !== 1 && processes !== 5) throw new Error("--processes takes 1 or 5");
  return {
    bench,
    json: values.json,
    profile: values.profile,
    processes,
    replicas,
    inFlight: whole(values["in-flight"], 4),
    users: whole(values.users, 0),
    rate: whole(values.rate, 0),
    durability: values.everysec ? "everysec" : durabilityOf(values.durability ?? "fsync"),
    ledger: !values["no-ledger"],
    viaGateway: values["via-gateway"],
    seconds: whole(values.seconds, 5),
    warmup: whole(values.warmup, 4),
    connections: whole(values.connections, 0),
    perGateway: Math.max(1, whole(values["per-gateway"], 17_500)),
    messages: whole(values.messages, 0),
    minutes: Math.max(1, whole(values.minutes, 30)),
    growth: values.growth,
    rounds: Math.max(1, whole(values.rounds, 3)),
    peers: peersOf(values.peers),
  };
}
