/** What the routes of push jobs and tags need, in memory, for tests that are about other things. */
import { systemClock, systemRandom } from "../../../core/clock.ts";
import { MemoryJobs } from "../../../core/jobs/memory_jobs.ts";
import { LIMITS } from "../../../core/limits.ts";
import { MemoryPushes } from "../../../core/pushes/memory_pushes.ts";
import { directAccess, MemoryEngine } from "../../../core/streams/memory_engine.ts";
import { MemoryTags } from "../../../core/tags/memory_tags.ts";
import { silentTelemetry } from "../../../core/testing/silent_telemetry.ts";
import { JobIntake } from "../job_intake.ts";

export function jobDeps() {
  const clock = systemClock;
  const engine = new MemoryEngine(clock);
  const access = directAccess(clock);
  const base = { engine, access, clock, partitions: { chat: 2, user: 2 }, limits: LIMITS };
  const jobs = new MemoryJobs({ ...base, retentionS: 60 });
  const pushes = new MemoryPushes(base);
  const own = { self: "n1", random: systemRandom, onReady: () => {} };
  return {
    jobs,
    tags: new MemoryTags(base),
    jobIntake: new JobIntake({ ...base, ...own, jobs, pushes, telemetry: silentTelemetry() }),
  };
}
