/** One link between two parties that is bad for a while. */
import type { StageLink } from "../stage/stage.ts";
import type { FaultAct, Theatre } from "./fault_act.ts";
import { linkFaultOf } from "./fault_kinds.ts";
import type { PlannedFault } from "./schedule.ts";

/** Which links, in the order in which they are taken: every two parties as often as any other two. */
const BETWEEN: readonly StageLink["between"][] = [
  "client-gateway",
  "role-access",
  "role-redis",
  "push-offline",
  "gateway-api",
  "offline-postgres",
];
/** Who dials access: one of them is hurt, the others are not. */
const DIALLERS = ["gateway", "logic", "push", "access"] as const;

export function networkFault(fault: PlannedFault, { stage }: Theatre): FaultAct[] {
  const between = BETWEEN.filter((each) => stage.linksBetween(each).length > 0);
  // Another digit of the draw than the one that picks the target.
  const fine = (fault.draw * 1_000) % 1;
  const chosen = between[Math.floor(fine * between.length)] ?? "role-redis";
  const linkFault = linkFaultOf(fault.kind, (fault.draw * 77) % 1);
  const dialler = DIALLERS[fault.number % DIALLERS.length] ?? "gateway";
  return stage.linksBetween(chosen).map(({ name }) => {
    const peer = chosen === "role-access" ? `${dialler}-` : "";
    return {
      target: name,
      run: async () => {
        await stage.network.set(name, linkFault, peer);
        await Bun.sleep(fault.durationMs);
        await stage.network.set(name, null);
      },
    };
  });
}
