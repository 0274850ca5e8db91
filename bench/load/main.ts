/** The load generator's process: one job, given as JSON, and events on stdout, the result last. */
import type { Job, LoadResult } from "../job.ts";
import { ChatLoad } from "./chat_load.ts";
import { runConnectLoad } from "./connect_load.ts";
import { FanoutLoad } from "./fanout_load.ts";
import { PushLoad } from "./push_load.ts";
import { tell } from "./window.ts";

function run(job: Job): Promise<LoadResult> {
  switch (job.kind) {
    case "chat":
      return new ChatLoad(job).run();
    case "connect":
      return runConnectLoad(job);
    case "push":
      return new PushLoad(job).run();
    case "fanout":
      return new FanoutLoad(job).run();
  }
}

tell(await run(JSON.parse(process.argv[2] ?? "{}") as Job));
process.exit(0);
