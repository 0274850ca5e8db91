/** Commands that are a client of the gateway: which gateway, and as whom. */
import { type ChatifyClient, type ConnectOptions, connect } from "../../sdk/chatify.ts";
import { writeDevToken } from "../../src/core/auth/dev_tokens.ts";
import { signToken } from "../../src/core/auth/tokens.ts";
import { systemClock } from "../../src/core/clock.ts";
import { mayReconnect } from "../../src/core/protocol/errors.ts";
import { DeviceId, UserId } from "../../src/core/protocol/message.ts";
import { CliError, type Input, type OptionSpec } from "./command.ts";
import { environment } from "./environment.ts";

export const CLIENT_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  user: { takes: "text", help: "who to be; makes a token from JWT_SECRET, or one of the dev mode" },
  token: { takes: "text", help: "the token to use instead; CHATIFY_TOKEN does the same unseen" },
  device: { takes: "text", help: "device id; default: a new one" },
  url: { takes: "text", help: "of the gateway; default: http://127.0.0.1:$GATEWAY_PORT (8080)" },
};

const CONNECT_MS = 10_000;
const OWN_TOKEN_S = 86_400;

export function gatewayUrl(input: Input): string {
  const url = input.text("url") ?? `http://127.0.0.1:${environment("GATEWAY_PORT")}`;
  const ok = URL.canParse(url) && /^(https?|wss?):$/.test(new URL(url).protocol);
  if (ok) return url;
  throw new CliError("usage", `--url takes an http, https, ws or wss address; got "${url}"`);
}

export function checkedUser(value: string | undefined, option: string): string {
  if (value === undefined) throw new CliError("usage", `${option} is missing`);
  if (UserId.safeParse(value).success) return value;
  const rule = 'ids have 1 to 128 characters, no white space and none of : { } " \\';
  throw new CliError("usage", `${option}: "${value}" is no id; ${rule}`);
}

async function tokenFor(input: Input): Promise<string> {
  const given = input.text("token") ?? process.env.CHATIFY_TOKEN;
  if (given) return given;
  const userId = checkedUser(input.text("user"), "--user (or --token)");
  const [secret, audience, issuer] = [
    environment("JWT_SECRET"),
    environment("JWT_AUDIENCE"),
    environment("JWT_ISSUER"),
  ];
  if (secret === undefined) return writeDevToken(userId);
  const claims = { audience: audience ?? null, issuer: issuer ?? null };
  return signToken({ secret, userId, ttlSeconds: OWN_TOKEN_S, ...claims, clock: systemClock });
}

/** Resolves once the server has welcomed us; rejects with why it did not. */
export async function openClient(
  input: Input,
  more: Pick<ConnectOptions, "WebSocket"> = {},
): Promise<ChatifyClient> {
  const [url, token, deviceId] = [gatewayUrl(input), await tokenFor(input), input.text("device")];
  if (deviceId !== undefined && !DeviceId.safeParse(deviceId).success) {
    throw new CliError("usage", `--device: "${deviceId}" is no device id`);
  }
  const client = connect({ url, token, ...(deviceId ? { deviceId } : {}), ...more });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = systemClock.after(CONNECT_MS, () => reject(new Error("timeout")));
  const off = [
    client.on("state", (state) => {
      if (state === "online") resolve();
      // A handshake that is refused is not told apart from a server that is away: ask by HTTP.
      if (state === "offline") reject(new Error("offline"));
    }),
    client.on("closed", ({ code, reason }) => reject(new CliError(closeCode(code), reason))),
  ];
  try {
    await promise;
    return client;
  } catch (error) {
    await client.close();
    throw error instanceof CliError ? error : await whyNot(url, token);
  } finally {
    timer.cancel();
    for (const stop of off) stop();
  }
}

/** A WebSocket client is not shown why its handshake was refused; the same request by HTTP is. */
async function whyNot(url: string, token: string): Promise<CliError> {
  const address = new URL("/chatify/access/v1/ws", url.replace(/^ws/, "http"));
  const headers = {
    authorization: `Bearer ${token}`,
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-protocol": "chatify.v1",
    // Not a key, so that a gateway that would admit us does not open a connection.
    "sec-websocket-key": "",
  };
  try {
    const answer = await fetch(address, { headers, signal: AbortSignal.timeout(3_000) });
    const body = (await answer.json()) as { code?: unknown; message?: unknown };
    // Without the key this is as far as an admitted client gets.
    const admitted = answer.status === 422;
    if (admitted) return new CliError("unavailable", `${url} ended the connection; try again`);
    if (typeof body.code === "string") return new CliError(body.code, String(body.message));
  } catch {
    // Nobody answers, or not Chatify: said below.
  }
  const start = "is Chatify running there? `bun run start` starts it, --url names another place";
  return new CliError("unavailable", `no gateway answers at ${url}; ${start}`);
}

/** The name that the protocol gives a close code is in its reason; this is for the exit. */
export function closeCode(code: number): string {
  if (code === 4102) return "token_expired";
  if (code === 4105) return "too_many_devices";
  return mayReconnect(code) ? "unavailable" : "conflict";
}
