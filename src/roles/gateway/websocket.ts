/**
 * Bun's WebSocket server, set up for the hub. The handlers are synchronous: Bun does not wait for
 * asynchronous ones, so frames of one client would overtake each other.
 */
import type { Limits } from "../../core/limits.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { SUBPROTOCOL } from "../../core/protocol/frames.ts";
import type { Admission } from "./admission.ts";
import type { Connection } from "./connection.ts";
import { admit, type HandshakeDeps } from "./handshake.ts";
import type { Hub } from "./hub.ts";

export type ClientServer = Bun.Server<Connection>;

const selectSubprotocol = { headers: { "Sec-WebSocket-Protocol": SUBPROTOCOL } };
const NOBODY = { userId: "", deviceId: "", expiresAt: null, issuedAt: 0, traceparent: "" };
/** When a gateway is full or drains, another one may not be; clients look again after this. */
const RETRY_MS = 2_000;

export function clientHandlers(hub: Hub, limits: Limits): Bun.WebSocketHandler<Connection> {
  return {
    maxPayloadLength: limits.FRAME_BYTES_MAX,
    backpressureLimit: limits.CLIENT_BUFFER_BYTES_MAX,
    // What was queued past the limit never arrives, so the connection is of no more use.
    closeOnBackpressureLimit: true,
    idleTimeout: Math.ceil(limits.CLIENT_IDLE_MS / 1_000),
    sendPings: true,
    open(socket) {
      if (socket.data.turnedAwayMs > 0) hub.turnAway(socket.data, socket);
      else hub.open(socket.data, socket);
    },
    message(socket, message) {
      if (socket.data.turnedAwayMs > 0) return;
      if (typeof message === "string") hub.receive(socket.data, message);
      else hub.receiveBinary(socket.data);
    },
    close: (socket, code) => hub.ended(socket.data, code),
  };
}

export interface UpgradeDeps extends HandshakeDeps {
  readonly hub: Hub;
  readonly limits: Limits;
  readonly admission: Admission;
  readonly isDraining: () => boolean;
}

/** Resolves once the request is a WebSocket; rejects with the code to refuse it with. */
export async function upgrade(
  request: Request,
  server: ClientServer,
  deps: UpgradeDeps,
): Promise<void> {
  checkRoom(deps);
  const waitMs = deps.admission.take();
  if (waitMs > 0) {
    turnAway(request, server, deps, waitMs);
    return;
  }
  const { identity, subprotocol } = await admit(request, deps);
  // Checking the token took a while.
  checkRoom(deps);
  const data = deps.hub.create(identity);
  const selected = subprotocol ? selectSubprotocol : undefined;
  if (!server.upgrade(request, { data, ...selected })) {
    throw new ChatifyError("bad_request", "this is no valid WebSocket handshake");
  }
  deps.metrics.handshakes.inc({ result: "ok" });
}

/** Before anything is known of the client: with its slot in a `bye`, or as the refusal of a request. */
function turnAway(
  request: Request,
  server: ClientServer,
  { admission, hub, metrics }: UpgradeDeps,
  waitMs: number,
): void {
  const data = hub.create(NOBODY);
  data.turnedAwayMs = waitMs;
  const offers = request.headers.get("sec-websocket-protocol")?.includes(SUBPROTOCOL);
  const told =
    admission.tells() && server.upgrade(request, { data, ...(offers ? selectSubprotocol : {}) });
  if (!told) throw new ChatifyError("overloaded", "too many clients connect at once", waitMs);
  metrics.handshakes.inc({ result: "overloaded" });
}

function checkRoom({ hub, isDraining, limits }: UpgradeDeps): void {
  if (isDraining()) throw new ChatifyError("draining", "this gateway shuts down", RETRY_MS);
  if (hub.count < limits.CONNECTIONS_MAX) return;
  throw new ChatifyError("too_many_connections", "this gateway is full", RETRY_MS);
}
