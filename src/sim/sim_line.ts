/** What a run of worlds adds up to: the line of JSON that the simulator ends with. */
export interface SimLine {
  seeds: number;
  messages: number;
  faults: number;
  violations: number;
  accepted: number;
  /** Message frames that devices got, and those that they had got before. */
  frames: number;
  duplicates: number;
  /** Deliveries that Redis took along when it lost data that it had confirmed. */
  lost_with_redis: number;
  /** Seeds whose worlds broke a rule. */
  failed: number[];
  /** Of the run that took longest. */
  seconds: number;
}

export function sumLines(lines: readonly SimLine[]): SimLine {
  const sum: SimLine = {
    ...{ seeds: 0, messages: 0, faults: 0, violations: 0, accepted: 0, frames: 0, duplicates: 0 },
    ...{ lost_with_redis: 0, failed: [], seconds: 0 },
  };
  for (const line of lines) {
    sum.seeds += line.seeds;
    sum.messages += line.messages;
    sum.faults += line.faults;
    sum.violations += line.violations;
    sum.accepted += line.accepted;
    sum.frames += line.frames;
    sum.duplicates += line.duplicates;
    sum.lost_with_redis += line.lost_with_redis;
    sum.failed.push(...line.failed);
    sum.seconds = Math.max(sum.seconds, line.seconds);
  }
  return sum;
}
