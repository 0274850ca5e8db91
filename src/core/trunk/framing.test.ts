import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  DataEncoder,
  decodeData,
  decodeHello,
  decodeUp,
  encodeFrame,
  encodeHello,
  encodeUp,
  FrameDecoder,
  HANDSHAKE_FRAME_BYTES_MAX,
  HEADER_BYTES,
  KIND,
  NONCE_CHARS,
} from "./framing.ts";
import type { TrunkMessage } from "./messages.ts";

const nonce = "0123456789abcdefghjkmnpqrstvwxyz";
const hello = encodeHello({ node: "a", nonce });
const frameBytesMax = 1_000_000;

type Seen = [kind: number, payload: string][];

/** Feeds the chunks; returns the frames and the fault. */
function decode(chunks: readonly Uint8Array[], max = frameBytesMax) {
  const decoder = new FrameDecoder();
  decoder.frameBytesMax = max;
  const frames: Seen = [];
  let fault: string | undefined;
  for (const chunk of chunks) {
    fault = decoder.feed(Buffer.from(chunk), (kind, payload) => {
      frames.push([kind, payload.toString("latin1")]);
      return true;
    });
  }
  return { frames, fault };
}

/** Cuts `bytes` into pieces of the given sizes, used in a circle. */
function split(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

const messageArbitrary: fc.Arbitrary<TrunkMessage> = fc
  .array(fc.tuple(fc.nat(), fc.string({ unit: "grapheme" }), fc.nat(15), fc.string()))
  .map((items) => ({ to: "access", t: "uplink", items }));

function framesOf(messages: readonly TrunkMessage[], max = frameBytesMax) {
  const frames: Buffer[] = [];
  const fits = new DataEncoder(max).encode(messages, (frame) => frames.push(Buffer.from(frame)));
  return { frames, fits };
}

describe("decoder", () => {
  test("returns the same frames however the bytes are cut, one at a time included", () => {
    const framesArbitrary = fc.array(
      fc.tuple(fc.nat(255), fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array())),
    );
    const sizesArbitrary = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 });
    fc.assert(
      fc.property(framesArbitrary, sizesArbitrary, (frames, sizes) => {
        const bytes = Buffer.concat([hello, ...frames.map(([kind, p]) => encodeFrame(kind, p))]);
        const whole = decode([bytes]);
        expect(whole.fault).toBeUndefined();
        expect(whole.frames.slice(1)).toEqual(
          frames.map(([kind, payload]) => [kind, Buffer.from(payload).toString("latin1")]),
        );
        expect(decode(split(bytes, sizes))).toEqual(whole);
        expect(decode(split(bytes, [1]))).toEqual(whole);
      }),
    );
  });

  test("answers garbage with a fault, at any cut, and never throws", () => {
    const chunksArbitrary = fc.array(fc.uint8Array({ minLength: 1, maxLength: 64 }));
    fc.assert(
      fc.property(chunksArbitrary, fc.boolean(), (chunks, greeted) => {
        const { frames, fault } = decode(greeted ? [hello, ...chunks] : chunks, 64);
        if (!greeted && Buffer.concat(chunks).length > 4) expect(fault).toBeString();
        for (const [, payload] of frames) {
          const bytes = Buffer.from(payload, "latin1");
          decodeHello(bytes);
          decodeUp(bytes);
          decodeData(bytes);
        }
      }),
    );
  });

  test("refuses another version at its first wrong byte", () => {
    const other = Buffer.from(hello);
    other[4] = 99;
    expect(decode(split(other, [1]).slice(0, 4)).fault).toBeUndefined();
    expect(decode(split(other, [1]).slice(0, 5)).fault).toContain("version");
  });

  test("refuses a frame over the limit by its header alone, and takes one at the limit", () => {
    const payload = Buffer.alloc(100);
    const frame = encodeFrame(KIND.data, payload);
    const preamble = hello.subarray(0, 5);
    expect(decode([preamble, frame], frame.length).frames).toHaveLength(1);
    const refused = decode([preamble, frame.subarray(0, HEADER_BYTES)], frame.length - 1);
    expect(refused.fault).toBe("a frame of 105 bytes is over the limit of 104");
  });

  test("refuses everything after a fault or after it was told to stop", () => {
    const decoder = new FrameDecoder();
    const ping = encodeFrame(KIND.ping);
    let frames = 0;
    const stopAtSecond = () => ++frames < 2;
    expect(decoder.feed(Buffer.concat([hello, ping, ping]), stopAtSecond)).toBeString();
    expect(decoder.feed(ping, stopAtSecond)).toBeString();
    expect(frames).toBe(2);
  });

  test("takes only handshake frames until its owner raises the limit", () => {
    expect(decode([hello], HANDSHAKE_FRAME_BYTES_MAX).fault).toBeUndefined();
    const longest = encodeHello({ node: "n".repeat(128), nonce });
    expect(decode([longest], HANDSHAKE_FRAME_BYTES_MAX).fault).toBeUndefined();
    const large = encodeFrame(KIND.data, Buffer.alloc(HANDSHAKE_FRAME_BYTES_MAX));
    expect(new FrameDecoder().feed(Buffer.concat([hello, large]), () => true)).toBeString();
  });
});

describe("data frames", () => {
  test("bring back the messages of a turn, in order, whatever text they hold", () => {
    fc.assert(
      fc.property(fc.array(messageArbitrary, { minLength: 1 }), (messages) => {
        const { frames, fits } = framesOf(messages);
        expect(fits).toBe(true);
        expect(frames).toHaveLength(1);
        expect(frames.flatMap((frame) => decodeData(frame.subarray(HEADER_BYTES)))).toEqual(
          messages,
        );
      }),
    );
  });

  test("share a batch over the frame limit among several frames, in order", () => {
    const messages = Array.from({ length: 100 }, (_, i): TrunkMessage => {
      return { to: "push", t: "relay", items: [[[`u${i}`], "é".repeat(200)]] };
    });
    const { frames, fits } = framesOf(messages, 2_000);
    expect(fits).toBe(true);
    expect(Math.max(...frames.map((frame) => frame.length))).toBeLessThanOrEqual(2_000);
    expect(frames.flatMap((frame) => decodeData(frame.subarray(HEADER_BYTES)))).toEqual(messages);
  });

  test("stop before a single message over the frame limit", () => {
    const small: TrunkMessage = { to: "access", t: "unregister", conns: [1] };
    const large: TrunkMessage = { to: "push", t: "relay", items: [[[], "x".repeat(3_000)]] };
    const { frames, fits } = framesOf([small, small, large, small], 2_000);
    expect(fits).toBe(false);
    expect(frames.flatMap((frame) => decodeData(frame.subarray(HEADER_BYTES)))).toEqual([
      small,
      small,
    ]);
  });

  test("larger than the scratch buffer are whole", () => {
    const large: TrunkMessage = { to: "push", t: "relay", items: [[[], "é".repeat(400_000)]] };
    const { frames } = framesOf([large]);
    expect(frames.flatMap((frame) => decodeData(frame.subarray(HEADER_BYTES)))).toEqual([large]);
  });

  test("that are not an array of messages are refused", () => {
    for (const text of ["", "{", "{}", "null", "[null]", "[1]", "[{}]", '[{"t":1}]', "[[]]"]) {
      expect(decodeData(Buffer.from(text))).toBeUndefined();
    }
  });
});

describe("handshake frames", () => {
  const payloadOf = (frame: Buffer) => frame.subarray(HEADER_BYTES);

  test("bring back node, nonce and generation", () => {
    const withPreamble = encodeHello({ node: "gateway-7", nonce });
    const payload = payloadOf(withPreamble.subarray(5));
    expect(decodeHello(payload)).toEqual({ node: "gateway-7", nonce });
    expect(decodeUp(payloadOf(encodeUp(4_000_000_000)))).toBe(4_000_000_000);
    expect(nonce).toHaveLength(NONCE_CHARS);
  });

  test("with a node id that is empty, long or not visible ASCII are refused at both ends", () => {
    for (const node of ["", "a b", "a\n", "é", "n".repeat(129)]) {
      expect(() => encodeHello({ node, nonce })).toThrow("not a trunk node id");
      expect(decodeHello(Buffer.from(nonce + node, "latin1"))).toBeUndefined();
    }
    expect(decodeHello(Buffer.from(`${nonce.slice(1)}`))).toBeUndefined();
  });
});
