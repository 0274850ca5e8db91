/**
 * The Helm chart, rendered with several sets of values and checked against Kubernetes' own schemas, in
 * which an unknown field is an error; and against what its pods run, and who may reach them.
 */
import { beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readConfig } from "../../src/core/config.ts";
import { CHART, README, readmeWithTable } from "./chart_values.ts";
import { PROJECT, run } from "./command.ts";
import { SERVICES } from "./deployment.ts";
import { ensureTools, TOOLS_MS } from "./tools.ts";

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels: Record<string, string> };
  readonly spec: Record<string, unknown>;
  readonly data?: Record<string, string>;
  readonly stringData?: Record<string, string>;
}

interface Container {
  readonly env: { readonly name: string; readonly value?: string }[];
  readonly envFrom: { readonly secretRef?: { readonly name: string } }[];
  readonly ports: { readonly name: string; readonly containerPort: number }[];
  readonly lifecycle?: { readonly preStop: object };
  readonly readinessProbe: { readonly httpGet: { readonly path: string; readonly port: string } };
  readonly livenessProbe: { readonly httpGet: { readonly path: string } };
  readonly startupProbe: object;
  readonly securityContext: object;
}

interface Pod {
  readonly metadata: { readonly annotations: Record<string, string> };
  readonly spec: {
    readonly containers: readonly [Container];
    readonly terminationGracePeriodSeconds: number;
    readonly automountServiceAccountToken: boolean;
    readonly securityContext: object;
  };
}

const SECRETS = {
  redisUrl: "redis://:pw@redis.example.org:6379",
  clusterSecret: "a-cluster-secret",
  apiKeys: "an-api-key-of-16+",
  jwtSecret: "a-secret-for-tokens-of-32-chars!",
};
const ALL_ON = {
  secrets: { existing: "my-secrets" },
  auth: { jwksUrl: "https://login.example.org/jwks.json", allowedOrigins: "https://a.example" },
  tracing: { endpoint: "http://jaeger:4318", sampleRatio: 0.1 },
  env: { KEY_PREFIX: "x", LOG_LEVEL: "debug" },
  extraEnv: [{ name: "SENSITIVE_WORDS_FILE", value: "/data/words.txt" }],
  extraEnvFrom: [{ configMapRef: { name: "more" } }],
  ...Object.fromEntries(
    ["gateway", "access", "logic", "push"].map((role) => [
      role,
      { autoscaling: { enabled: true } },
    ]),
  ),
  offline: { database: "postgres", replicas: 2, autoscaling: { enabled: true } },
  ingress: { enabled: true, host: "chat.example.org", className: "nginx", tlsSecret: "tls" },
  networkPolicy: {
    clients: [{ namespaceSelector: { matchLabels: { name: "ingress" } } }],
    egress: { enabled: true, allow: [{ to: [{ ipBlock: { cidr: "10.0.0.0/8" } }] }] },
  },
  serviceMonitor: { enabled: true, labels: { release: "prometheus" } },
  prometheusRule: { enabled: true },
  dashboards: { enabled: true },
  image: { pullSecrets: [{ name: "registry" }] },
};
const VALUES: Record<string, object> = {
  "the least": { secrets: SECRETS },
  "everything on": ALL_ON,
  "Postgres, by single secrets": {
    secrets: { ...SECRETS, offlineDatabaseUrl: "postgres://u:p@db/chatify" },
    offline: { database: "postgres", replicas: 3 },
  },
  "everything off": {
    secrets: SECRETS,
    networkPolicy: { enabled: false },
    podDisruptionBudget: { enabled: false },
    serviceAccount: { create: false },
    gateway: { preStopSeconds: 0, service: { type: "LoadBalancer" } },
  },
};

beforeAll(ensureTools, TOOLS_MS);

async function render(values: object, version = "1.37.0"): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "chatify-chart-"));
  const file = join(dir, "values.json");
  writeFileSync(file, JSON.stringify(values));
  const flags = ["--namespace", "chat", "--kube-version", version, "--values", file];
  return run(["helm", "template", "c", CHART, ...flags]).finally(() =>
    rmSync(dir, { recursive: true }),
  );
}

function manifests(text: string): Manifest[] {
  return text
    .split(/^---$/m)
    .map((part) => Bun.YAML.parse(part) as Manifest | null)
    .filter((part): part is Manifest => part !== null && typeof part === "object");
}

const named = (all: Manifest[], kind: string) => all.filter((manifest) => manifest.kind === kind);
const podOf = (manifest: Manifest) => manifest.spec.template as Pod;
const roleOf = ({ metadata }: Manifest) => metadata.labels["app.kubernetes.io/component"] ?? "";
const workloads = (all: Manifest[]) => [...named(all, "Deployment"), ...named(all, "StatefulSet")];

/** Kinds of the Prometheus operator, whose schemas are in a package of their own. */
const OPERATOR = "monitoring.coreos.com/v1";

type Model = new (manifest: unknown) => { validate(): void };

async function operatorKinds(): Promise<Record<string, Model>> {
  const models = ".tools/schemas/node_modules/@kubernetes-models/prometheus-operator";
  return (await import(join(PROJECT, models, "monitoring.coreos.com/v1/index.js"))) as Record<
    string,
    Model
  >;
}

for (const [name, values] of Object.entries(VALUES)) {
  describe(`with ${name}`, () => {
    let text: string;
    let all: Manifest[];

    beforeAll(async () => {
      text = await render(values);
      all = manifests(text);
    });

    test("every manifest is what Kubernetes knows, of the oldest version and of the newest", async () => {
      const dir = mkdtempSync(join(tmpdir(), "chatify-manifests-"));
      const file = join(dir, "manifests.yaml");
      const own = all.filter(({ apiVersion }) => apiVersion !== OPERATOR);
      writeFileSync(file, own.map((manifest) => JSON.stringify(manifest)).join("\n---\n"));
      for (const version of ["1.30", "1.37"]) {
        const command = ["kubernetes-validate", "--strict", "-k", version, file];
        const said = await run(command);
        expect(said.match(/passed for resource/g)).toHaveLength(own.length);
      }
      rmSync(dir, { recursive: true });
      const kinds = await operatorKinds();
      for (const manifest of all.filter(({ apiVersion }) => apiVersion === OPERATOR)) {
        const Kind = kinds[manifest.kind] as Model;
        new Kind(manifest).validate();
        const broken = { ...manifest, spec: { ...manifest.spec, endpoints: 1, groups: 1 } };
        expect(() => new Kind(broken).validate()).toThrow();
      }
    });

    test("there is one workload per role, and its environment is a configuration", () => {
      expect(workloads(all).map(roleOf).sort()).toEqual([...SERVICES].sort());
      for (const manifest of workloads(all)) {
        const [container] = podOf(manifest).spec.containers;
        const { offlineDatabaseUrl = "", ...secrets } = SECRETS as Record<string, string>;
        const env: Record<string, string> = {
          REDIS_URL: secrets.redisUrl ?? "",
          CLUSTER_SECRET: secrets.clusterSecret ?? "",
          API_KEYS: secrets.apiKeys ?? "",
          JWT_SECRET: secrets.jwtSecret ?? "",
          OFFLINE_DATABASE_URL: offlineDatabaseUrl,
        };
        for (const { name: variable, value } of container.env) env[variable] = value ?? "10.0.0.1";
        const config = readConfig(env);
        expect(config.roles).toEqual([roleOf(manifest) as (typeof SERVICES)[number]]);
        expect(config.adminHost).toBe("0.0.0.0");
        const ports = container.ports.map(({ containerPort }) => containerPort);
        expect(ports).toContain(config.adminPort);
        const known = roleOf(manifest) as keyof typeof config.ports;
        expect(ports).toContain(config.ports[known]);
        if (known === "access") expect(ports).toContain(config.ports.trunk);
      }
    });

    test("pods drain, are probed, and may do nothing that they need not", () => {
      for (const manifest of workloads(all)) {
        const { spec } = podOf(manifest);
        const [container] = spec.containers;
        expect(spec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(15);
        expect(container.readinessProbe.httpGet).toEqual({ path: "/readyz", port: "admin" });
        expect(container.livenessProbe.httpGet.path).toBe("/healthz");
        expect(container.startupProbe).toBeDefined();
        expect(spec.automountServiceAccountToken).toBe(false);
        expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 65532 });
        expect(container.securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        });
      }
    });

    test("what selects pods selects some", () => {
      const pods = workloads(all).map((manifest) => ({
        role: roleOf(manifest),
        labels: (manifest.spec.template as { metadata: { labels: Record<string, string> } })
          .metadata.labels,
      }));
      const selectors = all.flatMap(({ kind, metadata, spec }) => {
        const selector = (spec?.selector ?? spec?.podSelector) as
          | Record<string, unknown>
          | undefined;
        if (selector === undefined || kind === "ServiceMonitor") return [];
        return [
          [metadata.name, (selector.matchLabels ?? selector) as Record<string, string>] as const,
        ];
      });
      for (const [selecting, labels] of selectors) {
        const fits = pods.filter((pod) =>
          Object.entries(labels).every(([key, value]) => pod.labels[key] === value),
        );
        expect([selecting, fits.length > 0]).toEqual([selecting, true]);
      }
    });
  });
}

describe("the chart", () => {
  test("has no secret of its own: it says what is missing", async () => {
    for (const [values, complaint] of [
      [{}, "secrets.redisUrl is required"],
      [{ secrets: { ...SECRETS, clusterSecret: "" } }, "secrets.clusterSecret is required"],
      [{ secrets: { ...SECRETS, apiKeys: "" } }, "secrets.apiKeys is required"],
      [{ secrets: { ...SECRETS, jwtSecret: "" } }, "secrets.jwtSecret or auth.jwksUrl"],
      [{ secrets: { ...SECRETS, existing: "x" } }, "the other values of secrets must be empty"],
      [{ secrets: SECRETS, offline: { replicas: 2 } }, "offline on sqlite is one pod"],
      [{ secrets: SECRETS, offline: { database: "postgres" } }, "secrets.offlineDatabaseUrl"],
      [{ secrets: { ...SECRETS, clusterSecret: "short" } }, "clusterSecret"],
      [{ secrets: SECRETS, gatway: {} }, "gatway"],
    ] as const) {
      const said = await render(values).catch((error: Error) => error.message);
      expect(said).toContain(complaint);
    }
    await expect(render({ secrets: SECRETS }, "1.29.0")).rejects.toThrow("1.29");
  });

  test("puts secrets into its Secret and nowhere else, and replaces pods when they change", async () => {
    const all = manifests(await render({ secrets: SECRETS }));
    for (const manifest of all) {
      const text = JSON.stringify(manifest);
      for (const secret of Object.values(SECRETS)) {
        expect([manifest.kind, text.includes(secret)]).toEqual([
          manifest.kind,
          manifest.kind === "Secret",
        ]);
      }
    }
    const other = manifests(await render({ secrets: { ...SECRETS, apiKeys: "x".repeat(16) } }));
    const sums = [all, other].map((each) =>
      workloads(each).map((manifest) => podOf(manifest).metadata.annotations["chatify/secrets"]),
    );
    expect(new Set(sums.flat()).size).toBe(2);
    const existing = manifests(await render(ALL_ON));
    expect(named(existing, "Secret")).toEqual([]);
    for (const manifest of workloads(existing)) {
      const [container] = podOf(manifest).spec.containers;
      expect(container.envFrom[0]?.secretRef?.name).toBe("my-secrets");
    }
  });

  test("scales on connections, sessions and backlog, and leaves replicas to the autoscaler", async () => {
    const all = manifests(await render(ALL_ON));
    const metrics = Object.fromEntries(
      named(all, "HorizontalPodAutoscaler").map((manifest) => [
        roleOf(manifest),
        JSON.stringify(manifest.spec.metrics),
      ]),
    );
    expect(Object.keys(metrics).sort()).toEqual([...SERVICES].sort());
    expect(metrics.gateway).toContain('"chatify_connections"');
    expect(metrics.access).toContain('"chatify_sessions"');
    expect(metrics.logic).toContain('"matchLabels":{"topic":"chat_input"}');
    expect(metrics.push).toContain('"matchLabels":{"topic":"push_task"}');
    for (const manifest of workloads(all)) expect(manifest.spec).not.toHaveProperty("replicas");
    const adapter = readFileSync(join(PROJECT, "deploy/prometheus-adapter.yaml"), "utf8");
    const rules = Bun.YAML.parse(adapter) as {
      rules: { custom: { seriesQuery: string }[]; external: { name: { as: string } }[] };
    };
    expect(rules.rules.custom[0]?.seriesQuery).toContain("chatify_connections|chatify_sessions");
    expect(rules.rules.external[0]?.name.as).toBe("chatify_backlog_entries");
    expect(metrics.push).toContain('"chatify_backlog_entries"');
  });

  test("keeps SQLite in one StatefulSet with a volume, and Postgres in a Deployment", async () => {
    const least = manifests(await render({ secrets: SECRETS }));
    const [sqlite] = named(least, "StatefulSet");
    expect(sqlite?.spec).toMatchObject({ replicas: 1, volumeClaimTemplates: [{}] });
    expect(named(manifests(await render(ALL_ON)), "StatefulSet")).toEqual([]);
  });

  test("lets the gateway wait before SIGTERM, and has a budget for every role", async () => {
    const all = manifests(await render({ secrets: SECRETS }));
    const gateway = workloads(all).find((manifest) => roleOf(manifest) === "gateway");
    const { spec } = podOf(gateway as Manifest);
    expect(spec.containers[0].lifecycle).toEqual({ preStop: { sleep: { seconds: 5 } } });
    expect(spec.terminationGracePeriodSeconds).toBe(20);
    expect(named(all, "PodDisruptionBudget").map(roleOf).sort()).toEqual([...SERVICES].sort());
  });

  test("opens the gateway to clients, metrics to monitoring, and the rest to itself", async () => {
    const policies = named(manifests(await render({ secrets: SECRETS })), "NetworkPolicy");
    const open = policies.flatMap(
      ({ spec }) => spec.ingress as { from?: unknown; ports: unknown }[],
    );
    const everybody = open.filter(({ from }) => from === undefined);
    expect(everybody).toEqual([{ ports: [{ protocol: "TCP", port: 8080 }] }]);
    const monitored = open.filter(({ from }) => JSON.stringify(from)?.includes("monitoring"));
    expect(monitored.map(({ ports }) => ports)).toEqual([[{ protocol: "TCP", port: 9464 }]]);
  });

  test("has the rules and the dashboards of monitoring/, and a ServiceMonitor for all roles", async () => {
    const all = manifests(await render(ALL_ON));
    const [rule] = named(all, "PrometheusRule");
    const groups = rule?.spec.groups as { name: string; rules: { alert?: string }[] }[];
    const dir = join(PROJECT, "monitoring/prometheus/rules");
    const text = readdirSync(dir).map((file) => readFileSync(join(dir, file), "utf8"));
    const alerts = groups.flatMap(({ rules }) => rules).filter(({ alert }) => alert !== undefined);
    expect(alerts).toHaveLength(text.join("").match(/- alert:/g)?.length ?? 0);
    const boards = named(all, "ConfigMap");
    const files = readdirSync(join(PROJECT, "monitoring/grafana/dashboards"));
    expect(boards.flatMap(({ data }) => Object.keys(data ?? {})).sort()).toEqual(files.sort());
    for (const { data } of boards) {
      for (const board of Object.values(data ?? {}))
        expect(JSON.parse(board)).toHaveProperty("panels");
    }
    const [monitor] = named(all, "ServiceMonitor");
    const selector = monitor?.spec.selector as { matchLabels: Record<string, string> };
    const scraped = named(all, "Service").filter(({ metadata }) =>
      Object.entries(selector.matchLabels).every(([key, value]) => metadata.labels[key] === value),
    );
    expect(scraped.map(roleOf).sort()).toEqual([...SERVICES].sort());
    expect(monitor?.spec.endpoints).toEqual([
      {
        port: "admin",
        path: "/metrics",
        interval: "15s",
        relabelings: [
          { targetLabel: "job", replacement: "chatify" },
          {
            sourceLabels: ["__meta_kubernetes_pod_label_app_kubernetes_io_component"],
            targetLabel: "service",
          },
        ],
      },
    ]);
  });

  test("passes Helm's linter, and its README has every value as values.yaml has it", async () => {
    const dir = mkdtempSync(join(tmpdir(), "chatify-lint-"));
    writeFileSync(join(dir, "values.json"), JSON.stringify({ secrets: SECRETS }));
    await run(["helm", "lint", "--strict", CHART, "--values", join(dir, "values.json")]);
    rmSync(dir, { recursive: true });
    const write = "bun tests/deployment/chart_values.ts writes it anew";
    expect(readFileSync(README, "utf8"), write).toBe(readmeWithTable());
  });
});
