/**
 * The way of commands to Redis. Commands whose keys are in one slot are executed in the order in
 * which they are given; of others that is promised only where there is one server. Every command
 * names a key first, and all keys of one are in one slot; one that names none goes to any server.
 * Rejects with `unavailable` when nothing was done, with `outcome_unknown` when it may have been.
 */
import type { Script } from "./script.ts";

export interface CommandLane {
  /** True while commands can be sent, to every server. */
  isReady(): boolean;
  /** A command that changes nothing, so that a lost reply is only `unavailable`. */
  read(operation: string, name: string, args: string[]): Promise<unknown>;
  write(operation: string, name: string, args: string[]): Promise<unknown>;
  /** Runs a script. What it returned comes back as it is; its own refusals are for the caller. */
  script(operation: string, script: Script, keys: string[], args: string[]): Promise<unknown>;
}
