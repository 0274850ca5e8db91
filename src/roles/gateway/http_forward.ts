/**
 * Forwards HTTP requests to a live node of the role that serves them, in turn. A node that refused a
 * connection is skipped for a while, and its request goes to another one: it was never sent. A
 * request that was sent is not repeated here, since only its caller knows whether that is right.
 */
import type { Clock } from "../../core/clock.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import type { NodeRecord } from "../../core/registry/contract.ts";
import type { Role } from "../../core/topology.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";

export interface ForwarderDeps {
  readonly roleNodes: (role: Role) => readonly NodeRecord[];
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly fetch?: (url: string, init: BunFetchRequestInit) => Promise<Response>;
}

/** How long a node that refused a connection is not tried while there are others. */
const SKIP_MS = 2_000;
const RETRY_MS = 1_000;
/** RFC 9110, 7.6.1: these are between two neighbours; the last three are set anew. */
const NOT_PASSED_ON = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "host",
  "content-length",
  "accept-encoding",
];
const NOT_PASSED_BACK = [...NOT_PASSED_ON, "content-encoding"];

export class Forwarder {
  private readonly deps: ForwarderDeps;
  private turn = 0;
  /** Nodes that refused a connection, and until when they are skipped (monotonic ms). */
  private readonly refused = new Map<NodeId, number>();

  constructor(deps: ForwarderDeps) {
    this.deps = deps;
  }

  /** Throws `unavailable` when no node takes it, `outcome_unknown` when one may have. */
  async forward(role: Role, request: Request, requestId: string): Promise<Response> {
    // Read whole, because it may have to be sent twice; the caller has bounded it.
    const body = request.body === null ? null : await request.arrayBuffer();
    const headers = passedOn(request.headers, NOT_PASSED_ON);
    headers.set("x-request-id", requestId);
    const init = { method: request.method, headers, body, redirect: "manual" } as const;
    for (const node of this.candidates(role)) {
      const response = await this.attempt(node, urlOf(node, role, request), init);
      if (response !== null) return passedBack(response);
    }
    throw unreachable(role);
  }

  /**
   * Passes the body on as it comes: a node that reads slowly slows the caller down. There is one try,
   * since what was read cannot be sent twice, and no limit to the time that it takes.
   */
  async stream(role: Role, request: Request, requestId: string): Promise<Response> {
    const { fetch: send = fetch } = this.deps;
    const [node] = this.candidates(role);
    if (node === undefined) throw unreachable(role);
    const headers = passedOn(request.headers, NOT_PASSED_ON);
    headers.set("x-request-id", requestId);
    const { body, method, signal } = request;
    const init = { method, headers, body, signal, redirect: "manual", duplex: "half" };
    try {
      const response = passedBack(
        await send(urlOf(node, role, request), init as BunFetchRequestInit),
      );
      response.headers.set("x-request-id", requestId);
      return response;
    } catch (error) {
      if (!isRefusal(error)) {
        throw new ChatifyError("outcome_unknown", "the node broke the connection", RETRY_MS);
      }
      this.refused.set(node.id, this.deps.clock.monotonic() + SKIP_MS);
      throw unreachable(role);
    }
  }

  /** Two nodes at most: the one whose turn it is, and the next. */
  private candidates(role: Role): NodeRecord[] {
    const now = this.deps.clock.monotonic();
    for (const [id, until] of this.refused) if (until <= now) this.refused.delete(id);
    const serving = this.deps.roleNodes(role).filter((node) => node.httpPorts[role] !== undefined);
    const staying = preferred(serving, (node) => !node.draining);
    const nodes = preferred(staying, (node) => !this.refused.has(node.id));
    const first = this.turn++ % Math.max(1, nodes.length);
    return [...nodes.slice(first), ...nodes.slice(0, first)].slice(0, 2);
  }

  /** Null when the node refused the connection, so that nothing of the request has reached it. */
  private async attempt(
    node: NodeRecord,
    url: string,
    init: BunFetchRequestInit,
  ): Promise<Response | null> {
    const { clock, fetch: send = fetch, timeoutMs } = this.deps;
    const abort = new AbortController();
    const timer = clock.after(timeoutMs, () => abort.abort());
    try {
      return await send(url, { ...init, signal: abort.signal });
    } catch (error) {
      if (isRefusal(error)) {
        this.refused.set(node.id, clock.monotonic() + SKIP_MS);
        return null;
      }
      const why = abort.signal.aborted ? "did not answer in time" : "broke the connection";
      throw new ChatifyError("outcome_unknown", `the node ${why}`, RETRY_MS);
    } finally {
      timer.cancel();
    }
  }
}

function urlOf(node: NodeRecord, role: Role, request: Request): string {
  const { pathname, search } = new URL(request.url);
  const host = node.host.includes(":") ? `[${node.host}]` : node.host;
  return `http://${host}:${node.httpPorts[role]}${pathname}${search}`;
}

function unreachable(role: Role): ChatifyError {
  return new ChatifyError("unavailable", `no ${role} node can be reached`, RETRY_MS);
}

/** Those that pass, or all where none does: a doubtful node is better than no node. */
function preferred<T>(all: T[], passes: (item: T) => boolean): T[] {
  const some = all.filter(passes);
  return some.length > 0 ? some : all;
}

function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error) || !("code" in error)) return false;
  return error.code === "ConnectionRefused" || error.code === "ECONNREFUSED";
}

function passedOn(headers: Headers, except: readonly string[]): Headers {
  const passed = new Headers(headers);
  const named = headers.get("connection") ?? "";
  for (const name of named.split(",")) {
    // A client names its own hop-by-hop headers there; a name that is none is no header either.
    if (/^[\w-]+$/.test(name.trim())) passed.delete(name.trim());
  }
  for (const name of except) passed.delete(name);
  return passed;
}

function passedBack(response: Response): Response {
  const headers = passedOn(response.headers, NOT_PASSED_BACK);
  return new Response(response.body, { status: response.status, headers });
}
