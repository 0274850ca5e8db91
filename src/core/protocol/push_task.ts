/**
 * An entry of `push_task`: some messages for the users of one partition. The first line is JSON:
 * lists of recipients, and a header per message with what push needs to route; each further line is one Message as clients get it,
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

/** Recipients are one user id, or the index of a list in the entry's table of lists. */
type Header = [
  msgId: string,
  conversation: string,
  seq: number,
  expireTime: number,
  acceptedAt: number,
  trace: string,
  recipients: string | number,
];

/** Messages that share the very same recipients array (a group's) share its encoding too. */
export function encodePushTasks(tasks: readonly PushTask[]): string {
  const lists: (readonly string[])[] = [];
  const indexes = new Map<readonly string[], number>();
  const headers: Header[] = [];
  let lines = "";
  for (const t of tasks) {
    let recipients: string | number | undefined = t.recipients[0];
    if (t.recipients.length !== 1 || recipients === undefined) {
      recipients = indexes.get(t.recipients);
      if (recipients === undefined) {
        recipients = lists.push(t.recipients) - 1;
        indexes.set(t.recipients, recipients);
      }
    }
    const { msgId, conversation, seq, expireTime, acceptedAt, trace } = t;
    headers.push([msgId, conversation, seq, expireTime, acceptedAt, trace, recipients]);
    lines += `\n${t.message}`;
  }
  return JSON.stringify([lists, headers]) + lines;
}

/** What `encodePushTasks` makes of tasks that have one recipient each, in parts to be joined later. */
export interface PushTaskParts {
  /** Headers, parted by commas. */
  readonly headers: string;
  /** Messages, each after a line feed. */
  readonly lines: string;
}

/** An entry is `[[],[` headers `]]` lines. */
export function pushTaskParts(tasks: readonly PushTask[]): PushTaskParts {
  const headers: string[] = [];
  let lines = "";
  for (const t of tasks) {
    const { msgId, conversation, seq, expireTime, acceptedAt, trace } = t;
    const recipient = t.recipients[0] ?? "";
    headers.push(
      JSON.stringify([msgId, conversation, seq, expireTime, acceptedAt, trace, recipient]),
    );
    lines += `\n${t.message}`;
  }
  return { headers: headers.join(","), lines };
}

/** Throws when `body` is not what `encodePushTasks` writes: such an entry is dead-lettered. */
export function decodePushTasks(body: string): PushTask[] {
  const lines = body.split("\n");
  const [lists, headers] = JSON.parse(lines[0] ?? "") as [string[][], Header[]];
  if (!Array.isArray(headers) || headers.length !== lines.length - 1) {
    throw new Error("push_task entry: headers and messages do not match");
  }
  const tasks: PushTask[] = [];
  for (let i = 0; i < headers.length; i++) {
    const [msgId, conversation, seq, expireTime, acceptedAt, trace, to] = headers[i] as Header;
    const recipients = typeof to === "string" ? [to] : lists[to];
    if (recipients === undefined) throw new Error("push_task entry: recipients are missing");
    const message = lines[i + 1] as string;
    tasks.push({ msgId, conversation, seq, expireTime, acceptedAt, trace, recipients, message });
  }
  return tasks;
}
