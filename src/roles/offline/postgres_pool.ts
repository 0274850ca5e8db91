/**
 * A bounded pool of Postgres connections behind Drizzle, on Bun's own client: measured beside
 * postgres.js it writes the same rows per second and reads twice as many at half the processor time,
 * and failures look alike (figures in docs/ARCHITECTURE.md). A server that hangs answers nothing,
 * so time is measured on this side too, and a pool in which a call timed out is replaced whole.
 */
import { SQL } from "bun";
import { type BunSQLDatabase, drizzle } from "drizzle-orm/bun-sql";
import type { Clock } from "../../core/clock.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import { storeClosed } from "./engine.ts";

export interface PostgresPoolOptions {
  readonly url: string;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly timeoutMs?: number;
}

export type PostgresDatabase = BunSQLDatabase;

const CONNECTIONS_MAX = 8;
const CONNECT_TIMEOUT_S = 3;
/** The server gives up a little earlier, so that it does not go on with what nobody waits for. */
const TIMEOUT_MS = 5_000;
const SERVER_TIMEOUT_MS = 4_500;
/** Calls under way and waiting for a connection; more are refused as overloaded. */
const CALLS_MAX = 1_000;
/** Times a call is made that lost against another transaction. */
const ATTEMPTS_MAX = 3;

export class PostgresPool {
  private readonly options: PostgresPoolOptions;
  private client: SQL;
  private database: PostgresDatabase;
  private calls = 0;
  private closed = false;

  constructor(options: PostgresPoolOptions) {
    this.options = options;
    this.client = connect(options.url);
    this.database = drizzle({ client: this.client });
  }

  /** Runs `work`, which must be safe to repeat. Rejects with a ChatifyError, or with a bug. */
  async run<T>(
    work: (database: PostgresDatabase) => PromiseLike<T>,
    timeoutMs = this.options.timeoutMs ?? TIMEOUT_MS,
  ): Promise<T> {
    if (this.closed) throw storeClosed();
    if (this.calls >= CALLS_MAX) {
      throw new ChatifyError("overloaded", `${CALLS_MAX} calls wait for Postgres`, 1_000);
    }
    this.calls++;
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          return await this.timed(work, timeoutMs);
        } catch (error) {
          if (attempt < ATTEMPTS_MAX && isConflict(error)) continue;
          throw postgresError(error);
        }
      }
    } finally {
      this.calls--;
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.client.close({ timeout: 1 });
  }

  private async timed<T>(
    work: (database: PostgresDatabase) => PromiseLike<T>,
    timeoutMs: number,
  ): Promise<T> {
    const { clock } = this.options;
    const { client, database } = this;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = clock.after(timeoutMs, () => {
      this.replace(client);
      const message = `Postgres did not answer within ${timeoutMs} ms`;
      reject(new ChatifyError("unavailable", message, 1_000));
    });
    try {
      return await Promise.race([work(database), late]);
    } finally {
      timer.cancel();
    }
  }

  /** Puts a new pool in the place of `hung`, unless somebody else has done so. */
  private replace(hung: SQL): void {
    if (this.client !== hung || this.closed) return;
    this.options.telemetry.log.warn("Postgres hangs: its connections are dropped and made anew");
    this.client = connect(this.options.url);
    this.database = drizzle({ client: this.client });
    hung.close({ timeout: 0 }).catch(() => {});
  }
}

function connect(url: string): SQL {
  return new SQL({
    url,
    adapter: "postgres",
    max: CONNECTIONS_MAX,
    connectionTimeout: CONNECT_TIMEOUT_S,
    connection: { statement_timeout: SERVER_TIMEOUT_MS, application_name: "chatify" },
  });
}

/** Drizzle wraps what the client threw, with all parameters in its message: look at the cause. */
function causeOf(error: unknown): unknown {
  return error instanceof Error && !(error instanceof SQL.PostgresError) && error.cause
    ? error.cause
    : error;
}

/** https://www.postgresql.org/docs/15/errcodes-appendix.html; null when it is not the server's. */
function sqlState(error: unknown): string | null {
  const cause = causeOf(error);
  if (!(cause instanceof SQL.PostgresError)) return null;
  return typeof cause.errno === "string" ? cause.errno : null;
}

/** Deadlock or serialization failure: the transaction was rolled back for another one. */
function isConflict(error: unknown): boolean {
  const state = sqlState(error);
  return state === "40P01" || state === "40001";
}

/**
 * Bad data (class 22) is the caller's fault; a wrong statement (42) or a broken constraint (23) is a
 * bug. Everything else that Postgres or the way to it says may pass: restart, failover, full disk.
 */
function postgresError(error: unknown): unknown {
  const cause = causeOf(error);
  if (cause instanceof ChatifyError || !(cause instanceof SQL.PostgresError)) return cause;
  const state = sqlState(cause);
  if (state?.startsWith("22")) {
    return new ChatifyError("bad_request", `Postgres cannot hold this: ${cause.message}`);
  }
  if (state?.startsWith("42") || state?.startsWith("23")) return cause;
  return new ChatifyError("unavailable", `Postgres failed: ${cause.message}`, 1_000);
}
