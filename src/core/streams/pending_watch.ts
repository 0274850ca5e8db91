/**
 * Every few seconds: what waits in the partitions that this node owns, for the metrics, and whether
 * somebody else was given any of it, which the reader then reads again.
 */
import type { Timer } from "../clock.ts";
import { GROUP_TOPICS, type Topic } from "../topology.ts";
import { readBacklog, reportBacklog } from "./backlog.ts";
import type { Reading, RedisReaderDeps } from "./reading.ts";

const CHECK_MS = 3_000;

interface Watch {
  /** The name under which this node reads now. */
  consumer(): string;
  onForeign(reading: Reading): void;
}

export function watchPending(
  deps: RedisReaderDeps,
  assigned: ReadonlyMap<number, Reading>,
  watch: Watch,
): Timer {
  let running = false;
  const check = async () => {
    if (running || !deps.redis.lane.isReady()) return;
    running = true;
    const readings = [...assigned.values()].filter((reading) => reading.taken);
    await Promise.all(
      readings.flatMap((reading) =>
        GROUP_TOPICS[deps.group].map((topic) => look(deps, reading, topic, watch)),
      ),
    );
    running = false;
  };
  return deps.clock.every(CHECK_MS, () => void check());
}

async function look(
  deps: RedisReaderDeps,
  reading: Reading,
  topic: Topic,
  watch: Watch,
): Promise<void> {
  const { clock, redis, telemetry } = deps;
  const { partition, turn } = reading;
  const consumer = watch.consumer();
  try {
    const backlog = await readBacklog(redis, topic, partition);
    // Taken anew or given up while Redis answered: the answer is about something else.
    if (reading.turn !== turn || !reading.taken) return;
    reportBacklog(telemetry.metrics, topic, partition, backlog, clock.now());
    if (!backlog.readers.some((name) => name !== consumer)) return;
    telemetry.metrics.gaps.inc({ topic });
    telemetry.log.warn({ topic, partition }, "another reader has entries of ours; reading again");
    watch.onForeign(reading);
  } catch (error) {
    telemetry.log.debug({ err: error, topic, partition }, "could not look at pending entries");
  }
}
