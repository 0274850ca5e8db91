/**
 * HS256 by a secret, checked at once. Every connection is checked while it is set up, and jose's way
 * by WebCrypto costs 50 µs and a change of threads per token; this costs 5. The claims are jose's
 * matter all the same: once the signature is known to be good, it gets them as an unsecured token.
 */
import { timingSafeEqual } from "node:crypto";
import { errors, type JWTClaimVerificationOptions, type JWTPayload, UnsecuredJWT } from "jose";

/** Throws the errors of jose. */
export function hmacCheck(
  secret: string,
): (token: string, expected: JWTClaimVerificationOptions) => JWTPayload {
  const key = new TextEncoder().encode(secret);
  // The tokens of one issuer share their header, so it is read once.
  let goodHeader = "";
  return (token, expected) => {
    const [header = "", payload = "", signature = "", ...rest] = token.split(".");
    if (rest.length > 0) throw new errors.JWSInvalid("a token has three parts");
    if (header !== goodHeader && !isHs256(header)) {
      throw new errors.JOSEAlgNotAllowed("a token is checked with HS256");
    }
    const mac = new Bun.CryptoHasher("sha256", key).update(`${header}.${payload}`);
    // Compared as text, so that there is one spelling of a signature.
    if (!equal(signature, mac.digest("base64url"))) {
      throw new errors.JWSSignatureVerificationFailed();
    }
    goodHeader = header;
    return UnsecuredJWT.decode(`${UNSECURED}.${payload}.`, expected).payload;
  };
}

const UNSECURED = Buffer.from('{"alg":"none"}').toString("base64url");

/** `crit` names extensions that must be understood (RFC 7515, 4.1.11); none is. */
function isHs256(header: string): boolean {
  try {
    const value: unknown = JSON.parse(Buffer.from(header, "base64url").toString());
    if (typeof value !== "object" || value === null) return false;
    return "alg" in value && value.alg === "HS256" && !("crit" in value);
  } catch {
    return false;
  }
}

function equal(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}
