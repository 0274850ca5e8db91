import { expect, test } from "bun:test";
import fc from "fast-check";
import { ChatifyError } from "../protocol/errors.ts";
import { parseLooseJson } from "./loose_json.ts";

const isRounded = (value: unknown) => Number.isInteger(value) && !Number.isSafeInteger(value);

test("what JavaScript can write and read comes back as it is", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value, (_, part: unknown) => (isRounded(part) ? 0 : part));
      expect(parseLooseJson(text)).toEqual(JSON.parse(text));
    }),
  );
});

test("whole numbers that it would round become text, and nothing else does", () => {
  const text = `[9007199254740993, -9223372036854775808,1700000000000000, 0.1234567890123456,
    "a: 9007199254740993, \\" [9007199254740993", 12345678901234567e3, {"7":9007199254740993}]`;
  expect(parseLooseJson(text)).toEqual([
    ...["9007199254740993", "-9223372036854775808", 1_700_000_000_000_000, 0.1234567890123456],
    ...['a: 9007199254740993, " [9007199254740993', 1.2345678901234567e19],
    { "7": "9007199254740993" },
  ]);
});

test("what is no JSON is bad_request", () => {
  for (const text of ["", "{", "[1,]", "nonsense", '"12345678901234567']) {
    expect(() => parseLooseJson(text)).toThrow(ChatifyError);
  }
});
