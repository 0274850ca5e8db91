/**
 * One algorithm per key (RFC 8725, 3.1): a key of a JWKS verifies with the algorithm that its `alg`
 * names. A key without `alg` has one by its kind: RS256 for RSA, that of the curve for EC, EdDSA for
 * OKP. So nobody can pick another one by writing it into the header of a token.
 */
import { type createRemoteJWKSet, errors, type JWK, type JWTVerifyGetKey } from "jose";

export const PUBLIC_KEY_ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
] as const;

export function pinnedKeys(remote: ReturnType<typeof createRemoteJWKSet>): JWTVerifyGetKey {
  return async (header, token) => {
    const key = await remote(header, token);
    const fits = (remote.jwks()?.keys ?? []).some((jwk) => {
      return (header.kid === undefined || jwk.kid === header.kid) && isFor(jwk, header.alg);
    });
    if (fits) return key;
    throw new errors.JOSEAlgNotAllowed("the key is for another algorithm");
  };
}

/** EC keys need no word here: jose takes a curve for its own algorithm only. */
function isFor(jwk: JWK, alg: string): boolean {
  if (typeof jwk.alg === "string") return jwk.alg === alg;
  return jwk.kty === "RSA" ? alg === "RS256" : !alg.startsWith("RS");
}
