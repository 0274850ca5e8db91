/** A gateway on a real socket, with access nodes that a test plays. */
import { pino } from "pino";
import { createTokenVerifier, type TokenVerifierOptions } from "../../../core/auth/tokens.ts";
import { type Clock, systemClock, systemRandom } from "../../../core/clock.ts";
import { silentLedger } from "../../../core/ledger/contract.ts";
import { LIMITS, type Limits } from "../../../core/limits.ts";
import { type ServerFrame, SUBPROTOCOL, WEBSOCKET_PATH } from "../../../core/protocol/frames.ts";
import type { NodeRecord } from "../../../core/registry/contract.ts";
import { createMetrics } from "../../../core/telemetry/metrics.ts";
import type { Telemetry } from "../../../core/telemetry/telemetry.ts";
import { silentTracer } from "../../../core/telemetry/trace.ts";
import type { Role } from "../../../core/topology.ts";
import type { GatewayConfig } from "../gateway_deps.ts";
import { createGatewayRole, type GatewayRole } from "../role.ts";
import { accessNode, FakeTrunk } from "./fake_trunk.ts";

export interface FixtureOptions {
  readonly config?: Partial<GatewayConfig>;
  readonly limits?: Partial<Limits>;
  readonly verifier?: Partial<TokenVerifierOptions>;
  readonly access?: readonly string[];
  readonly roleNodes?: (role: Role) => readonly NodeRecord[];
  readonly clock?: Clock;
  readonly telemetry?: Partial<Telemetry>;
}

export interface Fixture {
  readonly role: GatewayRole;
  readonly trunk: FakeTrunk;
  /** May be changed by the test. */
  nodes: NodeRecord[];
  readonly telemetry: Telemetry;
  readonly http: string;
  readonly ws: string;
  connect(user: string, query?: string): Promise<Client>;
}

export async function startGateway(options: FixtureOptions = {}): Promise<Fixture> {
  const trunk = new FakeTrunk();
  const names = options.access ?? ["access-1"];
  const telemetry: Telemetry = {
    log: pino({ level: "silent" }),
    metrics: createMetrics(),
    tracer: silentTracer,
    ledger: silentLedger,
    ...options.telemetry,
  };
  const clock = options.clock ?? systemClock;
  const state = { nodes: names.map((name) => accessNode(name)) };
  const role = createGatewayRole({
    config: { host: "127.0.0.1", port: 0, authMode: "dev", allowedOrigins: [], ...options.config },
    verifier: createTokenVerifier({ mode: "dev", clock, ...options.verifier }),
    trunk,
    accessNodes: () => state.nodes,
    roleNodes: options.roleNodes ?? (() => []),
    partitions: { chat: 8, user: 8 },
    clock,
    random: systemRandom,
    telemetry,
    limits: { ...LIMITS, ...options.limits },
    selfNode: trunk.self,
  });
  await role.start();
  for (const name of names) trunk.raise(name);
  const base = `127.0.0.1:${role.port}`;
  const ws = `ws://${base}${WEBSOCKET_PATH}`;
  return Object.defineProperty(
    {
      role,
      trunk,
      telemetry,
      http: `http://${base}`,
      ws,
      connect: (user: string, query = "") => Client.open(`${ws}?token=dev:${user}${query}`),
    } as Fixture,
    "nodes",
    {
      get: () => state.nodes,
      set: (nodes: NodeRecord[]) => {
        state.nodes = nodes;
      },
    },
  );
}

/** Bun's WebSocket takes headers; the DOM's type of it does not know. */
const BunWebSocket = WebSocket as unknown as new (
  url: string,
  options: Bun.WebSocketOptions | string[],
) => WebSocket;

/** A client on Bun's own WebSocket that keeps what it gets. */
export class Client {
  readonly frames: ServerFrame[] = [];
  /** The WebSocket messages as they came. */
  readonly texts: string[] = [];
  closed: { code: number; reason: string } | null = null;
  readonly socket: WebSocket;
  private waiters: (() => void)[] = [];

  constructor(url: string, options: Bun.WebSocketOptions | string[]) {
    this.socket = new BunWebSocket(url, options);
    this.socket.onmessage = ({ data }) => {
      const text = String(data);
      this.texts.push(text);
      const value = JSON.parse(text) as ServerFrame | ServerFrame[];
      this.frames.push(...(Array.isArray(value) ? value : [value]));
      this.wake();
    };
    this.socket.onclose = ({ code, reason }) => {
      this.closed = { code, reason };
      this.wake();
    };
    this.socket.onerror = () => {};
    this.socket.onopen = () => this.wake();
  }

  /** Opens and waits for `welcome`. */
  static async open(url: string, options: Bun.WebSocketOptions | string[] = [SUBPROTOCOL]) {
    const client = new Client(url, options);
    await client.next("welcome");
    return client;
  }

  send(...frames: unknown[]): void {
    this.socket.send(JSON.stringify(frames.length === 1 ? frames[0] : frames));
  }

  /** Sends a chat message. */
  chat(to: string, clientMsgId: string, content = "hi"): void {
    this.send({ type: "send", client_msg_id: clientMsgId, to_user_id: to, content });
  }

  all<T extends ServerFrame["type"]>(type: T): Extract<ServerFrame, { type: T }>[] {
    return this.frames.filter((f): f is Extract<ServerFrame, { type: T }> => f.type === type);
  }

  /** The `nth` frame of a type, once it is there. */
  async next<T extends ServerFrame["type"]>(type: T, nth = 1) {
    await this.until(() => this.all(type).length >= nth, `${nth} × ${type}`);
    return this.all(type)[nth - 1] as Extract<ServerFrame, { type: T }>;
  }

  async end(): Promise<{ code: number; reason: string }> {
    await this.until(() => this.closed !== null, "close", true);
    return this.closed ?? { code: 0, reason: "" };
  }

  async until(done: () => boolean, what: string, closing = false): Promise<void> {
    const deadline = performance.now() + 4_000;
    while (!done()) {
      if (this.closed !== null && !closing) {
        throw new Error(`closed with ${this.closed.code} while waiting for ${what}`);
      }
      if (performance.now() > deadline) {
        throw new Error(`no ${what}; got ${JSON.stringify(this.frames).slice(0, 500)}`);
      }
      await new Promise<void>((resolve) => {
        this.waiters.push(resolve);
        setTimeout(resolve, 20);
      });
    }
  }

  private wake(): void {
    const { waiters } = this;
    this.waiters = [];
    for (const resolve of waiters) resolve();
  }
}

/** Waits until `done`, for what no client sees. */
export async function eventually(done: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 4_000;
  while (!done()) {
    if (performance.now() > deadline) throw new Error(`never: ${what}`);
    await Bun.sleep(5);
  }
}
