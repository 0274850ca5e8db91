/** What runs, who owns what, and what waits. */
import type { LeaseState } from "../../src/core/registry/contract.ts";
import { type ConsumerGroup, ROLES } from "../../src/core/topology.ts";
import { CLUSTER_OPTIONS, type ClusterView, connectRedis, GROUPS, viewCluster } from "./cluster.ts";
import type { Command } from "./command.ts";
import { PRESENCE_OPTIONS, presence } from "./presence.ts";
import { age, ranges, table } from "./table.ts";

export const status: Command = {
  name: "status",
  summary: "Shows nodes, partitions and their owners, what waits, and who is online",
  usage: "[options]",
  argumentsMax: 0,
  options: { ...CLUSTER_OPTIONS, ...PRESENCE_OPTIONS },
  async run(input) {
    if (input.text("users") !== undefined) return presence(input);
    const redis = await connectRedis(input);
    try {
      const view = await viewCluster(redis);
      input.print(textOf(view), jsonOf(view));
      return 0;
    } finally {
      redis.close();
    }
  },
};

function textOf(view: ClusterView): string {
  const rows = view.offlineRows === null ? "unknown" : String(view.offlineRows);
  const counts = [
    ["users online", String(view.usersOnline)],
    ["users with stored messages", String(view.usersWithRows)],
    ["rows in the offline store", rows],
    ["dead letters", String(view.deadLetters)],
    ["data reports", String(view.dataReports)],
  ];
  return [
    "NODES",
    nodeTable(view),
    "",
    "PARTITIONS",
    partitionTable(view),
    "",
    "WAITING",
    table(
      ["stream", "entries", "pending", "oldest"],
      view.backlog.map(({ topic, entries, pending, oldest_ms }) => {
        return [topic, String(entries), String(pending), entries > 0 ? age(oldest_ms) : "-"];
      }),
    ),
    "",
    table(["", ""], counts).split("\n").slice(1).join("\n"),
  ].join("\n");
}

/** One line per role and node, so that a role without any is seen at once. */
function nodeTable({ nodes }: ClusterView): string {
  const now = Date.now();
  const lines = ROLES.flatMap((role) => {
    const own = nodes.filter(({ roles }) => roles.includes(role));
    if (own.length === 0) return [[role, "none", "", "", ""]];
    return own.map((node) => {
      const port = role === "access" ? node.trunkPort : node.httpPorts[role];
      const state = node.draining ? "draining" : "serving";
      return [role, node.id, `${node.host}:${port ?? "-"}`, age(now - node.startedAt), state];
    });
  });
  return table(["role", "node", "address", "up", "state"], lines);
}

function partitionTable(view: ClusterView): string {
  const lines = GROUPS.flatMap((group) => {
    return [...byOwner(view.leases[group])].map(([owner, leases]) => {
      const epochs = leases.map(({ epoch }) => epoch);
      const [low, high] = [Math.min(...epochs), Math.max(...epochs)];
      const numbers = ranges(leases.map(({ partition }) => partition));
      return [group, owner ?? "NOBODY", numbers, low === high ? `${low}` : `${low} to ${high}`];
    });
  });
  return table(["role", "owner", "partitions", "epoch"], lines);
}

function byOwner(leases: readonly LeaseState[]): Map<string | null, LeaseState[]> {
  return Map.groupBy(leases, ({ owner }) => owner);
}

function jsonOf(view: ClusterView) {
  const leases = (group: ConsumerGroup) =>
    view.leases[group].map(({ partition, owner, epoch }) => ({ partition, owner, epoch }));
  return {
    nodes: view.nodes.map(({ id, roles, host, version, startedAt, draining }) => {
      return { id, roles, host, version, started_at: startedAt, draining };
    }),
    partitions: { logic: leases("logic"), push: leases("push") },
    backlog: view.backlog,
    dead_letters: view.deadLetters,
    data_reports: view.dataReports,
    users_online: view.usersOnline,
    users_with_stored: view.usersWithRows,
    offline_rows: view.offlineRows,
  };
}
