/**
 * Towards clients. What a connection gets in one turn of the event loop leaves as one WebSocket
 * message at its end: a lone frame as itself, several as a JSON array. Frames arrive encoded and are
 * only ever joined, so a frame for ten thousand connections is one string.
 */
import type { Clock } from "../../core/clock.ts";
import { CLOSE_CODES, type CloseReason } from "../../core/protocol/errors.ts";
import type { Connection } from "./connection.ts";
import { byeFrame } from "./server_frames.ts";
import type { Tally } from "./tally.ts";

/** A connection that gets more than this in one turn is written to before the turn ends. */
const TURN_CHARS_MAX = 262_144;
/** How long an `accepted` waits for the `sent` behind it. */
const PATIENCE_MS = 10;

export class Downlink {
  private readonly clock: Clock;
  private readonly tally: Tally;
  private readonly schedule: () => void;
  private dirty: Connection[] = [];
  private patient: Connection[] = [];
  private lastFrames = "";
  private lastText = "";

  /** `schedule` asks for a `flush` at the end of this turn. */
  constructor(clock: Clock, tally: Tally, schedule: () => void) {
    this.clock = clock;
    this.tally = tally;
    this.schedule = schedule;
  }

  /** Queues encoded frames, comma-separated. */
  queue(conn: Connection, frames: string): void {
    if (conn.closed) return;
    this.join(conn, frames);
    if (conn.outDue) return;
    conn.outDue = true;
    if (this.dirty.length === 0) this.schedule();
    this.dirty.push(conn);
  }

  /**
   * The same for frames that nobody waits for, and that others will follow: they leave with the next
   * ones for this connection, or after PATIENCE_MS.
   */
  queuePatiently(conn: Connection, frames: string): void {
    if (conn.closed) return;
    this.join(conn, frames);
    if (conn.outDue) return;
    if (this.patient.length === 0) this.clock.after(PATIENCE_MS, this.flushPatient);
    this.patient.push(conn);
  }

  flush(): void {
    const { dirty } = this;
    if (dirty.length === 0) return;
    this.dirty = [];
    for (const conn of dirty) this.write(conn);
    // A text that stays here would keep its memory for as long as nothing follows.
    this.lastFrames = this.lastText = "";
  }

  /** Says `bye` after all that is queued, and closes with the code of `reason`. */
  end(conn: Connection, reason: CloseReason, reconnectAfterMs = 0): void {
    if (conn.closed) return;
    this.queue(conn, byeFrame(reason, reconnectAfterMs));
    this.write(conn);
    this.close(conn, reason);
  }

  private readonly flushPatient = (): void => {
    const { patient } = this;
    this.patient = [];
    for (const conn of patient) if (!conn.outDue) this.write(conn);
    this.lastFrames = this.lastText = "";
  };

  private join(conn: Connection, frames: string): void {
    conn.out = conn.outCount === 0 ? frames : `${conn.out},${frames}`;
    conn.outCount++;
    if (conn.out.length > TURN_CHARS_MAX) this.write(conn);
  }

  private write(conn: Connection): void {
    const { out, outCount, socket } = conn;
    conn.out = "";
    conn.outCount = 0;
    conn.outDue = false;
    if (conn.closed || outCount === 0 || socket === null) return;
    const text = outCount === 1 ? this.lone(out) : `[${out}]`;
    this.tally.framesOut += outCount;
    const written = socket.send(text);
    if (written > 0) this.tally.bytesOut += written;
    else if (written < 0) this.tally.bytesOut += text.length;
    // Dropped: the client reads slower than it is sent to. What it misses is replayed to it.
    else this.close(conn, "slow_consumer");
  }

  /** The text for frames that were queued at once; several of them become an array. */
  private lone(frames: string): string {
    if (frames !== this.lastFrames) {
      this.lastFrames = frames;
      // Inside a JSON string every quote is escaped, so this only matches between two frames.
      this.lastText = frames.includes('},{"type":') ? `[${frames}]` : frames;
    }
    return this.lastText;
  }

  private close(conn: Connection, reason: CloseReason): void {
    if (conn.closed) return;
    conn.closed = true;
    conn.closeReason = reason;
    conn.socket?.close(CLOSE_CODES[reason], reason);
  }
}
