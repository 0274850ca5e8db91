/** What the measuring process tells a herd of clients, and what it hears; one JSON line each. */

export interface HerdJob {
  /** Users from this index on are this herd's. */
  readonly firstUser: number;
  readonly path: string;
  readonly secret: string;
  /** Each herd has addresses of its own in 127.0.0.0/8. */
  readonly herd: number;
}

export type Order =
  /** Connect so many new users to each port, so many at once. */
  | {
      readonly order: "connect";
      readonly to: readonly (readonly [port: number, users: number])[];
      readonly atOnce: number;
    }
  /** Where those who lose their connection go. */
  | { readonly order: "ports"; readonly ports: readonly number[] };

/** Attempts that came to nothing; each is made again. */
export interface Failures {
  /** The gateway answered with something else than a WebSocket. */
  readonly refused: number;
  /** The connection ended before there was an answer, and before there was a welcome. */
  readonly unanswered: number;
  readonly unwelcomed: number;
}

export interface HerdReport {
  readonly wanted: number;
  /** Welcomed and not ended. */
  readonly here: number;
  readonly messages: number;
  /** The same message for the same user again. */
  readonly repeated: number;
  readonly pings: number;
  /** Connections that ended, with and without having been asked to go. */
  readonly ended: number;
  readonly byes: number;
  readonly failed: Failures;
  /** From the first packet to the welcome. */
  readonly welcomeMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** From its being told to go to its next welcome. */
  readonly awayMs: { readonly p50: number; readonly p99: number; readonly max: number };
}
