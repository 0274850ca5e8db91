import { expect, test } from "bun:test";
import { createLog, REDACTED_DEPTH, REDACTED_KEYS } from "./log.ts";

const config = { logLevel: "info", nodeId: "n-1", roles: ["gateway", "access"] } as const;

function recorder() {
  const lines: string[] = [];
  return {
    write: (line: string) => void lines.push(line),
    last: (): Record<string, unknown> => JSON.parse(lines.at(-1) ?? "null"),
    text: () => lines.join(""),
  };
}

test("a line is one JSON object with the common schema's names", () => {
  const destination = recorder();
  createLog(config, { destination }).info({ msg_id: "m1" }, "stored");
  const line = destination.last();
  expect(line).toMatchObject({
    "log.level": "info",
    message: "stored",
    "service.name": "chatify",
    "service.node.name": "n-1",
    "chatify.role": "gateway,access",
    msg_id: "m1",
  });
  expect(String(line["@timestamp"])).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  expect(destination.text().split("\n")).toHaveLength(2);
});

test("a role's logger names the role once", () => {
  const destination = recorder();
  createLog(config, { role: "access", destination }).info("up");
  expect(destination.text().match(/chatify\.role/g)).toHaveLength(1);
  expect(destination.last()["chatify.role"]).toBe("access");
});

test("a trace context becomes trace.id and span.id, and an empty one becomes nothing", () => {
  const destination = recorder();
  const log = createLog(config, { destination });
  log.info({ trace: `00-${"a".repeat(32)}-${"b".repeat(16)}-01` }, "sampled");
  expect(destination.last()).toMatchObject({
    "trace.id": "a".repeat(32),
    "span.id": "b".repeat(16),
  });
  log.info({ trace: "" }, "not sampled");
  expect(Object.keys(destination.last())).not.toContain("trace.id");
});

test("an error keeps its type, message, stack and causes", () => {
  const destination = recorder();
  const log = createLog(config, { destination });
  log.error({ err: new TypeError("outer", { cause: new Error("inner") }) }, "failed");
  expect(destination.last()).toMatchObject({
    "error.type": "TypeError",
    "error.message": "outer",
    message: "failed",
  });
  expect(String(destination.last()["error.stack_trace"])).toContain("caused by Error: inner");
  log.error(new Error("alone"));
  expect(destination.last()).toMatchObject({ "error.message": "alone", message: "alone" });
});

test("secret and private keys are redacted at every depth that is promised", () => {
  const destination = recorder();
  const log = createLog(config, { destination });
  for (const key of REDACTED_KEYS) {
    for (let depth = 0; depth <= REDACTED_DEPTH; depth++) {
      let logged: Record<string, unknown> = { [key]: "hunter2" };
      for (let level = 0; level < depth; level++) logged = { inner: logged };
      log.info(logged, "x");
      log.info({ list: [{ [key]: "hunter2" }] }, "x");
      log.child(logged).info("from a child");
    }
  }
  expect(destination.text()).not.toContain("hunter2");
  expect(destination.text()).toContain("[redacted]");
});

test("what is logged is left unchanged by redaction", () => {
  const frame = { body: { content: "hello" } };
  createLog(config, { destination: recorder() }).info({ frame }, "x");
  expect(frame.body.content).toBe("hello");
});
