/** Holds docs/PROTOCOL.md against the schemas, the tables and the limits it tells of. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ZodType } from "zod";
import { ScriptedServer } from "../sdk/testing/scripted_server.ts";
import { LIMITS } from "../src/core/limits.ts";
import { CLOSE_CODES, ERRORS, mayReconnect } from "../src/core/protocol/errors.ts";
import * as frames from "../src/core/protocol/frames.ts";
import { CONTENT_CHARS_MAX, ID_CHARS_MAX, type Message } from "../src/core/protocol/message.ts";

const doc = readFileSync(join(import.meta.dir, "../docs/PROTOCOL.md"), "utf8");
const { FRAMES_PER_MESSAGE_MAX, MSG_IDS_PER_ACK_MAX, WATCHED_USERS_MAX, WATCH_TTL_MS } = frames;
const NUMBERS: Record<string, number> = {
  ...LIMITS,
  FRAMES_PER_MESSAGE_MAX,
  MSG_IDS_PER_ACK_MAX,
  WATCHED_USERS_MAX,
  WATCH_TTL_MS,
  CONTENT_CHARS_MAX,
  ID_CHARS_MAX,
};

/** The frames of every json block that stands under the given tag. */
function examples(side: "client" | "server"): { type: string }[] {
  const blocks = doc.matchAll(
    new RegExp(`<!-- ${side} -->\\n\`\`\`json\\n([\\s\\S]*?)\`\`\``, "g"),
  );
  return [...blocks].flatMap(([, text]) => {
    const value: unknown = JSON.parse(text as string);
    return (Array.isArray(value) ? value : [value]) as { type: string }[];
  });
}

/** Cells of the table rows that begin with `first`, without the marks around code. */
function rows(first: RegExp): string[][] {
  return doc
    .split("\n")
    .filter((line) => line.startsWith("|") && first.test(line))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll("`", "")),
    );
}

const typesOf = (schema: { options: readonly { shape: { type: { value: string } } }[] }) =>
  schema.options.map((option) => option.shape.type.value).sort();

test("every json block says which side sends it", () => {
  const all = doc.match(/```json/g) ?? [];
  const tagged = doc.match(/<!-- (client|server) -->\n```json/g) ?? [];
  expect(tagged.length).toBe(all.length);
});

for (const side of ["client", "server"] as const) {
  const schema: ZodType = side === "client" ? frames.ClientFrame : frames.ServerFrame;

  test(`every example of a ${side} frame is valid and hides nothing from the schema`, () => {
    for (const example of examples(side)) {
      // What the schema strips or misses would come back different.
      expect(schema.parse(example)).toMatchObject(example);
    }
  });

  test(`every type of a ${side} frame has an example`, () => {
    const shown = new Set(examples(side).map(({ type }) => type));
    const known = typesOf(side === "client" ? frames.ClientFrame : frames.ServerFrame);
    expect([...shown].sort()).toEqual(known);
  });
}

test("the error table is the server's", () => {
  const documented = rows(/^\| `\w+`\s*\| \d{3}\s*\|/).map(([code, status, retryable]) => {
    return [code, Number(status), retryable === "yes"];
  });
  const known = Object.entries(ERRORS).map(([code, { status, retryable }]) => {
    return [code, status, retryable];
  });
  expect(documented).toEqual(known);
});

test("the close codes are the server's, with whether to come back", () => {
  const documented = rows(/^\| 4\d{3}\s*\|/).map(([code, name, back]) => {
    return [Number(code), name, back === "yes"];
  });
  const known = Object.entries(CLOSE_CODES).map(([name, code]) => {
    return [code, name, mayReconnect(code)];
  });
  expect(documented).toEqual(known);
});

test("every number that stands beside its name is the one in the code", () => {
  const stated = [...doc.matchAll(/`([A-Z][A-Z_]+)`\s+=\s+(\d+)/g)];
  expect(stated.length).toBeGreaterThan(20);
  for (const [, name, value] of stated) {
    expect([name, Number(value)]).toEqual([name, NUMBERS[name as string] ?? Number.NaN]);
  }
});

test("the example of welcome carries the real limits", () => {
  const welcome = examples("server").find(({ type }) => type === "welcome");
  expect(welcome).toMatchObject({
    heartbeat_ms: LIMITS.HEARTBEAT_MS,
    limits: {
      frame_bytes_max: LIMITS.FRAME_BYTES_MAX,
      content_chars_max: CONTENT_CHARS_MAX,
      frames_per_message_max: FRAMES_PER_MESSAGE_MAX,
      messages_per_second: LIMITS.MESSAGES_PER_SECOND,
      unacked_max: LIMITS.UNACKED_PER_SESSION_MAX,
    },
  });
});

test("the path and the version are the server's", () => {
  expect(doc).toContain(`GET ${frames.WEBSOCKET_PATH}?`);
  expect(doc).toContain(`Sec-WebSocket-Protocol: ${frames.SUBPROTOCOL}, <token>`);
});

const folder = mkdtempSync(join(tmpdir(), "chatify-doc-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("the complete client works as it stands: live, offline and across a cut", async () => {
  const [, code] = /```js\n([\s\S]*?)```/.exec(doc) ?? [];
  expect(code?.trim().split("\n").length).toBeLessThanOrEqual(50);
  const path = join(folder, "client.mjs");
  writeFileSync(path, code as string);
  type Send = (to: string, content: string) => Promise<{ seq: number }>;
  type Start = (url: string, token: string, onMessage: (message: Message) => void) => Send;
  const { chatify } = (await import(path)) as { chatify: Start };
  const server = new ScriptedServer();
  const url = server.url.replace("http", "ws") + frames.WEBSOCKET_PATH;
  const toBob = chatify(url, "alice", () => {});
  expect(await toBob("bob", "while away")).toMatchObject({ seq: 1 });
  const inbox: string[] = [];
  chatify(url, "bob", ({ content }) => inbox.push(content));
  server.intercept = (socket, frame) => {
    if (frame.type !== "send") return false;
    server.intercept = undefined;
    socket.close(4000);
    return true;
  };
  expect(await toBob("bob", "cut off")).toMatchObject({ seq: 2 });
  expect(await toBob("bob", "live")).toMatchObject({ seq: 3 });
  while (inbox.length < 3) await Bun.sleep(2);
  expect(inbox).toEqual(["while away", "cut off", "live"]);
  // 4103 ends both clients for good.
  for (const user of ["alice", "bob"]) server.disconnect(user, 4103);
  await Bun.sleep(20);
  await server.stop();
});
