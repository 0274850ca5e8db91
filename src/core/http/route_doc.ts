/**
 * What a role says of one of its routes, with the very schemas that check what comes in. The OpenAPI
 * document is made from these; tests hold that every route has one, run every example against a
 * started cluster, and make up requests from the schemas.
 */
import type * as z from "zod";
import type { ErrorCode } from "../protocol/errors.ts";

export interface RouteDoc {
  readonly method: "get" | "post" | "put" | "delete";
  /** As the router has it: parameters are `:name`. */
  readonly path: string;
  /** Unique; client generators name their functions after it. */
  readonly id: string;
  readonly tag: string;
  /** A few words; what to know in `description`. */
  readonly summary: string;
  readonly description?: string;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly headers?: z.ZodObject;
  readonly body?: BodyDoc;
  /** Of a success. */
  readonly status: number;
  readonly answer: z.ZodType;
  /** Of refusals, beside those that every route has: see COMMON_ERRORS in openapi.ts. */
  readonly errors: readonly ErrorCode[];
  /** In this order they work on an empty cluster. At least one. */
  readonly examples: readonly RouteExample[];
}

export interface BodyDoc {
  /** Null where the content is not JSON: then `description` says what it is. */
  readonly schema: z.ZodType | null;
  readonly description?: string;
  /** application/json when absent. */
  readonly contentType?: string;
  /** A body may be left out. */
  readonly optional?: boolean;
}

export interface RouteExample {
  readonly name: string;
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** A text is sent as it is, anything else as JSON. */
  readonly body?: unknown;
  /** Of the answer; that of a success when absent. */
  readonly status?: number;
  /** Some of what comes back, shown to the reader and compared by the test. */
  readonly answer?: Readonly<Record<string, unknown>>;
}
