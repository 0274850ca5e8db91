/**
 * The alerts: checked by promtool and amtool, each with a unit test and a runbook entry, and once for
 * real: every push process is stopped while people send, until a real Alertmanager has called.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster } from "../integration/cluster.ts";
import { RawClient } from "../integration/raw_client.ts";
import { Alertmanager, MONITORING, Prometheus } from "./prometheus_server.ts";
import { untilSettled } from "./settled.ts";

const START_MS = 60_000;
const RULES = join(MONITORING, "prometheus/rules");
const TESTS = join(MONITORING, "prometheus/tests");
const ALERTMANAGER = join(MONITORING, "alertmanager/alertmanager.yml");

interface Rule {
  readonly alert?: string;
  readonly expr: string;
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
}

const filesIn = (dir: string) => readdirSync(dir).map((file) => join(dir, file));
const yaml = (file: string) => Bun.YAML.parse(readFileSync(file, "utf8")) as unknown;
const alerts = filesIn(RULES)
  .flatMap((file) => (yaml(file) as { groups: { rules: Rule[] }[] }).groups)
  .flatMap(({ rules }) => rules)
  .filter((rule): rule is Rule & { alert: string } => rule.alert !== undefined);

async function run(...command: string[]): Promise<{ code: number; output: string }> {
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: await child.exited, output: out + err };
}

describe("as files", () => {
  test("promtool accepts the configuration and the rules", async () => {
    const config = join(MONITORING, "prometheus/prometheus.yml");
    const checked = await run("promtool", "check", "config", "--lint=all", config);
    expect(checked.code, checked.output).toBe(0);
    const rules = await run("promtool", "check", "rules", "--lint-fatal", ...filesIn(RULES));
    expect(rules.code, rules.output).toBe(0);
  });

  test("promtool's unit tests pass, and there is one for each alert that fires and one that not", async () => {
    const tested = await run("promtool", "test", "rules", ...filesIn(TESTS));
    expect(tested.code, tested.output).toBe(0);
    const cases = filesIn(TESTS)
      .flatMap((file) => (yaml(file) as { tests: Record<string, unknown>[] }).tests)
      .flatMap((each) => each.alert_rule_test as { alertname: string; exp_alerts: unknown[] }[]);
    for (const { alert } of alerts) {
      const own = cases.filter(({ alertname }) => alertname === alert);
      const fires = own.some(({ exp_alerts }) => exp_alerts.length > 0);
      const silent = own.some(({ exp_alerts }) => exp_alerts.length === 0);
      expect([alert, fires, silent]).toEqual([alert, true, true]);
    }
  });

  test("a unit test can fail: promtool notices a threshold that was changed", async () => {
    const dir = mkdtempSync(join(tmpdir(), "chatify-rules-"));
    const text = readFileSync(join(RULES, "storage.yml"), "utf8");
    expect(text).toContain("> 0.8");
    writeFileSync(join(dir, "storage.yml"), text.replace("> 0.8", "> 0.95"));
    const unit = readFileSync(join(TESTS, "storage.yml"), "utf8");
    writeFileSync(join(dir, "test.yml"), unit.replace("../rules/storage.yml", "storage.yml"));
    const { code, output } = await run("promtool", "test", "rules", join(dir, "test.yml"));
    expect(code).not.toBe(0);
    expect(output).toContain("ChatifyRedisMemoryHigh");
    rmSync(dir, { recursive: true });
  });

  test("amtool accepts the configuration and routes by severity", async () => {
    const checked = await run("amtool", "check-config", ALERTMANAGER);
    expect(checked.code, checked.output).toBe(0);
    for (const [severity, receiver] of [
      ["critical", "page"],
      ["warning", "ticket"],
    ]) {
      const route = ["config", "routes", "test", `--config.file=${ALERTMANAGER}`];
      const { output } = await run("amtool", ...route, `severity=${severity}`);
      expect(output.split("\n", 1)[0]).toBe(receiver ?? "");
    }
  });

  test("Alertmanager inhibits by names of alerts that exist", () => {
    const names = new Set(alerts.map(({ alert }) => alert));
    const asked = readFileSync(ALERTMANAGER, "utf8").match(/Chatify[A-Z]\w+/g) ?? [];
    expect(asked.filter((name) => !names.has(name))).toEqual([]);
  });

  test("each alert has a severity, a summary and a runbook entry that says what to do", () => {
    const page = readFileSync(join(MONITORING, "../docs/RUNBOOK.md"), "utf8");
    const entries = new Map(
      page
        .split(/^### /m)
        .slice(1)
        .map((entry) => [entry.split("\n", 1)[0] ?? "", entry]),
    );
    for (const { alert, annotations = {}, labels = {} } of alerts) {
      expect(["critical", "warning"]).toContain(labels.severity ?? "");
      expect(annotations.summary?.length).toBeGreaterThan(10);
      // What GitHub makes of a heading: lower case, spaces to dashes.
      expect(annotations.runbook_url).toBe(`docs/RUNBOOK.md#${alert.toLowerCase()}`);
      const entry = entries.get(alert) ?? "";
      for (const part of ["**Means**", "**Look at**", "**Do**"]) {
        expect([alert, entry.includes(part)]).toEqual([alert, true]);
      }
    }
    expect([...entries.keys()].sort()).toEqual(alerts.map(({ alert }) => alert).sort());
  });
});

/** All alerts but the one that says that the machine is slow, which a busy one rightly is. */
const OF_THE_CLUSTER = 'alertname!="ChatifyEventLoopLag"';

describe("for real", () => {
  const dir = mkdtempSync(join(tmpdir(), "chatify-alerts-"));
  const called: { receiver: string; alerts: string[] }[] = [];
  const pager = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const body = (await request.json()) as {
        receiver: string;
        status: string;
        alerts: { labels: Record<string, string> }[];
      };
      const names = body.alerts.map(({ labels }) => labels.alertname ?? "");
      if (body.status === "firing") called.push({ receiver: body.receiver, alerts: names });
      return new Response();
    },
  });
  let cluster: Cluster;
  let alertmanager: Alertmanager;
  let prometheus: Prometheus;

  beforeAll(async () => {
    cluster = await Cluster.start({ layout: "split" });
    await untilSettled(cluster);
    alertmanager = await Alertmanager.start(impatientAlertmanager(dir, pager.port ?? 0));
    const address = alertmanager.address;
    prometheus = await Prometheus.start({
      cluster,
      alertmanager: address,
      rules: impatientRules(),
    });
  }, START_MS);

  afterAll(async () => {
    for (const node of cluster?.nodes ?? []) node.process.kill("SIGCONT");
    await prometheus?.stop();
    await alertmanager?.stop();
    await cluster?.stop();
    await pager.stop(true);
    rmSync(dir, { recursive: true, force: true });
  }, START_MS);

  const until = async (what: string, condition: () => Promise<boolean>, ms = 25_000) => {
    const deadline = performance.now() + ms;
    while (!(await condition())) {
      if (performance.now() > deadline) {
        const known = (await alertmanager.alerts()).map(
          (a) => `${a.labels.alertname} ${a.status.state}`,
        );
        throw new Error(`waited ${ms} ms for ${what}; Alertmanager has ${known.join(", ")}`);
      }
      await Bun.sleep(200);
    }
  };
  const stateOf = async (name: string) => {
    const found = (await alertmanager.alerts()).find(({ labels }) => labels.alertname === name);
    return found?.status.state ?? "none";
  };

  test("a backlog that grows calls the pager, and everything is delivered afterwards", async () => {
    const gateway = cluster.gateways()[0] as string;
    const a = await RawClient.connect(gateway, "alice");
    const b = await RawClient.connect(gateway, "bob");
    a.chat("bob", "before", "c0");
    await b.received(1);
    // Prometheus takes five seconds to find its targets, and an increase needs a value before it.
    await until("Prometheus to know a healthy cluster", async () => {
      const up = await prometheus.query(
        "count(count_over_time(chatify_nodes_lost_total[3s]) >= 3)",
      );
      const firing = await prometheus.query(`ALERTS{${OF_THE_CLUSTER}}`);
      const all = Number(up[0]?.value[1] ?? 0) === cluster.nodes.length;
      return all && firing.length === 0;
    });

    const push = cluster.nodes.filter((node) => node.roles === "push");
    for (const node of push) node.process.kill("SIGSTOP");
    let sent = 1;
    let sending = true;
    const sender = (async () => {
      for (; sending; sent++) {
        a.chat("bob", `while push is away ${sent}`, `c${sent}`);
        await Bun.sleep(20);
      }
    })();
    await until("a growing backlog", async () => {
      const [found] = await prometheus.query(
        'ALERTS{alertname="ChatifyBacklogGrowing",alertstate="firing",topic="push_task"}',
      );
      return found !== undefined;
    });
    await until("the pager to be called", async () =>
      called.some(
        (call) => call.receiver === "page" && call.alerts.includes("ChatifyPartitionWithoutOwner"),
      ),
    );
    await until("the lost nodes to be noticed", async () => {
      // It ends by itself, and may have by now.
      const fired = 'ALERTS{alertname="ChatifyNodeLost",alertstate="firing"}';
      const found = await prometheus.query(`count_over_time(${fired}[1m])`);
      return found.length > 0;
    });
    // What nobody owns grows: the cause is told, and the backlog is kept quiet beside it.
    await until(
      "inhibition",
      async () => (await stateOf("ChatifyBacklogGrowing")) === "suppressed",
    );
    const [backlog] = await prometheus.query('chatify:backlog:entries{topic="push_task"}');
    expect(Number(backlog?.value[1])).toBeGreaterThan(20);

    sending = false;
    await sender;
    for (const node of push) node.process.kill("SIGCONT");
    const messages = await b.received(sent);
    expect(messages.map(({ seq }) => seq)).toEqual([...Array(sent)].map((_, i) => i + 1));
    await until(
      "the alerts to end",
      async () =>
        ["none", "none"].join() ===
        [
          await stateOf("ChatifyPartitionWithoutOwner"),
          await stateOf("ChatifyBacklogGrowing"),
        ].join(),
    );
    a.close();
    b.close();
  }, 90_000);
});

/** The rules of the project, for a test that cannot wait minutes: shorter windows, lower bounds. */
function impatientRules(): Record<string, string> {
  const rules: Record<string, string> = {};
  for (const file of readdirSync(RULES)) {
    rules[file] = readFileSync(join(RULES, file), "utf8")
      .replace(/for: \d+[sm]/g, "for: 1s")
      .replace(/\[\d+m\]/g, "[10s]")
      .replace("chatify:backlog:entries > 500", "chatify:backlog:entries > 20");
  }
  return rules;
}

/** The Alertmanager of the project with a pager, which it calls without waiting. */
function impatientAlertmanager(dir: string, port: number): string {
  const config = yaml(ALERTMANAGER) as {
    route: Record<string, unknown> & { routes: Record<string, unknown>[] };
    receivers: { name: string }[];
  };
  const quick = { group_wait: "1s", group_interval: "1s" };
  const { receivers, route } = config;
  const webhook_configs = [{ url: `http://127.0.0.1:${port}/` }];
  const test = {
    ...config,
    route: { ...route, ...quick, routes: route.routes.map((each) => ({ ...each, ...quick })) },
    receivers: receivers.map(({ name }) => ({ name, webhook_configs })),
  };
  const file = join(dir, "alertmanager.yml");
  writeFileSync(file, JSON.stringify(test));
  return file;
}
