/**
 * How two nodes prove to each other that they know the cluster secret: HMAC-SHA256 over everything
 * that makes this handshake this one. Both nonces are in it, so an old proof is worth nothing; both
 * node ids, so it is worth nothing to a third node; and the role of the prover, so it cannot be
 * sent back to where it came from. The dialler proves first: who merely reaches a trunk port never
 * gets a proof to guess the secret from.
 *
 * It proves who is at the other end when the link starts. It neither encrypts nor signs what
 * follows: whoever can rewrite packets between nodes needs to be kept out by the network.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Hello } from "./framing.ts";

export const PROOF_BYTES = 32;

export type LinkRole = "dial" | "accept";

/** What both ends said before either proved anything. */
export interface Hellos {
  readonly dialler: Hello;
  readonly acceptor: Hello;
}

/** The proof that the end in `role` knows `secret`. */
export function prove(secret: string, role: LinkRole, { dialler, acceptor }: Hellos): Buffer {
  // JSON keeps the fields apart: no two different handshakes have the same text.
  const fields = [dialler.node, acceptor.node, dialler.nonce, acceptor.nonce];
  const text = JSON.stringify(["chatify trunk 1", role, ...fields]);
  return createHmac("sha256", secret).update(text).digest();
}

/** Whether `proof` is the one of the end in `role`; takes as long for a near miss as for a far one. */
export function isProof(
  secret: string,
  role: LinkRole,
  hellos: Hellos,
  proof: Uint8Array,
): boolean {
  return proof.length === PROOF_BYTES && timingSafeEqual(proof, prove(secret, role, hellos));
}
