/** What variables of the environment are made of; config.ts reads them. */
import { z } from "zod";

export interface Variable<S extends z.ZodType> {
  readonly schema: S;
  /** What the variable takes, in words: the second half of its error message. */
  readonly takes: string;
  readonly secret: boolean;
}

export function variable<S extends z.ZodType>(schema: S, takes: string): Variable<S> {
  return { schema, takes, secret: false };
}

export function secret<S extends z.ZodType>(schema: S, takes: string): Variable<S> {
  return { schema, takes, secret: true };
}

export const list = (item: z.ZodType<string>) =>
  z.preprocess(
    (value) => (typeof value === "string" ? value.split(",").map((part) => part.trim()) : value),
    z.array(item).min(1),
  );
export const matching = (pattern: RegExp) => z.string().regex(pattern);
export const integer = (min: number, max: number) =>
  matching(/^\d+$/).transform(Number).pipe(z.int().min(min).max(max));
export const fraction = matching(/^\d*\.?\d+$/)
  .transform(Number)
  .pipe(z.number().min(0).max(1));
export const port = (fallback: number) => variable(integer(0, 65_535).default(fallback), portTakes);
const portTakes = "a port number, 0 to 65535; 0 picks a free one";
export const scheme = (...schemes: string[]) =>
  z.string().refine((value) => URL.canParse(value) && schemes.includes(new URL(value).protocol));
