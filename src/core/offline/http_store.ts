/**
 * The offline store for a process that has no offline role in it: the contract over HTTP. Every
 * call may be repeated (archiving twice changes nothing, confirming twice deletes once), so a call
 * that one node failed goes to the next one. After that the count that `confirm` returns may be too
 * low, because the first node may have deleted rows without being heard.
 */
import type { Clock } from "../clock.ts";
import { ChatifyError, ERRORS, type ErrorCode } from "../protocol/errors.ts";
import {
  type ChatMark,
  type KeptChatMark,
  type OfflinePage,
  type OfflineRow,
  type OfflineStore,
  type OwnerEpoch,
  StaleEpochError,
} from "./contract.ts";
import type { WindowPage, WindowSegment } from "./window_store.ts";
import {
  type CallRequest,
  type CallResponse,
  CLUSTER_SECRET_HEADER,
  OFFLINE_CALLS,
  OFFLINE_INTERNAL_PATH,
  type OfflineCall,
  SEEN_EPOCH_HEADER,
} from "./wire.ts";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface HttpStoreOptions {
  /** The offline nodes that live now; asked for at each call. */
  readonly endpoints: () => readonly Endpoint[];
  readonly clusterSecret: string;
  readonly clock: Clock;
  /** How long a node may take for one request. */
  readonly timeoutMs?: number;
  /** Calls at once; more are refused as overloaded. */
  readonly callsMax?: number;
}

const TIMEOUT_MS = 5_000;
const CALLS_MAX = 1_024;
/** A node that failed is asked last for so long. */
const COOL_DOWN_MS = 2_000;
const NODES_TRIED_MAX = 3;
/** Half of HTTP_BODY_BYTES_MAX: a longer archive call goes in parts, each in order and fenced. */
const BODY_BYTES_MAX = 4_194_304;

export class HttpOfflineStore implements OfflineStore {
  private readonly options: HttpStoreOptions;
  private readonly failedAt = new Map<string, number>();
  private turn = 0;
  private calls = 0;

  constructor(options: HttpStoreOptions) {
    this.options = options;
  }

  async archive(owner: OwnerEpoch, rows: readonly OfflineRow[]): Promise<void> {
    for (const part of inParts(rows)) {
      const body = `{"owner":${JSON.stringify(owner)},"rows":[${part.join(",")}]}`;
      await this.send("archive", body, owner);
    }
  }

  async page(
    userId: string,
    cursor: string | null,
    limit: number,
    nowS: number,
  ): Promise<OfflinePage> {
    return this.call("page", { user_id: userId, cursor, limit, now_s: nowS });
  }

  async cursorOf(userId: string, msgId: string): Promise<string | null> {
    return (await this.call("cursorOf", { user_id: userId, msg_id: msgId })).cursor;
  }

  async confirm(
    owner: OwnerEpoch | null,
    confirmed: Parameters<OfflineStore["confirm"]>[1],
  ): Promise<number> {
    const body = JSON.stringify({ owner, confirmed });
    return (await this.send("confirm", body, owner)).confirmed;
  }

  async withRows(userIds: readonly string[]): Promise<string[]> {
    return (await this.call("withRows", { user_ids: [...userIds] })).user_ids;
  }

  async users(after: string, limit: number): Promise<string[]> {
    return (await this.call("users", { after, limit })).user_ids;
  }

  async markChats(marks: readonly ChatMark[]): Promise<void> {
    await this.call("markChats", { marks: [...marks] });
  }

  async chatMark(partition: number): Promise<KeptChatMark | null> {
    return (await this.call("chatMark", { partition })).mark;
  }

  async reserveSeqs(partition: number, above: number, count: number): Promise<number> {
    return (await this.call("reserveSeqs", { partition, above, count })).ceiling;
  }

  async sweep(nowS: number, limit: number): Promise<{ user_id: string; msg_id: string }[]> {
    return (await this.call("sweep", { now_s: nowS, limit })).swept;
  }

  async count(): Promise<number> {
    return (await this.call("count", {})).rows;
  }

  async saveWindow(segments: readonly WindowSegment[]): Promise<void> {
    await this.call("saveWindow", { segments: [...segments] });
  }

  async windowPage(
    partition: number,
    cursor: string | null,
    limit: number,
    nowS: number,
  ): Promise<WindowPage> {
    return this.call("windowPage", { partition, cursor, limit, now_s: nowS });
  }

  async sweepWindow(nowS: number, limit: number): Promise<number> {
    return (await this.call("sweepWindow", { now_s: nowS, limit })).swept;
  }

  private call<C extends OfflineCall>(name: C, request: CallRequest<C>): Promise<CallResponse<C>> {
    return this.send(name, JSON.stringify(request), null);
  }

  private async send<C extends OfflineCall>(
    name: C,
    body: string,
    owner: OwnerEpoch | null,
  ): Promise<CallResponse<C>> {
    const { callsMax = CALLS_MAX } = this.options;
    if (this.calls >= callsMax) {
      throw new ChatifyError(
        "overloaded",
        `${callsMax} calls of the offline store are open`,
        1_000,
      );
    }
    this.calls++;
    try {
      return await this.tryNodes(name, body, owner);
    } finally {
      this.calls--;
    }
  }

  private async tryNodes<C extends OfflineCall>(
    name: C,
    body: string,
    owner: OwnerEpoch | null,
  ): Promise<CallResponse<C>> {
    let failure = new ChatifyError("unavailable", "no offline node lives", 1_000);
    for (const node of this.candidates()) {
      const key = `${node.host}:${node.port}`;
      try {
        const answer = await this.ask(node, name, body, owner);
        this.failedAt.delete(key);
        return answer;
      } catch (error) {
        if (!(error instanceof ChatifyError) || !error.retryable) throw error;
        failure = error;
        this.failedAt.set(key, this.options.clock.monotonic());
      }
    }
    throw failure;
  }

  /** Live nodes in turn, those that failed just now last. */
  private candidates(): Endpoint[] {
    const nodes = this.options.endpoints();
    const now = this.options.clock.monotonic();
    for (const [key, at] of this.failedAt) if (now - at > COOL_DOWN_MS) this.failedAt.delete(key);
    const start = nodes.length === 0 ? 0 : this.turn++ % nodes.length;
    const inTurn = [...nodes.slice(start), ...nodes.slice(0, start)];
    const failed = ({ host, port }: Endpoint) => this.failedAt.has(`${host}:${port}`);
    const ordered = [...inTurn.filter((n) => !failed(n)), ...inTurn.filter(failed)];
    return ordered.slice(0, NODES_TRIED_MAX);
  }

  private async ask<C extends OfflineCall>(
    node: Endpoint,
    name: C,
    body: string,
    owner: OwnerEpoch | null,
  ): Promise<CallResponse<C>> {
    const { clock, clusterSecret, timeoutMs = TIMEOUT_MS } = this.options;
    const host = node.host.includes(":") ? `[${node.host}]` : node.host;
    const where = `${host}:${node.port}`;
    const abort = new AbortController();
    const timer = clock.after(timeoutMs, () => abort.abort());
    let status: number;
    let seen: string | null;
    let answer: unknown;
    try {
      const response = await fetch(`http://${where}${OFFLINE_INTERNAL_PATH}/${name}`, {
        method: "POST",
        headers: { "content-type": "application/json", [CLUSTER_SECRET_HEADER]: clusterSecret },
        body,
        signal: abort.signal,
      });
      status = response.status;
      seen = response.headers.get(SEEN_EPOCH_HEADER);
      answer = await response.json();
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      const why = abort.signal.aborted ? `no answer within ${timeoutMs} ms` : what;
      throw new ChatifyError("unavailable", `offline node ${where}, ${name}: ${why}`, 1_000);
    } finally {
      timer.cancel();
    }
    if (status === 409 && owner !== null) throw new StaleEpochError(owner, Number(seen ?? 0));
    if (status !== 200) throw refusal(answer, `offline node ${where}, ${name}: status ${status}`);
    return parseAnswer(name, answer, where);
  }
}

/** Rows as JSON, in parts whose bodies a node takes; one part when there are no rows. */
function inParts(rows: readonly OfflineRow[]): string[][] {
  let part: string[] = [];
  let bytes = 0;
  const parts = [part];
  for (const row of rows) {
    const text = JSON.stringify(row);
    const size = Buffer.byteLength(text) + 1;
    if (part.length > 0 && bytes + size > BODY_BYTES_MAX) {
      part = [];
      bytes = 0;
      parts.push(part);
    }
    part.push(text);
    bytes += size;
  }
  return parts;
}

function parseAnswer<C extends OfflineCall>(
  name: C,
  answer: unknown,
  where: string,
): CallResponse<C> {
  const result = OFFLINE_CALLS[name].response.safeParse(answer);
  if (result.success) return result.data as CallResponse<C>;
  const message = `offline node ${where}, ${name}: not an answer of this version`;
  throw new ChatifyError("unavailable", message, 1_000);
}

/** The coded error in a refusal; what is no such error came from something in between. */
function refusal(answer: unknown, context: string): ChatifyError {
  const body = typeof answer === "object" && answer !== null ? answer : {};
  const code = "code" in body && typeof body.code === "string" ? body.code : "";
  if (!isErrorCode(code)) return new ChatifyError("unavailable", context, 1_000);
  const text = "message" in body && typeof body.message === "string" ? body.message : code;
  const wait = "retry_after_ms" in body ? body.retry_after_ms : undefined;
  const retryAfterMs = typeof wait === "number" ? wait : undefined;
  return new ChatifyError(code, `${context}: ${text}`, retryAfterMs);
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}
