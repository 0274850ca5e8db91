/**
 * The backend of an app, as webhooks meet it: it checks signatures by the text of the standard, and
 * fails, hangs and recovers when it is told to. And a push service with a browser behind it.
 */
import { createDecipheriv, createECDH, createHmac, hkdfSync, randomBytes } from "node:crypto";

export interface Hook {
  readonly id: string;
  readonly type: string;
  readonly data: Record<string, unknown>;
}

export class HookReceiver {
  /** Each attempt, whether it was answered well or not. */
  readonly attempts: Hook[] = [];
  /** Those that were answered well. */
  readonly taken: Hook[] = [];
  readonly forged: string[] = [];
  mode: "ok" | "fail" | "hang" = "ok";
  private readonly server: Bun.Server<undefined>;

  constructor(private readonly secret: string) {
    this.server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      idleTimeout: 60,
      fetch: (request) => this.answer(request),
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.server.port}/hooks`;
  }

  of(type: string): Hook[] {
    return this.taken.filter((hook) => hook.type === type);
  }

  stop(): void {
    void this.server.stop(true);
  }

  protected answerTo(_hook: Hook): Response {
    return new Response(null, { status: 204 });
  }

  private async answer(request: Request): Promise<Response> {
    const body = await request.text();
    const id = request.headers.get("webhook-id") ?? "";
    const at = request.headers.get("webhook-timestamp") ?? "";
    const key = Buffer.from(this.secret.slice("whsec_".length), "base64");
    const expected = createHmac("sha256", key).update(`${id}.${at}.${body}`).digest("base64");
    const fresh = Math.abs(Date.now() / 1_000 - Number(at)) < 300;
    if (!fresh || request.headers.get("webhook-signature") !== `v1,${expected}`) {
      this.forged.push(body);
      return new Response(null, { status: 401 });
    }
    const { data, type } = JSON.parse(body) as { type: string; data: Record<string, unknown> };
    const hook = { id, type, data };
    this.attempts.push(hook);
    if (this.mode === "hang") return new Promise(() => {});
    if (this.mode === "fail") return new Response("no", { status: 503 });
    this.taken.push(hook);
    return this.answerTo(hook);
  }
}

/** Refuses messages that hold `spam`. */
export class Gate extends HookReceiver {
  protected override answerTo({ data }: Hook): Response {
    const messages = data.messages as { content: string }[];
    const rejected = messages.flatMap(({ content }, index) => {
      return content.includes("spam") ? [{ index, reason: "no spam here" }] : [];
    });
    return Response.json({ rejected });
  }
}

export interface Pushed {
  readonly headers: Headers;
  /** What the browser decrypted. */
  readonly payload: Record<string, unknown>;
}

/** A push service on loopback, and the browser whose key the payloads are encrypted for. */
export class PushService {
  readonly pushed: Pushed[] = [];
  gone = false;
  private readonly ecdh = createECDH("prime256v1");
  private readonly auth = randomBytes(16);
  private readonly server: Bun.Server<undefined>;

  constructor() {
    this.ecdh.generateKeys();
    this.server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: async (request) => {
        if (this.gone) return new Response(null, { status: 410 });
        const body = Buffer.from(await request.arrayBuffer());
        const payload = JSON.parse(this.decrypt(body)) as Record<string, unknown>;
        this.pushed.push({ headers: request.headers, payload });
        return new Response(null, { status: 201 });
      },
    });
  }

  get origin(): string {
    return `http://127.0.0.1:${this.server.port}`;
  }

  /** What the browser gives its app. */
  get subscription() {
    const p256dh = this.ecdh.getPublicKey("base64url");
    return {
      endpoint: `${this.origin}/send/1`,
      keys: { p256dh, auth: this.auth.toString("base64url") },
    };
  }

  stop(): void {
    void this.server.stop(true);
  }

  /** RFC 8188 with the keys of RFC 8291: one record, its padding delimited by 2. */
  private decrypt(body: Buffer): string {
    const salt = body.subarray(0, 16);
    const keyLength = body.readUInt8(20);
    const sender = body.subarray(21, 21 + keyLength);
    const record = body.subarray(21 + keyLength);
    const shared = this.ecdh.computeSecret(sender);
    const info = Buffer.concat([Buffer.from("WebPush: info\0"), this.ecdh.getPublicKey(), sender]);
    const ikm = Buffer.from(hkdfSync("sha256", shared, this.auth, info, 32));
    const derive = (label: string, length: number) =>
      Buffer.from(
        hkdfSync("sha256", ikm, salt, Buffer.from(`Content-Encoding: ${label}\0`), length),
      );
    const decipher = createDecipheriv("aes-128-gcm", derive("aes128gcm", 16), derive("nonce", 12));
    decipher.setAuthTag(record.subarray(-16));
    const plain = Buffer.concat([decipher.update(record.subarray(0, -16)), decipher.final()]);
    return plain.subarray(0, plain.lastIndexOf(2)).toString("utf8");
  }
}
