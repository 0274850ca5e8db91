/** Processes that are killed, stopped as they are, or told to end; and all of them, one by one. */
import type { FaultAct, Theatre } from "./fault_act.ts";
import type { PlannedFault } from "./schedule.ts";

type Signal = "SIGKILL" | "SIGSTOP" | "SIGTERM";

export function processFault(fault: PlannedFault, { stage }: Theatre): FaultAct[] {
  const [signal, role = ""] = fault.kind.split(" ") as [Signal, string];
  return stage.of(role).map((process) => ({
    target: process.name,
    run: async () => {
      const before = process.exits.length;
      process.signal(signal);
      if (signal === "SIGSTOP") {
        await Bun.sleep(fault.durationMs);
        process.goOn();
        return;
      }
      while (process.exits.length === before) await Bun.sleep(10);
      await process.ready();
    },
  }));
}

/** Every process of every role ends politely and is replaced before the next one. */
export function rollingRestart(_: PlannedFault, { stage }: Theatre): FaultAct[] {
  return [
    {
      target: "all processes, one by one",
      run: async () => {
        for (const process of stage.processes) {
          const before = process.exits.length;
          process.signal("SIGTERM");
          while (process.exits.length === before) await Bun.sleep(10);
          await process.ready();
        }
      },
    },
  ];
}
