import { describe, expect, test } from "bun:test";
import { type Hellos, isProof, PROOF_BYTES, prove } from "./auth.ts";

const hellos: Hellos = {
  dialler: { node: "a", nonce: "nonce-of-a" },
  acceptor: { node: "b", nonce: "nonce-of-b" },
};

/** The same handshake with one field changed. */
const variations: [what: string, Hellos][] = [
  ["another dialler", { ...hellos, dialler: { node: "c", nonce: "nonce-of-a" } }],
  ["another acceptor", { ...hellos, acceptor: { node: "c", nonce: "nonce-of-b" } }],
  ["a newer nonce of the dialler", { ...hellos, dialler: { node: "a", nonce: "newer" } }],
  ["a newer nonce of the acceptor", { ...hellos, acceptor: { node: "b", nonce: "newer" } }],
  ["swapped ends", { dialler: hellos.acceptor, acceptor: hellos.dialler }],
];

describe("a proof", () => {
  test("is accepted from the end that made it, with the same secret", () => {
    expect(isProof("secret", "dial", hellos, prove("secret", "dial", hellos))).toBe(true);
    expect(isProof("secret", "accept", hellos, prove("secret", "accept", hellos))).toBe(true);
    expect(prove("secret", "dial", hellos)).toHaveLength(PROOF_BYTES);
  });

  test("made with another secret is refused", () => {
    expect(isProof("secret", "dial", hellos, prove("Secret", "dial", hellos))).toBe(false);
    expect(isProof("secret", "dial", hellos, prove("", "dial", hellos))).toBe(false);
  });

  test("sent back to the end that made it is refused", () => {
    expect(isProof("secret", "accept", hellos, prove("secret", "dial", hellos))).toBe(false);
    expect(isProof("secret", "dial", hellos, prove("secret", "accept", hellos))).toBe(false);
  });

  for (const [what, other] of variations) {
    test(`replayed in a handshake with ${what} is refused`, () => {
      expect(isProof("secret", "dial", other, prove("secret", "dial", hellos))).toBe(false);
    });
  }

  test("does not fit a handshake whose fields merely join to the same text", () => {
    const shifted: Hellos = {
      dialler: { node: "ab", nonce: hellos.dialler.nonce },
      acceptor: { node: "", nonce: hellos.acceptor.nonce },
    };
    expect(isProof("secret", "dial", shifted, prove("secret", "dial", hellos))).toBe(false);
  });

  test("with a flipped bit or another length is refused", () => {
    const proof = prove("secret", "dial", hellos);
    for (let bit = 0; bit < PROOF_BYTES * 8; bit++) {
      const flipped = Buffer.from(proof);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(isProof("secret", "dial", hellos, flipped)).toBe(false);
    }
    for (const length of [0, 1, PROOF_BYTES - 1]) {
      expect(isProof("secret", "dial", hellos, proof.subarray(0, length))).toBe(false);
    }
    expect(isProof("secret", "dial", hellos, Buffer.concat([proof, Buffer.alloc(1)]))).toBe(false);
  });
});
