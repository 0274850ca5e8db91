/**
 * The one table of coded errors. Everything that is refused, on a WebSocket or over HTTP, is refused
 * with a code from here, so that a client can decide without reading prose: `retryable` says whether
 * the same request may succeed later, `status` is the HTTP status, `level` is what the server logs.
 */
export const ERRORS = {
  bad_frame: { status: 400, retryable: false, level: "debug" },
  bad_request: { status: 422, retryable: false, level: "debug" },
  unsupported_version: { status: 400, retryable: false, level: "info" },
  unauthorized: { status: 401, retryable: false, level: "info" },
  token_expired: { status: 401, retryable: false, level: "info" },
  forbidden: { status: 403, retryable: false, level: "info" },
  origin_not_allowed: { status: 403, retryable: false, level: "info" },
  not_found: { status: 404, retryable: false, level: "debug" },
  conflict: { status: 409, retryable: false, level: "debug" },
  key_reused: { status: 422, retryable: false, level: "info" },
  too_large: { status: 413, retryable: false, level: "info" },
  content_rejected: { status: 422, retryable: false, level: "info" },
  blocked: { status: 403, retryable: false, level: "debug" },
  not_a_member: { status: 403, retryable: false, level: "debug" },
  group_full: { status: 409, retryable: false, level: "info" },
  expired: { status: 422, retryable: false, level: "debug" },
  rate_limited: { status: 429, retryable: true, level: "info" },
  too_many_connections: { status: 503, retryable: true, level: "warn" },
  too_many_devices: { status: 409, retryable: false, level: "info" },
  overloaded: { status: 503, retryable: true, level: "warn" },
  unavailable: { status: 503, retryable: true, level: "warn" },
  outcome_unknown: { status: 503, retryable: true, level: "warn" },
  data_lost: { status: 503, retryable: true, level: "error" },
  draining: { status: 503, retryable: true, level: "info" },
  internal: { status: 500, retryable: true, level: "error" },
} as const satisfies Record<string, ErrorEntry>;

interface ErrorEntry {
  readonly status: number;
  readonly retryable: boolean;
  readonly level: "debug" | "info" | "warn" | "error";
}

export type ErrorCode = keyof typeof ERRORS;

/** The JSON body of every HTTP error and the fields of every `error` and `rejected` frame. */
export interface ErrorBody {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryable: boolean;
  readonly retry_after_ms?: number;
  readonly request_id?: string;
}

/** An expected failure. Anything else that is thrown is a bug and crashes the process. */
export class ChatifyError extends Error {
  readonly code: ErrorCode;
  /** How long the caller should wait before it tries again, when the code is retryable. */
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, retryAfterMs?: number) {
    super(message);
    this.name = "ChatifyError";
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  toBody(requestId?: string): ErrorBody {
    return {
      code: this.code,
      message: this.message,
      retryable: this.retryable,
      ...(this.retryAfterMs === undefined ? {} : { retry_after_ms: this.retryAfterMs }),
      ...(requestId === undefined ? {} : { request_id: requestId }),
    };
  }
}

/**
 * WebSocket close codes. 4000–4099: the client should reconnect, after the delay that `bye` named.
 * 4100–4199: reconnecting as it is will not help. The standard 1002, 1007 and 1009 come from Bun for
 * frames that break RFC 6455 itself.
 */
export const CLOSE_CODES = {
  draining: 4000,
  rebalance: 4001,
  slow_consumer: 4002,
  heartbeat_timeout: 4003,
  server_error: 4004,
  rate_limited: 4005,
  overloaded: 4006,
  replaced: 4100,
  kicked: 4101,
  token_expired: 4102,
  unsupported_version: 4103,
  protocol_error: 4104,
  too_many_devices: 4105,
  token_revoked: 4106,
} as const;

export type CloseReason = keyof typeof CLOSE_CODES;

/** True when a client that was closed with `code` may come back unchanged. */
export function mayReconnect(code: number): boolean {
  return code < 4100 || code > 4199;
}
