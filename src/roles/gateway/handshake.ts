/**
 * The WebSocket handshake: everything that decides whether a client may connect happens here, before
 * the upgrade. A refusal is a ChatifyError; the caller answers it as HTTP.
 */
import type { TokenClaims, TokenVerifier } from "../../core/auth/tokens.ts";
import type { Random } from "../../core/clock.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { SUBPROTOCOL } from "../../core/protocol/frames.ts";
import { DeviceId } from "../../core/protocol/message.ts";
import type { Metrics } from "../../core/telemetry/metrics.ts";
import type { Identity } from "./connection.ts";
import type { GatewayConfig } from "./gateway_deps.ts";

export interface HandshakeDeps {
  readonly config: Pick<GatewayConfig, "authMode" | "allowedOrigins">;
  readonly verifier: TokenVerifier;
  readonly random: Random;
  readonly metrics: Metrics;
}

/** Characters of a device id that the gateway makes up: 80 bits. */
const DEVICE_ID_CHARS = 16;

export interface Admission {
  readonly identity: Identity;
  /** True when the client offered the subprotocol, so that the answer has to select it. */
  readonly subprotocol: boolean;
}

/** Resolves with who connects; rejects with the code to refuse the handshake with. */
export async function admit(request: Request, deps: HandshakeDeps): Promise<Admission> {
  const { headers } = request;
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") {
    throw new ChatifyError("bad_request", "this route takes WebSocket handshakes only");
  }
  checkOrigin(headers.get("origin"), deps.config);
  const offered = listOf(headers.get("sec-websocket-protocol"));
  if (offered.length > 0 && !offered.includes(SUBPROTOCOL)) {
    throw new ChatifyError("unsupported_version", `this server speaks ${SUBPROTOCOL}`);
  }
  const query = queryOf(request.url);
  const claims = await identify(
    bearer(headers) ?? offeredToken(offered) ?? query?.get("token"),
    deps,
  );
  return {
    subprotocol: offered.length > 0,
    identity: {
      userId: claims.userId,
      deviceId: claims.deviceId ?? deviceId(query?.get("device_id") ?? null, deps.random),
      expiresAt: claims.expiresAt,
      issuedAt: Math.floor((claims.issuedAt ?? 0) / 1_000),
      traceparent: headers.get("traceparent") ?? "",
    },
  };
}

/** Browsers always send an origin, and cannot lie about it; other programs need none. */
function checkOrigin(origin: string | null, config: HandshakeDeps["config"]): void {
  if (origin === null || config.allowedOrigins.includes(origin)) return;
  if (config.allowedOrigins.includes("*")) return;
  if (config.authMode === "dev" && isLoopback(origin)) return;
  throw new ChatifyError("origin_not_allowed", "pages of this origin may not connect");
}

function isLoopback(origin: string): boolean {
  if (!URL.canParse(origin)) return false;
  const { hostname } = new URL(origin);
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);
}

async function identify(
  token: string | null | undefined,
  deps: HandshakeDeps,
): Promise<TokenClaims> {
  const { metrics, verifier } = deps;
  if (!token) {
    metrics.authFailures.inc({ reason: "no_token" });
    throw new ChatifyError("unauthorized", "a token is needed to connect");
  }
  try {
    return await verifier.verify(token);
  } catch (error) {
    if (error instanceof ChatifyError) metrics.authFailures.inc({ reason: error.code });
    throw error;
  }
}

function bearer(headers: Headers): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(headers.get("authorization") ?? "")?.[1];
}

/** A browser can put a token nowhere else: `bearer.<token>`, or the bare token as second entry. */
function offeredToken(offered: readonly string[]): string | undefined {
  const other = offered.find((entry) => entry !== SUBPROTOCOL && !entry.startsWith("chatify."));
  return other?.startsWith("bearer.") ? other.slice("bearer.".length) : other;
}

function deviceId(given: string | null, random: Random): string {
  if (given === null) return random.token(DEVICE_ID_CHARS);
  if (DeviceId.safeParse(given).success) return given;
  throw new ChatifyError("bad_request", "device_id is no valid device id");
}

function queryOf(url: string): URLSearchParams | null {
  const start = url.indexOf("?");
  return start < 0 ? null : new URLSearchParams(url.slice(start));
}

function listOf(header: string | null): string[] {
  if (header === null) return [];
  return header
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}
