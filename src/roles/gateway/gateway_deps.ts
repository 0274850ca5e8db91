/**
 * What the gateway is given. Everything that touches time, other nodes or the key that tokens are
 * checked with comes in here, so that the same code runs in a test and in the simulator.
 */
import type { TokenVerifier } from "../../core/auth/tokens.ts";
import type { Clock, Random } from "../../core/clock.ts";
import type { Limits } from "../../core/limits.ts";
import type { NodeRecord } from "../../core/registry/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { Partitions, Role } from "../../core/topology.ts";
import type { Trunk } from "../../core/trunk/contract.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";

export interface GatewayConfig {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly authMode: "dev" | "jwt";
  /** Browser origins that may connect, such as `https://chat.example.org`; `*` means any. */
  readonly allowedOrigins: readonly string[];
  /** Clients per second; ADMISSIONS_PER_SECOND when absent. */
  readonly admissionRate?: number;
  /** How long a forwarded HTTP request may take; HTTP_FORWARD_TIMEOUT_MS when absent. */
  readonly forwardTimeoutMs?: number;
}

/** What the connections need; the simulator drives this part without any socket. */
export interface HubDeps {
  readonly selfNode: NodeId;
  readonly trunk: Trunk;
  /** Live access nodes, in any order; draining ones may be among them. */
  readonly accessNodes: () => readonly NodeRecord[];
  /** Calls back when others may have declared this node gone. */
  readonly onLapse?: (listener: () => void) => void;
  /** Calls back when Redis has lost data. */
  readonly onDataLost?: (listener: () => void) => void;
  readonly partitions: Partitions;
  readonly clock: Clock;
  readonly random: Random;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
}

export interface GatewayDeps extends HubDeps {
  readonly config: GatewayConfig;
  readonly verifier: TokenVerifier;
  readonly roleNodes: (role: Role) => readonly NodeRecord[];
  /** The OpenAPI document; without it the gateway has no reference page. */
  readonly apiDocument?: (() => object) | undefined;
  /** Served at `/` in dev mode. */
  readonly page?: Bun.HTMLBundle | undefined;
  /** What `GET /chatify/dev/token` hands out in dev mode; `dev:<user>[:<device>]` when absent. */
  readonly issueToken?: (userId: string, deviceId?: string) => Promise<string>;
}

/** Longer than the slowest thing a role does for a request: a push waits PUSH_WAIT_MS for its turn. */
export const HTTP_FORWARD_TIMEOUT_MS = 45_000;
