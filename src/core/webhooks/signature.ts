/**
 * Signatures as Standard Webhooks has them (https://www.standardwebhooks.com): HMAC-SHA256 over id,
 * time and body, so that a receiver knows who calls and that it is not an old call once more.
 */
import { createHmac } from "node:crypto";

const PREFIX = "whsec_";

/** `whsec_` and base64 is the key in that notation; anything else is its bytes. */
export function signingKey(secret: string): Uint8Array {
  if (!secret.startsWith(PREFIX)) return Buffer.from(secret, "utf8");
  return Buffer.from(secret.slice(PREFIX.length), "base64");
}

/** `atS`: unix seconds of this attempt; a receiver refuses what is minutes away from its clock. */
export function signedHeaders(
  key: Uint8Array,
  id: string,
  atS: number,
  body: string,
): Record<string, string> {
  const signature = createHmac("sha256", key).update(`${id}.${atS}.${body}`).digest("base64");
  return {
    "content-type": "application/json",
    "webhook-id": id,
    "webhook-timestamp": String(atS),
    "webhook-signature": `v1,${signature}`,
  };
}
