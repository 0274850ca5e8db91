/** One device of one user, whatever software it runs. */
import type { ClientLog } from "./client_log.ts";

export interface Submission {
  /** The canary, which is the client message id, too. */
  readonly op: string;
  readonly target: "USER" | "GROUP";
  readonly to: string;
  readonly content: string;
  /** Unix seconds; 0 means never. */
  readonly expireTime: number;
  /** False: it is tried once, and what became of it stays unknown if nobody says. */
  readonly retried: boolean;
}

export interface DeviceDeps {
  readonly log: ClientLog;
  /** `host:port` of the gateway that a balancer would choose now. */
  readonly gateway: () => string;
}

export interface Device {
  readonly user: string;
  readonly device: string;
  readonly software: "sdk" | "raw";
  /** It was welcomed and the connection lives. */
  readonly online: boolean;
  /** Submissions that are not decided. */
  readonly undecided: number;
  submit(submission: Submission): void;
  /** Goes offline: politely, or without a word. */
  leave(how: "close" | "kill"): void;
  comeBack(): void;
  /** Whatever arrives next is received and not acked: the client dies first, and comes back. */
  dieBeforeAck(backAfterMs: number): void;
  /** Another login of the same device while this one lives. */
  loginAgain(): void;
  /** Acks what it never got. */
  forgeAcks(msgIds: readonly string[]): void;
  /** The end of the run. */
  stop(): void;
}
