/**
 * One direction of a proxied connection: bytes in the order in which they came, each chunk due at a
 * time, written as the fault of the moment allows. It is bounded: while QUEUE_BYTES_MAX wait, the
 * source is paused, so that the sender feels the link as it would feel a real one.
 */
const QUEUE_BYTES_MAX = 1_048_576;
const QUEUE_BYTES_RESUME = 262_144;
/** How often a slow link is looked at. */
export const TICK_MS = 2;
const SINGLE_BYTES_PER_TICK = 64;

/** What a pipe uses of a socket. */
export interface Wire {
  write(data: Uint8Array): number;
  end(): void;
  terminate(): void;
  pause(): void;
  resume(): void;
}

export interface PipeMode {
  /** Nothing is written. */
  readonly held: boolean;
  readonly delayMs: () => number;
  /** Per second; null for as fast as it goes. */
  readonly bytesPerSecond: number | null;
  readonly singleBytes: boolean;
  /** What arrives is forgotten. */
  readonly swallows: boolean;
}

export const OPEN: PipeMode = {
  held: false,
  delayMs: () => 0,
  bytesPerSecond: null,
  singleBytes: false,
  swallows: false,
};

interface Chunk {
  bytes: Buffer;
  readonly dueAt: number;
}

export class Pipe {
  mode: PipeMode = OPEN;
  sink: Wire | null = null;
  source: Wire | null = null;
  /** Bytes that came in. */
  passed = 0;
  private queue: Chunk[] = [];
  private queued = 0;
  private ending = false;
  private paused = false;
  private allowance = 0;
  private allowedAt = 0;
  private lastDueAt = 0;

  constructor(private readonly onSlow: () => void) {}

  push(data: Uint8Array): void {
    this.passed += data.length;
    if (this.mode.swallows) return;
    const now = performance.now();
    // Later bytes never overtake earlier ones, however the delay varies.
    this.lastDueAt = Math.max(this.lastDueAt, now + this.mode.delayMs());
    this.queue.push({ bytes: Buffer.from(data), dueAt: this.lastDueAt });
    this.queued += data.length;
    if (this.queued > QUEUE_BYTES_MAX && !this.paused) {
      this.paused = true;
      this.source?.pause();
    }
    this.pump();
  }

  /** The source has ended: so does the sink, once everything is written. */
  end(): void {
    this.ending = true;
    this.pump();
  }

  pump(): void {
    if (this.sink === null) return;
    while (this.queue.length > 0) {
      const size = this.maySend();
      if (size === 0) {
        this.onSlow();
        return;
      }
      if (!this.write(size)) return;
    }
    // Held means that nobody hears of the end either.
    if (!this.ending) return;
    if (this.mode.held) this.onSlow();
    else this.sink.end();
  }

  /** How many bytes of the first chunk may be written now. */
  private maySend(): number {
    const { bytesPerSecond, held, singleBytes } = this.mode;
    const first = this.queue[0];
    const now = performance.now();
    if (held || first === undefined || first.dueAt > now) return 0;
    if (!singleBytes && bytesPerSecond === null) return first.bytes.length;
    const perMs = singleBytes ? SINGLE_BYTES_PER_TICK / TICK_MS : (bytesPerSecond ?? 0) / 1_000;
    const since = Math.min(100, now - this.allowedAt);
    const burst = perMs * (singleBytes ? TICK_MS : 100);
    this.allowance = Math.min(this.allowance + since * perMs, burst);
    this.allowedAt = now;
    const whole = Math.min(first.bytes.length, Math.floor(this.allowance));
    const size = singleBytes ? Math.min(1, whole) : whole;
    this.allowance -= size;
    return size;
  }

  /** False when the sink takes no more for now; its drain pumps again. */
  private write(size: number): boolean {
    const first = this.queue[0];
    if (first === undefined || this.sink === null) return false;
    const written = Math.max(0, this.sink.write(first.bytes.subarray(0, size)));
    this.queued -= written;
    if (written === first.bytes.length) this.queue.shift();
    else first.bytes = first.bytes.subarray(written);
    if (this.paused && this.queued < QUEUE_BYTES_RESUME) {
      this.paused = false;
      this.source?.resume();
    }
    return written === size;
  }
}
