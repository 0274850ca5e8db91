/** Elasticsearch and Kibana as far as the set-up scripts ask: it keeps what it was asked. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly user: string;
  readonly text: string;
}

export class ElasticServer {
  readonly asked: Asked[] = [];
  /** What it answers to a path, with status 200; anything else gets `{}`. */
  readonly answers = new Map<string, string>();
  /** Paths that are refused, with what is said. */
  readonly refused = new Map<string, string>();
  private readonly server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request) => this.take(request),
  });

  get url(): string {
    return `http://127.0.0.1:${this.server.port}`;
  }

  stop(): Promise<void> {
    return this.server.stop(true);
  }

  private async take(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const credentials = request.headers.get("authorization")?.replace(/^Basic /, "") ?? "";
    const [user = ""] = atob(credentials).split(":", 1);
    const text = await request.text();
    this.asked.push({ method: request.method, path: pathname, user, text });
    const reason = this.refused.get(pathname);
    if (reason !== undefined) return new Response(reason, { status: 403 });
    return new Response(this.answers.get(pathname) ?? "{}");
  }
}
