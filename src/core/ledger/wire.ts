/**
 * How segments reach the offline role in another process: one POST with the cluster's secret, whose
 * body is segments one behind the other, each `[u32 length][header: JSON][filter][body]`.
 */
import * as z from "zod";
import { ChatifyError } from "../protocol/errors.ts";
import type { Segment } from "./store.ts";

export const LEDGER_SEGMENTS_PATH = "/internal/offline/v1/ledger";

const Header = z.object({
  node: z.string().min(1).max(128),
  number: z.int().positive(),
  fromMs: z.int(),
  toMs: z.int(),
  events: z.int().positive(),
  filterBytes: z.int().positive().max(65_536),
  bodyBytes: z.int().positive().max(4_194_304),
});

export function encodeSegments(segments: readonly Segment[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  for (const { body, filter, ...rest } of segments) {
    const header = { ...rest, filterBytes: filter.length, bodyBytes: body.length };
    const head = new TextEncoder().encode(JSON.stringify(header));
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, head.length, true);
    parts.push(length, head, filter, body);
  }
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Throws `bad_request` when the bytes are not what `encodeSegments` writes. */
export function decodeSegments(bytes: Uint8Array): Segment[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const segments: Segment[] = [];
  let at = 0;
  const take = (length: number): Uint8Array => {
    if (at + length > bytes.length) throw malformed();
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const start = at;
    take(4);
    const head = take(view.getUint32(start, true));
    const { bodyBytes, filterBytes, ...rest } = headerOf(head);
    segments.push({ ...rest, filter: take(filterBytes), body: take(bodyBytes) });
  }
  return segments;
}

function headerOf(head: Uint8Array): z.infer<typeof Header> {
  try {
    return Header.parse(JSON.parse(new TextDecoder().decode(head)));
  } catch {
    throw malformed();
  }
}

function malformed(): ChatifyError {
  return new ChatifyError("bad_request", "the body holds no ledger segments");
}
