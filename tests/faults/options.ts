/** The command line of `bun run faults`. */
import { parseArgs } from "node:util";

export interface FaultOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly json: boolean;
  /** Accepted messages wanted; with fewer the run fails. */
  readonly messages: number;
  readonly backend: "sqlite" | "postgres";
  readonly faults: number;
  readonly users: number;
  /** The longest that a process is stopped. */
  readonly stopMaxMs: number;
  /** Deletes a stored message behind everybody's back, which the run must report. */
  readonly plant: boolean;
  /** Connections of a reconnect storm, instead of a schedule; 0 for none. */
  readonly storm: number;
  readonly keepLogs: boolean;
  /** Only kinds in whose name one of these stands; empty for all. */
  readonly kinds: readonly string[];
}

export const USAGE = `bun run faults [options]
  --seconds N      how long faults go on (default 60)
  --seed S         of the schedule and of the traffic (default 1)
  --messages N     accepted messages wanted (default 350 a second)
  --faults N       faults in all (default one in 2.2 s)
  --backend B      sqlite or postgres (default sqlite)
  --users N        users (default 36)
  --stop-max S     longest time a process is stopped, in seconds (default 60, at most a quarter of the run)
  --kinds A,B      only kinds of faults in whose name A or B stands, such as "SIGKILL push,redis"
  --plant          delete a stored message behind everybody's back: the run must fail
  --storm N        N clients that all reconnect at once, instead of a schedule
  --keep           keep the logs of a run that passed
  --json           one JSON line on stdout, everything else on stderr`;

export class UsageError extends Error {}

export function readOptions(args: readonly string[]): FaultOptions {
  const { values } = parse(args);
  const seconds = number("seconds", values.seconds, 60);
  const backend = values.backend ?? "sqlite";
  if (backend !== "sqlite" && backend !== "postgres") {
    throw new UsageError(`--backend takes sqlite or postgres, got "${backend}"`);
  }
  const stopMaxS = number("stop-max", values["stop-max"], Math.min(60, seconds / 4));
  return {
    seconds,
    backend,
    seed: number("seed", values.seed, 1),
    messages: number("messages", values.messages, Math.round(seconds * 350)),
    faults: number("faults", values.faults, Math.max(1, Math.floor(seconds / 2.2))),
    users: number("users", values.users, 36),
    stopMaxMs: stopMaxS * 1_000,
    storm: number("storm", values.storm, 0),
    json: values.json ?? false,
    plant: values.plant ?? false,
    keepLogs: values.keep ?? false,
    kinds: (values.kinds ?? "").split(",").filter((name) => name !== ""),
  };
}

/** The options that make this run again. */
export function replayCommand(options: FaultOptions): string {
  const { backend, faults, kinds, messages, plant, seconds, seed, stopMaxMs, users } = options;
  const run = `bun run faults --seconds ${seconds} --seed ${seed} --faults ${faults}`;
  const more = `--messages ${messages} --backend ${backend} --users ${users}`;
  const only = kinds.length > 0 ? ` --kinds "${kinds.join()}"` : "";
  return `${run} ${more}${only} --stop-max ${stopMaxMs / 1_000}${plant ? " --plant" : ""}`;
}

function parse(args: readonly string[]) {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        ...{ seconds: text, seed: text, messages: text, faults: text, backend: text, users: text },
        ...{ "stop-max": text, storm: text, kinds: text, plant: flag, keep: flag, json: flag },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function number(name: string, given: string | undefined, otherwise: number): number {
  if (given === undefined) return otherwise;
  const value = Number(given);
  if (!Number.isFinite(value) || value < 0 || given.trim() === "") {
    throw new UsageError(`--${name} takes a number from 0 on, got "${given}"`);
  }
  return value;
}
