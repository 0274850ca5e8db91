/**
 * HTTP of the offline role. Public routes let a user's own backend or client read, confirm and put
 * messages; internal ones are the store's contract for push processes elsewhere. Neither reads a
 * body before its caller is known.
 */
import { Hono, type MiddlewareHandler } from "hono";
import type { Clock, Random } from "../../core/clock.ts";
import { answerErrors } from "../../core/http/http_errors.ts";
import { arrayLength, checked, parseJson } from "../../core/http/json_body.ts";
import type { JobStore } from "../../core/jobs/contract.ts";
import { decodeSegments, LEDGER_SEGMENTS_PATH } from "../../core/ledger/wire.ts";
import { type ChatMarks, StaleEpochError } from "../../core/offline/contract.ts";
import type { WindowStore } from "../../core/offline/window_store.ts";
import {
  type CallRequest,
  type CallResponse,
  CLUSTER_SECRET_HEADER,
  isClusterSecret,
  OFFLINE_CALLS,
  OFFLINE_INTERNAL_PATH,
  type OfflineCall,
  SEEN_EPOCH_HEADER,
} from "../../core/offline/wire.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { OfflineEngine } from "./engine.ts";
import { noteJobAcks } from "./job_acks.ts";
import { AcknowledgeBody, ArchiveBody, BATCH_MAX, RetrieveQuery, toRow } from "./public_bodies.ts";
import { addTraceRoutes, type TraceRoutesDeps } from "./trace_routes.ts";
import { addWebPushRoutes, type WebPushRoutesDeps } from "./web_push/routes.ts";

export const OFFLINE_PUBLIC_PATH = "/chatify/offline/v1";

export interface OfflineAppDeps {
  /** Null where no ledger is kept: then there are no routes that ask it. */
  readonly trace?: TraceRoutesDeps | null;
  readonly webPush?: WebPushRoutesDeps | null;
  readonly store: OfflineEngine;
  readonly clusterSecret: string;
  /** Runs before every public route and throws what refuses the caller. */
  readonly authorize: MiddlewareHandler;
  readonly clock: Clock;
  readonly random: Random;
  readonly telemetry: Telemetry;
  /** Tells the owner of the user's partition that there are rows it does not know of. */
  readonly announceRows: (userId: string) => Promise<void>;
  /** Hears of messages of push jobs that are confirmed here; nobody does when absent. */
  readonly jobs?: Pick<JobStore, "record"> | undefined;
}

export const allowAll: MiddlewareHandler = (_, next) => next();

/** What stands in where no authorisation is wired: refusing is safe, allowing would not be. */
export const refuseAll: MiddlewareHandler = () => {
  throw new ChatifyError(
    "unauthorized",
    "this node was started without a way to authorize callers",
  );
};

export function createOfflineApp(deps: OfflineAppDeps): Hono {
  const app = new Hono();
  answerErrors(app, deps);
  app.use(`${OFFLINE_PUBLIC_PATH}/*`, deps.authorize);
  addPublicRoutes(app, deps);
  if (deps.trace) addTraceRoutes(app, OFFLINE_PUBLIC_PATH, deps.trace);
  addWebPushRoutes(app, OFFLINE_PUBLIC_PATH, deps.webPush ?? null);
  app.use(`${OFFLINE_INTERNAL_PATH}/*`, async (c, next) => {
    const presented = c.req.header(CLUSTER_SECRET_HEADER) ?? null;
    if (!isClusterSecret(presented, deps.clusterSecret)) {
      deps.telemetry.metrics.authFailures.inc({ reason: "cluster_secret" });
      throw new ChatifyError("unauthorized", "this needs the cluster's secret");
    }
    await next();
  });
  app.post(LEDGER_SEGMENTS_PATH, async (c) => {
    await deps.store.ledger.add(decodeSegments(new Uint8Array(await c.req.arrayBuffer())));
    return c.body(null, 204);
  });
  addInternalRoutes(app, deps.store);
  return app;
}

function addPublicRoutes(
  app: Hono,
  { announceRows, clock, jobs, store, telemetry }: OfflineAppDeps,
): void {
  app.get(`${OFFLINE_PUBLIC_PATH}/RetrieveOfflineMessages`, async (c) => {
    const query = checked(RetrieveQuery, c.req.query());
    const { user_id, last_message_id: last } = query;
    // A last message that was acknowledged meanwhile has no row: then what is left starts over,
    // because nothing that is left was acknowledged.
    const cursor = last === "" ? null : await store.cursorOf(user_id, last);
    const nowS = Math.floor(clock.now() / 1_000);
    const page = await store.page(user_id, cursor, query.page_size, nowS);
    const hasMore = page.cursor !== null;
    const next = hasMore ? (page.rows.at(-1)?.msg_id ?? null) : null;
    // Rows hold the encoded messages, exactly as clients get them: there is nothing to encode again.
    const messages = page.rows.map((row) => row.message).join(",");
    const rest = `"next_message_id":${JSON.stringify(next)},"has_more":${hasMore}`;
    return c.body(`{"messages":[${messages}],${rest}}`, 200, {
      "content-type": "application/json",
    });
  });

  app.post(`${OFFLINE_PUBLIC_PATH}/AcknowledgeMessages`, async (c) => {
    const body = await parseJson(c.req.raw);
    for (const field of ["msg_ids", "message_ids"]) refuseLong(body, field);
    const { user_id, msg_ids } = checked(AcknowledgeBody, body);
    if (jobs !== undefined) await noteJobAcks(jobs, store, user_id, msg_ids);
    const acknowledged = await store.confirm(null, [{ user_id, msg_ids }]);
    for (const msgId of msg_ids) telemetry.ledger.confirmed(msgId, user_id);
    return c.json({ acknowledged });
  });

  app.post(`${OFFLINE_PUBLIC_PATH}/ArchiveMessages`, async (c) => {
    const body = await parseJson(c.req.raw);
    refuseLong(body, "messages");
    const { user_id, messages } = checked(ArchiveBody, body);
    const now = clock.now();
    await store.archiveUnfenced(messages.map((message) => toRow(user_id, message, now)));
    for (const { msg_id } of messages) telemetry.ledger.stored(msg_id, user_id, "http");
    await announceRows(user_id);
    // What is stored now, so that a repeated call is answered like the first one.
    return c.json({ archived: messages.length });
  });
}

/** Before the schema sees it, so that a million items cost no million checks. */
function refuseLong(body: unknown, field: string): void {
  const length = arrayLength(body, field);
  if (length <= BATCH_MAX) return;
  throw new ChatifyError("too_large", `${field} holds ${length} items, at most ${BATCH_MAX}`);
}

type Handlers = { [C in OfflineCall]: (request: CallRequest<C>) => Promise<CallResponse<C>> };

type LogicCall = Extract<OfflineCall, keyof WindowStore | keyof ChatMarks>;

/** What logic keeps beside the messages. */
function logicHandlers(store: OfflineEngine): Pick<Handlers, LogicCall> {
  return {
    async markChats({ marks }) {
      await store.markChats(marks);
      return {};
    },
    async chatMark({ partition }) {
      return { mark: await store.chatMark(partition) };
    },
    async reserveSeqs({ partition, above, count }) {
      return { ceiling: await store.reserveSeqs(partition, above, count) };
    },
    async saveWindow({ segments }) {
      await store.saveWindow(segments);
      return {};
    },
    async windowPage({ partition, cursor, limit, now_s }) {
      const page = await store.windowPage(partition, cursor, limit, now_s);
      return { segments: [...page.segments], cursor: page.cursor };
    },
    async sweepWindow({ now_s, limit }) {
      return { swept: await store.sweepWindow(now_s, limit) };
    },
  };
}

function addInternalRoutes(app: Hono, store: OfflineEngine): void {
  const handlers: Handlers = {
    async archive({ owner, rows }) {
      await store.archive(owner, rows);
      return {};
    },
    async page({ user_id, cursor, limit, now_s }) {
      const page = await store.page(user_id, cursor, limit, now_s);
      return { rows: [...page.rows], cursor: page.cursor };
    },
    async cursorOf({ user_id, msg_id }) {
      return { cursor: await store.cursorOf(user_id, msg_id) };
    },
    async confirm({ owner, confirmed }) {
      return { confirmed: await store.confirm(owner, confirmed) };
    },
    async withRows({ user_ids }) {
      return { user_ids: await store.withRows(user_ids) };
    },
    async users({ after, limit }) {
      return { user_ids: await store.users(after, limit) };
    },
    async sweep({ now_s, limit }) {
      return { swept: await store.sweep(now_s, limit) };
    },
    async count() {
      return { rows: await store.count() };
    },
    ...logicHandlers(store),
  };
  const serve = <C extends OfflineCall>(name: C, handle: Handlers[C]) => {
    app.post(`${OFFLINE_INTERNAL_PATH}/${name}`, async (c) => {
      const request = checked(OFFLINE_CALLS[name].request, await parseJson(c.req.raw));
      try {
        return c.json(await handle(request as CallRequest<C>));
      } catch (error) {
        if (!(error instanceof StaleEpochError)) throw error;
        const { message, seen } = error;
        const body = new ChatifyError("conflict", message).toBody();
        return c.json(body, 409, { [SEEN_EPOCH_HEADER]: `${seen}` });
      }
    });
  };
  serve("archive", handlers.archive);
  serve("page", handlers.page);
  serve("cursorOf", handlers.cursorOf);
  serve("confirm", handlers.confirm);
  serve("withRows", handlers.withRows);
  serve("users", handlers.users);
  serve("markChats", handlers.markChats);
  serve("chatMark", handlers.chatMark);
  serve("reserveSeqs", handlers.reserveSeqs);
  serve("sweep", handlers.sweep);
  serve("count", handlers.count);
  serve("saveWindow", handlers.saveWindow);
  serve("windowPage", handlers.windowPage);
  serve("sweepWindow", handlers.sweepWindow);
}
