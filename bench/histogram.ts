/**
 * A log-linear histogram in the manner of HDR: every power of two is cut into 64 equal parts, so a
 * percentile is off by at most 1.6 %, whatever the range. Values are whole microseconds.
 */
import { present } from "./present.ts";

const PARTS = 64;
const PARTS_BITS = 6;
const POWERS = 40;

export class Histogram {
  private readonly counts = new Float64Array(PARTS * POWERS);
  private total = 0;
  private highest = 0;

  get count(): number {
    return this.total;
  }

  get max(): number {
    return this.highest;
  }

  record(value: number): void {
    const whole = value < 0 ? 0 : Math.round(value);
    const slot = slotOf(whole);
    this.counts[slot] = present(this.counts[slot]) + 1;
    this.total += 1;
    if (whole > this.highest) this.highest = whole;
  }

  /** The smallest value that `percent` of all values do not exceed; 0 when there is none. */
  percentile(percent: number): number {
    const rank = Math.ceil((this.total * percent) / 100);
    let seen = 0;
    for (let slot = 0; slot < this.counts.length && this.total > 0; slot += 1) {
      seen += present(this.counts[slot]);
      if (seen >= rank) return Math.min(upperEnd(slot), this.highest);
    }
    return 0;
  }
}

/** Below 64 a slot holds one value; from there on 64 slots cover a doubling. */
function slotOf(value: number): number {
  if (value < PARTS) return value;
  const power = Math.min(Math.floor(Math.log2(value)), POWERS + PARTS_BITS - 2);
  const part = Math.floor(value / 2 ** (power - PARTS_BITS)) - PARTS;
  return PARTS * (power - PARTS_BITS + 1) + part;
}

function upperEnd(slot: number): number {
  if (slot < PARTS) return slot;
  const power = Math.floor(slot / PARTS) - 1;
  return ((slot % PARTS) + PARTS + 1) * 2 ** power - 1;
}
