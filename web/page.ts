/** The demo page: two panes that are each other's peer, and the way of the last message. */
import { systemClock } from "../sdk/chatify.ts";
import { Pane } from "./pane.ts";
import { Way } from "./way.ts";

const COUNTERS_EVERY_MS = 250;

function byId(selector: string): HTMLElement {
  const found = document.querySelector<HTMLElement>(selector);
  if (found === null) throw new Error(`the page lacks ${selector}`);
  return found;
}

const way = new Way(byId(".way"));
/** seq of the last message that each user has sent, to tell a read receipt of the tracked one. */
let last: { id: string; to: string; seq: number } | undefined;

function createPane(side: string, userId: string, other: () => Pane): Pane {
  return new Pane(side, userId, {
    onUser: (newId) => other().setPeer(newId),
    onSend(id, from, to) {
      last = { id, to, seq: 0 };
      way.start(id, from, to);
    },
    onAccepted: (id) => way.reach(id, "chat_input", "stored durably"),
    onSent(id, seq) {
      if (last?.id === id) last.seq = seq;
      way.reach(id, "logic", `numbered #${seq}`);
    },
    onReceived(message) {
      if (other().userId !== message.from_user_id) return;
      other().delivered(message);
      way.reach(message.client_msg_id, "recipient", `delivered #${message.seq}`);
    },
    onRead(reader, seq) {
      if (last?.to !== reader || last.seq === 0 || last.seq > seq) return;
      way.reach(last.id, "recipient", `read #${last.seq}`);
    },
  });
}

// The panes know each other through functions, because each is made before the other.
const left: Pane = createPane("left", "alice", () => right);
const right: Pane = createPane("right", "bob", () => left);
left.setPeer(right.userId);
right.setPeer(left.userId);
byId("#panes").append(left.view.root, right.view.root);
left.goOnline();
right.goOnline();
left.view.input.focus();

function refresh(): void {
  left.refresh();
  right.refresh();
  systemClock.after(COUNTERS_EVERY_MS, refresh);
}
refresh();

// A page that goes away says so, and its acks leave first.
window.addEventListener("pagehide", () => {
  left.goOffline();
  right.goOffline();
});
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  left.goOnline();
  right.goOnline();
});
