// Following the node: one connection while the page is seen, none while it is hidden, taken up again where it ended.
// A browser opens only six connections to one server: hidden pages that held on to theirs would leave none for the next.

const SILENCE = 40000;

export class Live {
  // `seen` names the newest event that the page holds; `handlers` are { onState, onDelta, onLink }.
  constructor(seen, handlers) {
    this.seen = seen;
    this.handlers = handlers;
    this.source = null;
    this.heard = 0;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    setInterval(() => this.checkSilence(), 5000);
    if (!document.hidden) this.open();
  }

  open() {
    if (this.source !== null) return;
    const source = new EventSource(`events?after=${encodeURIComponent(this.seen)}`);
    this.source = source;
    this.heard = Date.now();
    source.addEventListener("open", () => this.handlers.onLink("live"));
    source.addEventListener("error", () => this.onError(source));
    source.addEventListener("beat", () => (this.heard = Date.now()));
    source.addEventListener("state", (event) => this.take(event, this.handlers.onState));
    source.addEventListener("delta", (event) => this.take(event, this.handlers.onDelta));
  }

  take(event, handler) {
    this.seen = event.lastEventId;
    this.heard = Date.now();
    handler(JSON.parse(event.data));
  }

  onError(source) {
    this.handlers.onLink("lost");
    if (source.readyState === EventSource.CLOSED && source === this.source) {
      this.close();
      setTimeout(() => document.hidden || this.open(), 3000);
    }
  }

  // A connection that broke without a word looks open for ever.
  checkSilence() {
    if (this.source !== null && Date.now() - this.heard > SILENCE) {
      this.close();
      this.open();
    }
  }

  close() {
    this.source?.close();
    this.source = null;
  }
}
