/** The messages of one pane: rows in order, each with its state, the oldest dropped when many. */
import type { Message } from "../sdk/chatify.ts";
import { element } from "./element.ts";

/** How far an own message has come, in order; `failed` is the end of one that was refused. */
export const PROGRESS = ["queued", "accepted", "sent", "delivered", "read"] as const;
export type Progress = (typeof PROGRESS)[number];

/** Rows kept; the oldest goes first. */
const ROWS_MAX = 500;
const MARKS: Record<Progress, string> = {
  queued: "…",
  accepted: "✓",
  sent: "✓✓",
  delivered: "✓✓",
  read: "✓✓",
};

interface OwnRow {
  readonly row: HTMLElement;
  readonly status: HTMLElement;
  readonly to: string;
  progress: Progress | "failed";
  seq: number;
}

export class MessageList {
  readonly root: HTMLOListElement;
  readonly #testId: string;
  /** Own messages by client_msg_id. */
  readonly #own = new Map<string, OwnRow>();
  /** Received messages by msg_id: a new connection may be given some of them again. */
  readonly #received = new Map<string, HTMLElement>();

  constructor(testId: string, label: string) {
    this.#testId = testId;
    this.root = element("ol", {
      class: "messages",
      role: "log",
      "aria-label": label,
      tabindex: 0,
      "data-testid": `${testId}-messages`,
    });
  }

  clear(): void {
    this.root.replaceChildren();
    this.#own.clear();
    this.#received.clear();
  }

  addOwn(clientMsgId: string, to: string, content: string): void {
    const status = element("span", { class: "status", "data-testid": `${this.#testId}-status` });
    const row = this.#row("own", content, status);
    row.dataset.with = to;
    this.#own.set(clientMsgId, { row, status, to, progress: "queued", seq: 0 });
    this.#show(clientMsgId, "queued", 0);
  }

  /** Moves an own message on; a state that it has passed already changes nothing. */
  advance(clientMsgId: string, progress: Progress, seq = 0): void {
    const own = this.#own.get(clientMsgId);
    if (own === undefined || own.progress === "failed") return;
    if (PROGRESS.indexOf(progress) <= PROGRESS.indexOf(own.progress)) return;
    this.#show(clientMsgId, progress, seq || own.seq);
  }

  /** The peer has read everything up to `seq`. */
  readUpTo(reader: string, seq: number): void {
    for (const [id, own] of this.#own) {
      if (own.to === reader && own.seq > 0 && own.seq <= seq) this.advance(id, "read");
    }
  }

  fail(clientMsgId: string, reason: string): void {
    const own = this.#own.get(clientMsgId);
    if (own === undefined) return;
    own.progress = "failed";
    own.row.dataset.state = "failed";
    own.status.textContent = `not sent: ${reason}`;
  }

  /** False when it was shown already. */
  addReceived(message: Message, peer: string): boolean {
    if (this.#received.has(message.msg_id)) return false;
    const number = message.seq === 0 ? message.target_type.toLowerCase() : `#${message.seq}`;
    const from = message.from_user_id === peer ? "" : `${message.from_user_id} · `;
    const row = this.#row("received", readable(message), `${from}${number}`);
    row.dataset.seq = String(message.seq);
    row.dataset.with = message.from_user_id;
    row.dataset.msgId = message.msg_id;
    this.#received.set(message.msg_id, row);
    return true;
  }

  #show(clientMsgId: string, progress: Progress, seq: number): void {
    const own = this.#own.get(clientMsgId);
    if (own === undefined) return;
    own.progress = progress;
    own.seq = seq;
    own.row.dataset.state = progress;
    if (seq > 0 && own.row.dataset.seq === undefined) {
      own.row.dataset.seq = String(seq);
      this.#place(own.row, seq);
    }
    const mark = element("span", { "aria-hidden": "true", class: "mark" }, MARKS[progress]);
    const number = seq > 0 ? [element("span", { class: "seq" }, `#${seq}`)] : [];
    own.status.replaceChildren(element("span", {}, progress), mark, ...number);
  }

  /** A message that waited here may have got a number after ones that arrived meanwhile. */
  #place(row: HTMLElement, seq: number): void {
    let after: Element = row;
    for (let next = row.nextElementSibling; next !== null; next = next.nextElementSibling) {
      if (!(next instanceof HTMLElement) || next.dataset.with !== row.dataset.with) continue;
      if (Number(next.dataset.seq ?? 0) > 0 && Number(next.dataset.seq) < seq) after = next;
    }
    if (after !== row) after.after(row);
  }

  #row(direction: "own" | "received", content: string, meta: Node | string): HTMLElement {
    const row = element(
      "li",
      { class: direction, "data-direction": direction, "data-testid": `${this.#testId}-message` },
      element("p", { class: "content" }, content),
      element("p", { class: "meta" }, element("time", {}, clockTime()), meta),
    );
    const list = this.root;
    const wasAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    list.append(row);
    if (list.childElementCount > ROWS_MAX) this.#dropOldest();
    if (wasAtEnd || direction === "own") list.scrollTop = list.scrollHeight;
    return row;
  }

  #dropOldest(): void {
    const oldest = this.root.firstElementChild;
    oldest?.remove();
    for (const [id, { row }] of this.#own) if (row === oldest) this.#own.delete(id);
    for (const [id, row] of this.#received) if (row === oldest) this.#received.delete(id);
  }
}

function clockTime(): string {
  return new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** A system push carries base64; where that is text, the text is shown. */
function readable({ target_type, content }: Message): string {
  if (target_type !== "SYSTEM") return content;
  try {
    const bytes = Uint8Array.from(atob(content), (char) => char.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return content;
  }
}
