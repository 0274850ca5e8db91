/**
 * WebSocket frames by hand (RFC 6455), because a load generator must cost less than what it loads.
 * Client frames must be masked; a mask of four zero bytes is legal and leaves the payload as it is,
 * so a frame is encoded once and its bytes are patched for each message.
 */
const TEXT = 0x81;
const PONG = 0x8a;
const MASKED = 0x80;

export const OPCODE_TEXT = 1;
export const OPCODE_CLOSE = 8;
export const OPCODE_PING = 9;

function header(first: number, length: number): Buffer {
  const extra = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const head = Buffer.alloc(2 + extra + 4);
  head[0] = first;
  head[1] = MASKED | (extra === 0 ? length : extra === 2 ? 126 : 127);
  if (extra === 2) head.writeUInt16BE(length, 2);
  if (extra === 8) head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}

export function textFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([header(TEXT, payload.length), payload]);
}

export function pongFrame(payload: Buffer): Buffer {
  return Buffer.concat([header(PONG, payload.length), payload]);
}

export type OnFrame = (opcode: number, data: Buffer, start: number, end: number) => void;

/** Cuts a byte stream into frames; what is not complete waits for the next chunk. */
export class FrameReader {
  private rest: Buffer | null = null;

  /** Nothing waits for more bytes. */
  get isEmpty(): boolean {
    return this.rest === null;
  }

  read(chunk: Buffer, onFrame: OnFrame): void {
    const data = this.rest === null ? chunk : Buffer.concat([this.rest, chunk]);
    let at = 0;
    for (;;) {
      if (data.length - at < 2) break;
      const short = (data[at + 1] ?? 0) & 0x7f;
      const head = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (data.length - at < head) break;
      let length = short;
      if (short === 126) length = data.readUInt16BE(at + 2);
      if (short === 127) length = Number(data.readBigUInt64BE(at + 2));
      const end = at + head + length;
      if (end > data.length) break;
      onFrame((data[at] ?? 0) & 0x0f, data, at + head, end);
      at = end;
    }
    // A copy, because the chunk's memory is the socket's.
    this.rest = at === data.length ? null : Buffer.from(data.subarray(at));
  }
}
