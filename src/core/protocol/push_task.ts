/**
 * An entry of `push_task`: some messages for the users of one partition. The first line is a JSON
 * array of headers, what push needs to route; each further line is one Message as clients get it,
 * encoded once by logic and never parsed again on its way (JSON text holds no raw line feed).
 */
export interface PushTask {
  readonly msgId: string;
  readonly conversation: string;
  readonly seq: number;
  /** Unix seconds; 0 means never. */
  readonly expireTime: number;
  /** Unix ms at which the message became durable. */
  readonly acceptedAt: number;
  /** Trace context; "" when not sampled. */
  readonly trace: string;
  readonly recipients: readonly string[];
  /** The encoded Message. */
  readonly message: string;
}

type Header = [
  msgId: string,
  conversation: string,
  seq: number,
  expireTime: number,
  acceptedAt: number,
  trace: string,
  recipients: readonly string[],
];

export function encodePushTasks(tasks: readonly PushTask[]): string {
  const headers: Header[] = [];
  let lines = "";
  for (const t of tasks) {
    const { msgId, conversation, seq, expireTime, acceptedAt, trace, recipients } = t;
    headers.push([msgId, conversation, seq, expireTime, acceptedAt, trace, recipients]);
    lines += `\n${t.message}`;
  }
  return JSON.stringify(headers) + lines;
}

/** Throws when `body` is not what `encodePushTasks` writes: such an entry is dead-lettered. */
export function decodePushTasks(body: string): PushTask[] {
  const lines = body.split("\n");
  const headers = JSON.parse(lines[0] ?? "") as Header[];
  if (!Array.isArray(headers) || headers.length !== lines.length - 1) {
    throw new Error(`push_task entry: ${headers.length} headers for ${lines.length - 1} messages`);
  }
  return headers.map((header, i) => {
    const [msgId, conversation, seq, expireTime, acceptedAt, trace, recipients] = header;
    if (!Array.isArray(recipients)) throw new Error("push_task entry: recipients are not a list");
    const message = lines[i + 1] ?? "";
    return { msgId, conversation, seq, expireTime, acceptedAt, trace, recipients, message };
  });
}
