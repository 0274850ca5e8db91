import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  chatEntryOf,
  chatMsgIds,
  isJobMsgId,
  jobId,
  jobMsgIds,
  msgIdTime,
  pushMsgIds,
  readJobMsgId,
} from "./msg_id.ts";

const place = fc.tuple(
  fc.nat({ max: 2 ** 40 }),
  fc.nat({ max: 1_000 }),
  fc.nat({ max: 1_023 }),
  fc.nat({ max: 255 }),
);

test("ids of a partition sort as its messages do, and equal places give equal ids", () => {
  fc.assert(
    fc.property(place, place, (a, b) => {
      const id = ([ms, sequence, , index]: typeof a) => chatMsgIds(7, `${ms}-${sequence}`)(index);
      const order = a[0] - b[0] || a[1] - b[1] || a[3] - b[3];
      const byId = id(a) < id(b) ? -1 : id(a) > id(b) ? 1 : 0;
      expect(byId).toBe(Math.sign(order));
    }),
  );
});

test("the same place in two partitions gives two ids", () => {
  expect(chatMsgIds(1, "5-0")(0)).not.toBe(chatMsgIds(2, "5-0")(0));
});

test("a push id never equals a chat id and carries the time", () => {
  const push = pushMsgIds("abcdefgh");
  const now = 1_795_000_000_000;
  const ids = [push(now), push(now)];
  expect(new Set(ids).size).toBe(2);
  expect(ids[0]?.length).not.toBe(chatMsgIds(0, `${now}-0`)(0).length);
  expect(msgIdTime(ids[0] as string)).toBe(now);
  expect(msgIdTime(chatMsgIds(3, `${now}-9`)(1))).toBe(now);
});

test("where a chat message stands in its stream is read back from its id, and from no other id", () => {
  fc.assert(
    fc.property(place, ([ms, sequence, partition, index]) => {
      const entryId = `${ms}-${sequence}`;
      const id = chatMsgIds(partition, entryId)(index);
      expect(chatEntryOf(id)).toEqual({ partition, entryId, index });
    }),
  );
  expect(chatEntryOf(pushMsgIds("abcdefgh")(1_795_000_000_000))).toBeNull();
  expect(chatEntryOf("not an id at all")).toBeNull();
});

test("an id of a job's message says which recipient of which job it is, and is no other's", () => {
  fc.assert(
    fc.property(place, ([ms, partition, index]) => {
      const id = jobId(ms, "abcdefgh");
      const msgId = jobMsgIds(id, partition)(index);
      expect(readJobMsgId(msgId)).toEqual({ id, partition, index });
      expect(isJobMsgId(msgId)).toBe(true);
      expect(msgIdTime(msgId)).toBe(ms);
      expect(isJobMsgId(chatMsgIds(partition, `${ms}-3`)(index))).toBe(false);
      expect(isJobMsgId(pushMsgIds("abcdefgh")(ms))).toBe(false);
    }),
  );
});
