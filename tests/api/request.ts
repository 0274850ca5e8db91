/** Makes requests from what the document says of a route. */
import type { RouteDoc } from "../../src/core/http/route_doc.ts";

export interface Filling {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** A text is sent as it is, anything else as JSON; undefined: no body. */
  readonly body?: unknown;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Sends it to `base` (http://host:port); rejects when there is no HTTP answer in 30 s. */
export async function ask(base: string, route: RouteDoc, filling: Filling): Promise<Answer> {
  const { body, headers = {}, params = {}, query = {} } = filling;
  const path = route.path.replaceAll(/:(\w+)/g, (_, name: string) => {
    return encodeURIComponent(params[name] ?? "");
  });
  const search = new URLSearchParams(query).toString();
  const type = route.body?.contentType ?? "application/json";
  const response = await fetch(`${base}${path}${search === "" ? "" : `?${search}`}`, {
    method: route.method.toUpperCase(),
    headers: body === undefined ? headers : { "content-type": type, ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    signal: AbortSignal.timeout(30_000),
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}
