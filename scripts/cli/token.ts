/** Mints a token that the gateway takes: signed with JWT_SECRET, or one of the dev mode. */
import { writeDevToken } from "../../src/core/auth/dev_tokens.ts";
import { signToken } from "../../src/core/auth/tokens.ts";
import { systemClock } from "../../src/core/clock.ts";
import { DeviceId } from "../../src/core/protocol/message.ts";
import { checkedUser } from "./client.ts";
import { CliError, type Command } from "./command.ts";
import { environment } from "./environment.ts";

const TTL_S = 86_400;

export const token: Command = {
  name: "token",
  summary: "Mints a token: signed with JWT_SECRET (HS256), or of the dev mode where that is unset",
  usage: "--user <id> [options]",
  argumentsMax: 0,
  options: {
    user: { takes: "text", help: "whose token; becomes the claim `sub`" },
    device: {
      takes: "text",
      help: "the claim `device_id`; without it the client names its device",
    },
    ttl: { takes: "number", help: `seconds until it expires; default ${TTL_S}, 0: never` },
    scopes: { takes: "text", help: "comma list for the claim `scope`; admin may push and manage" },
  },
  async run(input) {
    const userId = checkedUser(input.text("user"), "--user");
    const deviceId = input.text("device");
    if (deviceId !== undefined && !DeviceId.safeParse(deviceId).success) {
      throw new CliError("usage", `--device: "${deviceId}" is no device id`);
    }
    const scopes = (input.text("scopes") ?? "").split(/[\s,]+/).filter((scope) => scope !== "");
    const ttl = input.number("ttl", 0) ?? TTL_S;
    const secret = environment("JWT_SECRET");
    if (secret === undefined) {
      refuseWhatDevTokensLack(input.text("ttl"), scopes);
      const text = writeDevToken(userId, deviceId);
      input.print(text, { token: text, kind: "dev", user_id: userId, expires_at: null });
      return 0;
    }
    const text = await signToken({
      secret,
      userId,
      deviceId,
      scopes,
      ttlSeconds: ttl === 0 ? undefined : ttl,
      audience: environment("JWT_AUDIENCE") ?? null,
      issuer: environment("JWT_ISSUER") ?? null,
      clock: systemClock,
    });
    const expiresAt = ttl === 0 ? null : Math.floor(systemClock.now() / 1_000) + ttl;
    input.print(text, { token: text, kind: "HS256", user_id: userId, expires_at: expiresAt });
    return 0;
  },
};

function refuseWhatDevTokensLack(ttl: string | undefined, scopes: readonly string[]): void {
  if (environment("AUTH_MODE") === "jwt" || environment("JWKS_URL") !== undefined) {
    throw new CliError("bad_request", "JWT_SECRET is not set, so there is nothing to sign with");
  }
  if (ttl === undefined && scopes.length === 0) return;
  const reason = "a token of the dev mode neither expires nor has scopes";
  throw new CliError("usage", `${reason}; set JWT_SECRET to mint one that does`);
}
