/**
 * From the body of a request to a checked value: bad JSON and wrong fields become `bad_request`,
 * and its message says which field takes what.
 */
import type { z } from "zod";
import { ChatifyError } from "../protocol/errors.ts";

/** Most problems that one answer lists; a body with a thousand wrong ids has one mistake. */
const ISSUES_SHOWN_MAX = 5;

export async function parseJson(request: Request): Promise<unknown> {
  try {
    return await request.json();
  } catch {
    throw notJson();
  }
}

/** For a body that may be left out: no body at all is the same as an empty object. */
export async function parseOptionalJson(request: Request): Promise<unknown> {
  const text = await request.text();
  if (text === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    throw notJson();
  }
}

function notJson(): ChatifyError {
  return new ChatifyError("bad_request", "the body is not JSON");
}

/** Throws `bad_request` when `value` is not what `schema` takes. */
export function checked<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new ChatifyError("bad_request", explain(result.error.issues));
}

function explain(issues: readonly z.core.$ZodIssue[]): string {
  const shown = issues.slice(0, ISSUES_SHOWN_MAX).map(({ path, message }) => {
    return `${path.length === 0 ? "the body" : path.join(".")}: ${message}`;
  });
  const more = issues.length - shown.length;
  return more > 0 ? `${shown.join("; ")}; and ${more} more` : shown.join("; ");
}

/** Elements of the array in a field of `value`; 0 where there is none. Costs no walk through it. */
export function arrayLength(value: unknown, field: string): number {
  if (typeof value !== "object" || value === null) return 0;
  const list: unknown = (value as Record<string, unknown>)[field];
  return Array.isArray(list) ? list.length : 0;
}
