/**
 * Tokens of the dev mode, which anybody can write by hand: `dev:<user>` or `dev:<user>:<device>`.
 * A colon cannot stand in a Sec-WebSocket-Protocol entry (RFC 9110, 5.6.2), which is the only place
 * where a browser can put a token, so there is a second spelling: `dev.<user>` or
 * `dev.<user>.<device>`, each part in base64url.
 */
export interface DevIdentity {
  readonly userId: string;
  readonly deviceId: string | undefined;
}

/** Null when `token` is none of these; the ids in it are not checked here. */
export function readDevToken(token: string): DevIdentity | null {
  if (token.startsWith("dev:")) {
    const [, userId = "", deviceId, ...rest] = token.split(":");
    return rest.length > 0 ? null : { userId, deviceId };
  }
  if (!token.startsWith("dev.")) return null;
  const [, user = "", device, ...rest] = token.split(".");
  if (rest.length > 0) return null;
  return { userId: decode(user), deviceId: device === undefined ? undefined : decode(device) };
}

/** The spelling that goes everywhere. */
export function writeDevToken(userId: string, deviceId?: string): string {
  const parts = deviceId === undefined ? [userId] : [userId, deviceId];
  return ["dev", ...parts.map((part) => Buffer.from(part).toString("base64url"))].join(".");
}

function decode(part: string): string {
  return Buffer.from(part, "base64url").toString();
}
