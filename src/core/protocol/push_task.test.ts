import { expect, test } from "bun:test";
import fc from "fast-check";
import { decodePushTasks, encodePushTasks, type PushTask } from "./push_task.ts";

const task: fc.Arbitrary<PushTask> = fc.record({
  msgId: fc.string(),
  conversation: fc.string(),
  seq: fc.nat(),
  expireTime: fc.nat(),
  acceptedAt: fc.nat(),
  trace: fc.string(),
  recipients: fc.array(fc.string(), { minLength: 1, maxLength: 4 }),
  message: fc.json(),
});

test("tasks come back from their encoding as they were", () => {
  fc.assert(
    fc.property(fc.array(task, { minLength: 1, maxLength: 8 }), (tasks) => {
      expect(decodePushTasks(encodePushTasks(tasks))).toEqual(tasks);
    }),
  );
});

test("messages for the same list of recipients carry the list once", () => {
  const recipients = [...Array(100)].map((_, i) => `member-${i}`);
  const one: PushTask = {
    msgId: "m",
    conversation: "g:x",
    seq: 1,
    expireTime: 0,
    acceptedAt: 0,
    trace: "",
    recipients,
    message: "{}",
  };
  const body = encodePushTasks([one, { ...one, seq: 2 }]);
  expect(body.split('member-7"').length).toBe(2);
  expect(decodePushTasks(body)[1]?.recipients).toEqual(recipients);
});

test("an entry whose lines do not match its headers is refused", () => {
  expect(() => decodePushTasks('[[],[["m","c",1,0,0,"","u"]]]')).toThrow("do not match");
  expect(() => decodePushTasks("not json")).toThrow();
  expect(() => decodePushTasks('[[],[["m","c",1,0,0,"",3]]]\n{}')).toThrow("recipients");
});
