// The one connection to the server: its events, and word of when it was lost. A browser's own reconnecting gives up
// where the server has refused once, so it is done here.

const SILENT_MS = 15000;
const PAUSES_MS = [500, 1000, 2000, 4000, 8000];

export function connect({ onLook, onUp, onDown }) {
  let source = null;
  let heard = Date.now();
  let tries = 0;
  let timer = null;

  function lost(reason) {
    if (source === null) return;
    source.close();
    source = null;
    onDown(reason);
    timer = setTimeout(again, PAUSES_MS[Math.min(tries, PAUSES_MS.length - 1)] * (0.8 + 0.4 * Math.random()));
    tries += 1;
  }

  async function again() {
    timer = null;
    try {
      const answer = await fetch("/api/v1/events", { method: "HEAD", cache: "no-store" });
      if (answer.status === 401) {
        location.assign("/login");
        return;
      }
      open(answer.status === 503 ? "it has too many pages open already" : "");
    } catch {
      open("");
    }
  }

  function open(reason) {
    heard = Date.now();
    source = new EventSource("/api/v1/events");
    source.addEventListener("look", (event) => {
      heard = Date.now();
      tries = 0;
      onUp();
      onLook(JSON.parse(event.data));
    });
    source.addEventListener("beat", () => {
      heard = Date.now();
    });
    source.onerror = () => lost(reason);
  }

  setInterval(() => {
    if (source !== null && Date.now() - heard > SILENT_MS) lost("");
  }, 1000);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible" && timer !== null) {
      clearTimeout(timer);
      again();
    }
  });
  open("");
}
