/**
 * JSON as it may come from languages whose whole numbers have 64 bits. JavaScript would round those
 * above 2^53, and a user id that is off by one is somebody else; here they become text.
 */
import { ChatifyError } from "../protocol/errors.ts";

/** Cheap, and right more often than not: only what has such a number is looked at character by character. */
const mayHaveLongNumber = /[[:,\s]-?\d{16}/;
/** A string, which is left as it is, or a number. */
const stringOrNumber = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;
const longWholeNumber = /^-?\d{16,}$/;

/** Throws `bad_request` when it is no JSON. */
export function parseLooseJson(text: string): unknown {
  const kept = mayHaveLongNumber.test(text)
    ? text.replaceAll(stringOrNumber, (part) => (longWholeNumber.test(part) ? quoted(part) : part))
    : text;
  try {
    return JSON.parse(kept);
  } catch {
    throw new ChatifyError("bad_request", "the body is not JSON");
  }
}

/** Numbers that JavaScript holds exactly stay numbers, such as a timestamp in microseconds. */
function quoted(digits: string): string {
  return Number.isSafeInteger(Number(digits)) ? digits : `"${digits}"`;
}
