/** Fanout: one message to a group of which all are connected, beside Bun's own publish. */
import { Alternation, cpuUs, perSecond } from "./alternation.ts";
import type { FanoutJob } from "./job.ts";
import { userName } from "./load/tokens.ts";
import type { Options } from "./options.ts";
import { commandsPerMessage, entriesPerMessage } from "./redis_figures.ts";
import type { Report } from "./report.ts";
import { startFloor } from "./targets/floor.ts";
import { API_KEY, JWT_SECRET, type Target } from "./targets/target.ts";

/** GROUP_MEMBERS_MAX, the writer included. */
const USERS = 10_000;
const GROUP = "everybody";

export async function benchFanout(options: Options, profileDir: string | null): Promise<Report> {
  const users = options.users || USERS;
  const job = (target: Target, ours: boolean): FanoutJob => ({
    kind: "fanout",
    wsPorts: target.wsPorts,
    path: target.path,
    secret: JWT_SECRET,
    users,
    pids: [...target.pids.keys()],
    warmupS: options.warmup,
    seconds: options.seconds,
    group: GROUP,
    acks: ours,
  });
  const runs = await Alternation.run({
    options,
    profileDir,
    startFloor: () => startFloor("publish"),
    job,
    prepare: (target) => createGroup(target, users),
  });
  const [ours, floor] = runs.medians(perSecond);
  return {
    bench: "fanout",
    unit: "deliveries a second",
    ours,
    floor,
    ratio: ours / floor,
    rows: [
      runs.row("CPU per delivery, µs", cpuUs),
      ...runs.cpuRows(),
      runs.row("delivery p50, ms", ({ load }) => load.delivery.p50Ms),
      runs.row("delivery p99, ms", ({ load }) => load.delivery.p99Ms),
      runs.row("load generator, cores", ({ load }) => load.loadCpu),
      runs.row("Redis commands per delivery", commandsPerMessage),
      runs.row("stream entries per delivery", entriesPerMessage),
      runs.row("duplicates", ({ load }) => load.duplicates),
      runs.row("missing", ({ load }) => load.missing),
    ],
    details: {
      recipients: users - 1,
      cpu_us: runs.cpu(),
      cpu_us_per_delivery: runs.medians(cpuUs),
    },
  };
}

async function createGroup(target: Target, users: number): Promise<void> {
  const members = Array.from({ length: users }, (_, i) => userName(i));
  const response = await fetch(`http://127.0.0.1:${target.httpPorts[0]}/chatify/logic/v1/groups`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${API_KEY}` },
    body: JSON.stringify({ group_id: GROUP, owner_id: members[0], members }),
  });
  if (!response.ok) throw new Error(`the group could not be made: ${await response.text()}`);
}
