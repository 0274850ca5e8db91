/** One user's chat: a client of the SDK and what its events do to the view. */
import {
  type ChatifyClient,
  ChatifyClientError,
  type ClientState,
  connect,
  type Message,
  type SdkTimer,
  systemClock,
  uniqueToken,
} from "../sdk/chatify.ts";
import { Away } from "./away.ts";
import { type PaneView, paneView } from "./pane_view.ts";

/** Shown at most this long after the last signal, and sent at most this often. */
const TYPING_SHOWN_MS = 3_000;
const TYPING_EVERY_MS = 1_500;
/** A message that is on a visible page for so long counts as read. */
const READ_AFTER_MS = 900;
/** Sends that wait while offline; more are refused. */
const UNSENT_MAX = 100;

export interface PaneEvents {
  onUser(userId: string): void;
  onSend(clientMsgId: string, from: string, to: string): void;
  onAccepted(clientMsgId: string): void;
  onSent(clientMsgId: string, seq: number): void;
  onReceived(message: Message): void;
  onRead(reader: string, seq: number): void;
}

interface Unsent {
  readonly clientMsgId: string;
  readonly to: string;
  readonly content: string;
}

export class Pane {
  readonly view: PaneView;
  readonly #events: PaneEvents;
  readonly #deviceId = uniqueToken();
  readonly #away = new Away();
  /** Without a final answer yet, in order: sent again, with their ids, by the next client. */
  readonly #unsent = new Map<string, Unsent>();
  #userId: string;
  #peerId = "";
  #peerOnline = false;
  #client: ChatifyClient | undefined;
  /** Every client so far of this user: what they counted is shown as one. */
  #clients: ChatifyClient[] = [];
  #wasOnline = false;
  #typingShown: SdkTimer | undefined;
  #typingSentAt = Number.NEGATIVE_INFINITY;
  #readTimer: SdkTimer | undefined;
  #readUpTo = 0;

  constructor(side: string, userId: string, events: PaneEvents) {
    this.#userId = userId;
    this.#events = events;
    this.view = paneView(side, userId);
    const { signIn, toggle, composer, input, bannerClose } = this.view;
    signIn.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#signIn();
    });
    toggle.addEventListener("click", () => {
      if (this.#client === undefined) this.goOnline();
      else this.goOffline();
    });
    composer.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#compose();
    });
    input.addEventListener("input", () => this.#tellTyping());
    bannerClose.addEventListener("click", () => {
      this.#hideBanner();
      input.focus();
    });
    document.addEventListener("visibilitychange", () => this.#readLater());
    this.#showState("offline");
  }

  get userId(): string {
    return this.#userId;
  }

  /** Who this pane talks to. */
  setPeer(peerId: string): void {
    if (peerId === this.#peerId) return;
    this.#client?.unwatch([this.#peerId]);
    this.#peerId = peerId;
    this.#peerOnline = false;
    this.#readUpTo = 0;
    this.#client?.watch([peerId]);
    this.view.inputLabel.textContent = `Message to ${peerId}`;
    this.view.input.placeholder = `Message to ${peerId}`;
    this.#showPeer();
  }

  /** The recipient's connection was given this message of ours. */
  delivered(message: Message): void {
    this.view.messages.advance(message.client_msg_id, "delivered", message.seq);
  }

  goOnline(): void {
    this.view.problem.textContent = "";
    const client = connect({
      url: location.origin,
      token: () => devToken(this.#userId),
      deviceId: this.#deviceId,
      sendDeadlineMs: 600_000,
    });
    this.#client = client;
    this.#clients.push(client);
    client.on("state", (state) => {
      if (client === this.#client) this.#stateChanged(state);
    });
    client.on("message", (message) => this.#received(message));
    client.on("presence", ({ user_id, online }) => {
      if (user_id !== this.#peerId) return;
      this.#peerOnline = online;
      this.#showPeer();
    });
    client.on("typing", ({ from_user_id }) => {
      if (from_user_id === this.#peerId) this.#showTyping(true);
    });
    client.on("read", ({ from_user_id, seq }) => {
      this.view.messages.readUpTo(from_user_id, seq);
      this.#events.onRead(from_user_id, seq);
    });
    client.on("error", (error) => {
      this.view.problem.textContent = `${error.code}: ${error.message}`;
    });
    client.on("closed", ({ code, reason }) => {
      if (client !== this.#client) return;
      this.#client = undefined;
      this.view.problem.textContent = `The server ended the session: ${code} ${reason}`;
    });
    if (this.#peerId !== "") client.watch([this.#peerId]);
    this.#showState(client.state);
    for (const unsent of this.#unsent.values()) this.#send(unsent);
  }

  goOffline(): void {
    const client = this.#client;
    this.#client = undefined;
    void client?.close();
    this.#peerOnline = false;
    this.#showPeer();
    this.#showTyping(false);
    this.#hideBanner();
    this.#showState("offline");
  }

  /** The counters change with frames that cause no event, so they are asked for. */
  refresh(): void {
    this.view.count(this.#clients.map((client) => client.stats()));
  }

  #signIn(): void {
    const userId = this.view.user.value.trim();
    if (userId === "" || userId === this.#userId) return;
    this.goOffline();
    this.#userId = userId;
    this.#wasOnline = false;
    this.#unsent.clear();
    this.#clients = [];
    this.view.messages.clear();
    this.view.root.setAttribute("aria-label", `Chat of ${userId}`);
    this.#events.onUser(userId);
    this.goOnline();
    this.view.input.focus();
  }

  #compose(): void {
    const { input, messages, problem } = this.view;
    const content = input.value;
    if (content.trim() === "") return;
    if (this.#unsent.size >= UNSENT_MAX) {
      problem.textContent = `${UNSENT_MAX} messages wait to be sent already`;
      return;
    }
    input.value = "";
    this.#typingSentAt = Number.NEGATIVE_INFINITY;
    this.#hideBanner();
    const unsent = { clientMsgId: uniqueToken(), to: this.#peerId, content };
    this.#unsent.set(unsent.clientMsgId, unsent);
    messages.addOwn(unsent.clientMsgId, unsent.to, content);
    this.#send(unsent);
  }

  #send(unsent: Unsent): void {
    const client = this.#client;
    if (client === undefined) return;
    const { clientMsgId } = unsent;
    this.#events.onSend(clientMsgId, this.#userId, unsent.to);
    const onAccepted = (): void => {
      this.view.messages.advance(clientMsgId, "accepted");
      this.#events.onAccepted(clientMsgId);
    };
    client.send({ ...unsent, onAccepted }).then(
      ({ seq }) => {
        this.#unsent.delete(clientMsgId);
        this.view.messages.advance(clientMsgId, "sent", seq);
        this.#events.onSent(clientMsgId, seq);
      },
      (error: unknown) => {
        // Taken offline: it stays in the list of the unsent and goes out with the next client.
        if (client !== this.#client && error instanceof ChatifyClientError && error.retryable)
          return;
        this.#unsent.delete(clientMsgId);
        const reason = error instanceof ChatifyClientError ? error.code : String(error);
        this.view.messages.fail(clientMsgId, reason);
      },
    );
  }

  #received(message: Message): void {
    this.#showTyping(false);
    if (!this.view.messages.addReceived(message, this.#peerId)) return;
    const banner = this.#away.note(message.timestamp);
    if (banner !== undefined) {
      this.view.bannerText.textContent = banner;
      this.view.banner.hidden = false;
    }
    this.#events.onReceived(message);
    if (message.from_user_id !== this.#peerId || message.target_type !== "USER") return;
    this.#readUpTo = Math.max(this.#readUpTo, message.seq);
    this.#readLater();
  }

  #readLater(): void {
    if (document.hidden || this.#readUpTo === 0) return;
    this.#readTimer ??= systemClock.after(READ_AFTER_MS, () => {
      this.#readTimer = undefined;
      if (document.hidden || this.#readUpTo === 0) return;
      if (this.#client?.read(this.#peerId, this.#readUpTo) === true) this.#readUpTo = 0;
    });
  }

  #tellTyping(): void {
    const now = systemClock.now();
    if (this.view.input.value === "" || now - this.#typingSentAt < TYPING_EVERY_MS) return;
    if (this.#client?.typing(this.#peerId) === true) this.#typingSentAt = now;
  }

  #stateChanged(state: ClientState): void {
    this.#showState(state);
    if (state !== "online") return;
    this.#away.online(this.#wasOnline);
    this.#wasOnline = true;
    this.view.problem.textContent = "";
    this.#readLater();
  }

  #showState(state: ClientState): void {
    const { toggle, root } = this.view;
    const wanted = this.#client !== undefined;
    toggle.setAttribute("aria-checked", String(wanted));
    toggle.textContent = wanted && state === "offline" ? "reconnecting" : state;
    root.dataset.state = wanted ? state : "offline";
  }

  #showPeer(): void {
    const { peer } = this.view;
    const known = this.#client !== undefined;
    peer.dataset.online = String(known && this.#peerOnline);
    const presence = this.#peerOnline ? "online" : "offline";
    peer.textContent = known ? `${this.#peerId} is ${presence}` : "You are offline";
  }

  #showTyping(shown: boolean): void {
    this.#typingShown?.cancel();
    this.view.typing.textContent = shown ? `${this.#peerId} is typing…` : "";
    if (!shown) return;
    this.#typingShown = systemClock.after(TYPING_SHOWN_MS, () => this.#showTyping(false));
  }

  #hideBanner(): void {
    this.view.banner.hidden = true;
    this.view.bannerText.textContent = "";
  }
}

/** Development only: the gateway makes a token for whoever asks. */
async function devToken(userId: string): Promise<string> {
  const response = await fetch(`/chatify/dev/token?user_id=${encodeURIComponent(userId)}`);
  if (!response.ok) throw new Error(`no token for ${userId}: HTTP ${response.status}`);
  const { token } = (await response.json()) as { token: string };
  return token;
}
