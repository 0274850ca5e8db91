/** A change of the wire is a decision: it shows here, whatever file it was made in. */
import { expect, test } from "bun:test";
import * as z from "zod";
import { ClientFrame, ServerFrame, SUBPROTOCOL } from "../src/core/protocol/frames.ts";

/** Of what clients may write (input) and of what they are given (output). */
const RECORDED = {
  "chatify.v1": { client: "03fe698aa15e5445", server: "159391eb1bc29f48" },
};

function hashOf(schema: z.ZodType, io: "input" | "output"): string {
  const text = JSON.stringify(sorted(z.toJSONSchema(schema, { io, unrepresentable: "throw" })));
  return new Bun.CryptoHasher("sha256").update(text).digest("hex").slice(0, 16);
}

/** With keys and lists in order, so that the order of fields in the source does not count. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) {
    const texts = value.map((each) => JSON.stringify(sorted(each)));
    return texts.sort();
  }
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value)
    // Descriptions are for readers; nothing on the wire depends on them.
    .filter(([key]) => key !== "description")
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, each]) => [key, sorted(each)]));
}

test("the frames on the wire are the recorded ones", () => {
  const now = { client: hashOf(ClientFrame, "input"), server: hashOf(ServerFrame, "output") };
  const recorded: { client: string; server: string } = RECORDED[SUBPROTOCOL];
  if (Bun.deepEquals(now, recorded)) return;
  throw new Error(
    [
      `the frames of ${SUBPROTOCOL} have changed: ${JSON.stringify(now)}, recorded was`,
      `${JSON.stringify(recorded)}. Was that meant? Clients in the field must go on working:`,
      "new server fields and new frame types are fine, new client fields must be optional;",
      "anything else needs a new subprotocol name in frames.ts. If it is fine: bring",
      "docs/PROTOCOL.md and sdk/wire.ts up to date, then record the new hashes in",
      "tests/wire_hash.test.ts.",
    ].join(" "),
  );
});

test("the hash notices a changed bound and ignores descriptions and the order of fields", () => {
  const a = z.object({ x: z.string().max(3), y: z.int() });
  const same = z.object({ y: z.int(), x: z.string().max(3).meta({ description: "other" }) });
  const changed = z.object({ x: z.string().max(4), y: z.int() });
  expect(hashOf(same, "output")).toBe(hashOf(a, "output"));
  expect(hashOf(changed, "output")).not.toBe(hashOf(a, "output"));
});
